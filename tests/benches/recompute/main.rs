//! The recompute of 200,000 scored posts compared with the earlier way, on one server in one run:
//! `cargo bench -p sluice-tests --bench recompute -- beside|parts` (without a name, both).
//!
//! `beside` times both ways for a weight config without scores and for the active one, while a reader asks for
//! the whole ranking. `parts` times the parts of a recompute in the database. With `SLUICE_TEST_NATIVE=1` the server is a
//! native Postgres, first with the schema of an empty project, then with the earlier one (`empty` or `earlier` for one
//! of them). docs/benchmarks.md has the figures of one machine.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has failed")]
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

mod earlier;
mod processor;
mod reader;

use std::time::{Duration, Instant};

use serde_json::Value;
use sluice_tests::{Native, NativeSession, Program, Stack, longest_lock, native_wanted};
use uuid::Uuid;

use earlier::Earlier;
use processor::children_seconds;
use reader::{OLD_SCORE, watched};

/// The posts of the comparison.
const POSTS: u32 = 200_000;
/// The posts of a smaller table, to compare the memory of the client.
const FEW: u32 = 20_000;
/// How often our way is measured: half before the earlier way, which takes a minute, and half after it.
const ROUNDS: usize = 4;

#[tokio::main]
async fn main() {
    let named: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let wanted = |name: &str| named.is_empty() || named.iter().any(|word| word == name);
    if native_wanted() {
        for (name, schema) in [
            ("empty", "an empty project"),
            ("earlier", "the earlier schema"),
        ] {
            if !wanted(name) && (wanted("empty") || wanted("earlier")) {
                continue;
            }
            println!("{schema}:");
            let native = match name {
                "empty" => Native::migrated().await,
                _ => Native::earlier("").await,
            };
            let stack = Stack::over(&native).await;
            stack
                .sql("delete from posts; delete from post_scores")
                .await;
            fill(&stack, 1, POSTS).await;
            ours(&stack, active(&stack).await).await;
            let watcher = native.admin().await;
            measure(&stack, Some(&watcher), &wanted).await;
        }
        return;
    }
    let stack = Stack::fresh().await;
    fill(&stack, 1, FEW).await;
    let active = active(&stack).await;
    let few = ours(&stack, active).await;
    fill(&stack, FEW + 1, POSTS).await;
    let many = ours(&stack, active).await;
    println!(
        "memory: {:.1} MiB for {FEW} posts, {:.1} MiB for {POSTS}",
        mebibytes(few.peak_bytes),
        mebibytes(many.peak_bytes)
    );
    measure(&stack, None, &wanted).await;
}

async fn measure(stack: &Stack, watcher: Option<&NativeSession>, wanted: &impl Fn(&str) -> bool) {
    for case in [Case::InForce, Case::New] {
        if wanted("beside") {
            beside(stack, watcher, case).await;
        }
        if wanted("parts") {
            parts(stack, case).await;
        }
    }
}

/// What is recomputed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    /// The active weights: all their rows exist already.
    InForce,
    /// New weights, which are activated with their scores.
    New,
}

/// One run of our way, as its process reports it.
struct Ours {
    seconds: f64,
    requests: u64,
    peak_bytes: u64,
}

/// Measures both ways for one case, in turn.
async fn beside(stack: &Stack, watcher: Option<&NativeSession>, case: Case) {
    let mut ours = Vec::new();
    for _ in 0..ROUNDS / 2 {
        ours.push(our_round(stack, watcher, case).await);
    }
    let theirs = earlier_round(stack, case).await;
    while ours.len() < ROUNDS {
        ours.push(our_round(stack, watcher, case).await);
    }
    // Other load of the machine only makes a lock longer.
    let lock = ours.iter().map(|times| times.lock).fold(f64::MAX, f64::min);
    assert!(lock < 1.0, "a table was locked for {lock:.2} s");
    let ratio = |time: fn(&Times) -> f64| {
        let mean = ours.iter().map(time).sum::<f64>() / ROUNDS as f64;
        time(&theirs) / mean
    };
    println!(
        "{case:?}: the earlier way took {:.1} times as long; the server worked {:.1} times as long",
        ratio(|times| times.wall),
        ratio(|times| times.server)
    );
}

/// Seconds.
struct Times {
    /// Wall time.
    wall: f64,
    /// Processor time of the server, which also serves the reader; 0 if the system does not report it.
    server: f64,
    /// The longest lock on a table; 0 if nobody watched.
    lock: f64,
}

async fn our_round(stack: &Stack, watcher: Option<&NativeSession>, case: Case) -> Times {
    let config = prepare(stack, case).await;
    let before = children_seconds();
    let work = watched(stack, POSTS, ours(stack, config));
    let ((run, seen), lock) = match watcher {
        Some(watcher) => longest_lock(watcher, work).await,
        None => (work.await, Duration::ZERO),
    };
    assert!(
        lock < Duration::from_secs(1),
        "a table was locked for {lock:?}"
    );
    let server = since(before);
    assert_eq!(seen.mixed, 0, "a reader saw old and new scores mixed");
    assert!(
        seen.old > 0 && seen.new > 0,
        "the reader came too late: {seen:?}"
    );
    println!(
        "{case:?}: {:.2} s, of the server {server:.2} s; {} requests; {} reads saw the old scores, {} the new ones, \
         none a mix; the longest lock on a table: {} ms",
        run.seconds,
        run.requests,
        seen.old,
        seen.new,
        lock.as_millis()
    );
    Times {
        wall: run.seconds,
        server,
        lock: lock.as_secs_f64(),
    }
}

async fn earlier_round(stack: &Stack, case: Case) -> Times {
    let config = prepare(stack, case).await;
    let before = children_seconds();
    let run = Earlier::new(stack, config).run(case == Case::New);
    let (took, seen) = watched(stack, POSTS, run).await;
    let (wall, server) = (took.pages + took.cut_over, since(before));
    println!(
        "{case:?}: the earlier way: {wall:.2} s (pages {:.2}, cut-over {:.2}), of the server {server:.2} s; {} requests; \
         {} of {} reads saw neither all old nor all new scores",
        took.pages,
        took.cut_over,
        took.requests,
        seen.mixed,
        seen.old + seen.new + seen.mixed
    );
    Times {
        wall,
        server,
        lock: 0.0,
    }
}

/// The processor time since an earlier reading.
fn since(before: Option<f64>) -> f64 {
    children_seconds().unwrap_or_default() - before.unwrap_or_default()
}

/// Recomputes with the program, as an operator does, and activates the weights.
async fn ours(stack: &Stack, config: Uuid) -> Ours {
    let program = Program::on(stack, "http://127.0.0.1:9/v1");
    let config = config.to_string();
    let arguments = [
        "recompute",
        "--weights",
        &config,
        "--activate",
        "--output",
        "json",
    ];
    let started = Instant::now();
    let run = program.run(&arguments).await;
    let seconds = started.elapsed().as_secs_f64();
    let report = run.json();
    assert_eq!(run.code, Some(0), "{report}");
    let number = |pointer: &str| report.pointer(pointer).and_then(Value::as_u64).unwrap();
    Ours {
        seconds,
        requests: number("/requests/supabase"),
        peak_bytes: number("/peak_memory_bytes"),
    }
}

/// Times each part of a recompute, called one after the other from outside.
async fn parts(stack: &Stack, case: Case) {
    let (config, job) = (prepare(stack, case).await, Uuid::new_v4());
    let begin = format!(
        "insert into background_jobs (id, type, status, worker)
           values ('{job}', 'recompute_final_scores', 'running', '{job}')"
    );
    stack.sql(&begin).await;
    let mut after = "null".to_owned();
    let started = Instant::now();
    loop {
        let stage = format!(
            "select stage_post_scores('{job}', '{job}', '{config}', {after}, 25000) ->> 'next_after' as after"
        );
        let staged = stack.rows(&stage).await;
        match staged.first().and_then(|row| row.get("after")) {
            Some(Value::String(next)) => after = format!("'{next}'"),
            _ => break,
        }
    }
    print(case, "computing and staging", started);
    let complete = format!("select complete_recompute_job('{job}', '{job}', false)");
    let started = Instant::now();
    stack.sql(&complete).await;
    print(case, "the cut-over", started);
}

fn print(case: Case, part: &str, started: Instant) {
    println!("{case:?}: {part}: {:.2} s", started.elapsed().as_secs_f64());
}

/// Leaves only the scores under the active weights, as after a normal day, and returns the weights to recompute.
/// `vacuum` and `analyze` replace autovacuum, which the embedded Postgres does not have.
async fn prepare(stack: &Stack, case: Case) -> Uuid {
    stack
        .sql(
            "delete from post_scores where weight_config_id <> (select active_weight_config());
             delete from weight_configs where id <> (select active_weight_config());
             delete from post_scores_staging; delete from background_jobs",
        )
        .await;
    stack
        .sql(&format!("update post_scores set final_score = {OLD_SCORE}"))
        .await;
    stack.sql("vacuum full").await;
    stack.sql("analyze").await;
    if case == Case::InForce {
        return active(stack).await;
    }
    stack
        .sql(
            "insert into weight_configs (weights, name)
               select weights || '{\"drama\": 3}', 'new' from weight_configs",
        )
        .await;
    let new = stack
        .rows("select id from weight_configs where name = 'new' and id <> active_weight_config()");
    id_in(&new.await)
}

async fn active(stack: &Stack) -> Uuid {
    id_in(&stack.rows("select active_weight_config() as id").await)
}

fn id_in(rows: &[Value]) -> Uuid {
    let id = rows.first().and_then(|row| row.get("id")).unwrap();
    id.as_str().unwrap().parse().unwrap()
}

/// Inserts posts number `from` to `to` with scores of all dimensions, and their final scores.
async fn fill(stack: &Stack, from: u32, to: u32) {
    stack
        .sql(&format!(
            "insert into neighborhoods (name, slug) values ('Elm', 'elm') on conflict do nothing;
             insert into posts (neighborhood_id, post_id_ext, text, hash)
               select n.id, i::text, 'Has anyone lost a grey cat? It sits on our porch and will not leave. ' || i, i::text
               from neighborhoods n, generate_series({from}, {to}) i where n.slug = 'elm';
             insert into llm_scores (post_id, scores, categories, summary, why_podcast_worthy, fingerprint)
               select p.id,
                 jsonb_build_object(
                   'absurdity', 1 + i % 10, 'discussion_spark', 1 + i / 3 % 10, 'drama', 1 + i / 5 % 10,
                   'emotional_intensity', (2 + i / 7 % 18) / 2.0, 'news_value', 1 + i / 11 % 10,
                   'podcast_worthy', 1 + i / 13 % 10, 'readability', 1 + i / 17 % 10
                 ),
                 (array['crime', 'drama', 'humor', 'local_news', 'lost_pet', 'noise', 'suspicious', 'wildlife'])
                   [1 + i % 7 : 1 + i % 7 + i / 19 % 3],
                 'What post number ' || i || ' is about, in a sentence of some length.', 'A turn in the story.', 'made'
               from (select id, hash::integer as i from posts where hash::integer between {from} and {to}) p;
             select refresh_topic_frequencies()"
        ))
        .await;
    stack.sql("analyze").await;
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
