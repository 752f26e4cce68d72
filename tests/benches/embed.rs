//! The embed flow under load. `cargo bench -p sluice-tests --bench embed -- rate|memory|throughput|crowd`
//! (all but `rate` and `crowd` where nothing is named; these two take minutes).
//!
//! Each prints its figures and what they are held against; docs/benchmarks.md has them from one machine.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has failed")]
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(
    clippy::indexing_slicing,
    reason = "a benchmark that cannot run has failed"
)]

use std::time::{Duration, Instant};

use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sluice_runner::simulate::{Config, Latency, Limits};
use sluice_tests::{Endless, Program, Stack};

#[tokio::main]
async fn main() {
    let named: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let wanted = |name: &str| named.iter().any(|word| word == name);
    if wanted("rate") {
        rate().await;
    }
    if wanted("memory") || named.is_empty() {
        memory().await;
    }
    if wanted("throughput") || named.is_empty() {
        throughput().await;
    }
    if wanted("crowd") {
        crowd().await;
    }
}

/// A program that reaches these two services.
fn program(postgrest_url: &str, openai_url: &str) -> Program {
    Program::bare()
        .with("POSTGREST_URL", postgrest_url)
        .with("SUPABASE_SERVICE_KEY", "bench")
        .with("OPENAI_BASE_URL", openai_url)
        .with("OPENAI_API_KEY", "bench")
}

/// One million tokens a minute and 200 ms an answer, for three minutes.
async fn rate() {
    const LIMIT: u64 = 1_000_000;
    let database = Endless::start(10_000_000, 40).await;
    let config = Config {
        limits: Limits {
            tokens_per_minute: Some(LIMIT),
            burst_seconds: 1.0,
            ..Limits::default()
        },
        latency: Latency {
            fixed_ms: 200,
            ..Latency::default()
        },
        count_texts: false,
        ..Config::default()
    };
    let simulator = sluice_runner::simulate::start(config).await.unwrap();
    let program = program(database.url(), &simulator.base_url());
    let run = tokio::spawn(async move {
        program
            .run(&["embed", "--deadline", "3m", "--output", "json"])
            .await
    });
    let mut before = 0;
    for minute in 1..=3 {
        tokio::time::sleep(Duration::from_secs(60)).await;
        let tokens = simulator.stats().input_tokens;
        let used = (tokens - before) as f64 / LIMIT as f64;
        println!(
            "rate: minute {minute}: {:.2} % of the allowed tokens",
            used * 100.0
        );
        before = tokens;
    }
    let run = run.await.unwrap();
    let stats = simulator.stats();
    println!(
        "rate: {} requests, {} answered 429 ({:.3} %), {} sent before a Retry-After had passed; exit {:?}",
        stats.requests,
        stats.rate_limited,
        stats.rate_limited as f64 * 100.0 / stats.requests as f64,
        stats.too_early,
        run.code
    );
}

/// Peak memory for 10,000 posts, and for 1,000,000.
async fn memory() {
    let config = || Config {
        count_texts: false,
        ..Config::default()
    };
    let mut peaks = Vec::new();
    for total in [10_000, 1_000_000] {
        let database = Endless::start(total, 40).await;
        let simulator = sluice_runner::simulate::start(config()).await.unwrap();
        let started = Instant::now();
        let run = program(database.url(), &simulator.base_url())
            .run(&["embed", "--output", "json"])
            .await;
        let report = run.json();
        assert_eq!(report["counts"]["written"], total, "{report}");
        assert_eq!(database.stored(), total);
        let peak = report["peak_memory_bytes"].as_u64().unwrap();
        println!(
            "memory: {total} posts: {:.1} MiB at most, {} requests to the database, {:.0} s",
            peak as f64 / f64::from(1 << 20),
            database.requests(),
            started.elapsed().as_secs_f64()
        );
        peaks.push(peak as f64);
    }
    println!("memory: ratio {:.3}", peaks[1] / peaks[0]);
}

/// The flow against an unlimited provider, and the same rows pushed by plain reqwest, in turn.
async fn throughput() {
    const POSTS: u32 = 3_000;
    let stack = Stack::fresh().await;
    let simulator = stack
        .simulator(Config {
            count_texts: false,
            ..Config::default()
        })
        .await;
    for round in 1..=3 {
        let plain = push(&stack, POSTS).await;
        fill(&stack, POSTS).await;
        let started = Instant::now();
        let run = Program::on(&stack, &simulator.base_url())
            .run(&["embed", "--output", "json"])
            .await;
        let flow = f64::from(POSTS) / started.elapsed().as_secs_f64();
        assert_eq!(run.json()["counts"]["written"], POSTS, "{}", run.stderr);
        println!(
            "throughput: round {round}: plain reqwest {plain:.0} rows/s, the flow {flow:.0} rows/s, ratio {:.3}",
            flow / plain
        );
    }
}

async fn fill(stack: &Stack, posts: u32) {
    stack
        .sql(&format!(
            "truncate post_embeddings, work_items, posts, neighborhoods cascade;
             insert into neighborhoods (name, slug) values ('Elm', 'elm');
             insert into posts (neighborhood_id, post_id_ext, text, hash)
             select n.id, i::text, 'post ' || i || repeat(' neighbours and their dogs', 10), i::text
             from neighborhoods n, generate_series(1, {posts}) i"
        ))
        .await;
}

/// Prepared payloads of the flow's size through the same function, two requests at a time as the flow has.
async fn push(stack: &Stack, posts: u32) -> f64 {
    const ROWS: usize = 200;
    fill(stack, posts).await;
    let ids = stack.rows("select id from posts order by id").await;
    let vector = |seed: usize| {
        let numbers: Vec<String> = (0..1536)
            .map(|at| (((seed * 31 + at * 7) % 1999) as f32 / 1e5 - 0.01).to_string())
            .collect();
        format!("[{}]", numbers.join(","))
    };
    let bodies: Vec<String> = ids
        .chunks(ROWS)
        .enumerate()
        .map(|(chunk, ids)| {
            let row = |(at, id): (usize, &Value)| {
                json!({
                    "post_id": id["id"], "embedding": vector(chunk * ROWS + at),
                    "model": "m", "dimensions": 1536, "text_hash": null
                })
            };
            let rows: Vec<Value> = ids.iter().enumerate().map(row).collect();
            json!({ "p_worker": uuid::Uuid::nil(), "p_rows": rows }).to_string()
        })
        .collect();
    let client = reqwest::Client::builder().build().unwrap();
    let url = format!("{}/rpc/store_embeddings", stack.postgrest_url());
    let started = Instant::now();
    let mut sending = tokio::task::JoinSet::new();
    for body in bodies {
        if sending.len() >= 2 {
            sending.join_next().await.unwrap().unwrap();
        }
        let request = client
            .post(&url)
            .header("apikey", stack.key().expose_secret())
            .header("content-type", "application/json")
            .body(body);
        sending.spawn(async move { assert!(request.send().await.unwrap().status().is_success()) });
    }
    while let Some(sent) = sending.join_next().await {
        sent.unwrap();
    }
    f64::from(posts) / started.elapsed().as_secs_f64()
}

/// Eight runners over 20,000 posts, one of them killed every second.
async fn crowd() {
    const POSTS: u32 = 20_000;
    let stack = Stack::fresh().await;
    fill(&stack, POSTS).await;
    let config = Config {
        latency: Latency {
            fixed_ms: 200,
            ..Latency::default()
        },
        ..Config::default()
    };
    let simulator = stack.simulator(config).await;
    let program = Program::on(&stack, &simulator.base_url())
        .configured("leases.seconds = 10\nlimits.concurrency = 2");
    let started = Instant::now();
    let mut runners: Vec<_> = (0..8).map(|_| program.spawn(&["embed", "-q"])).collect();
    let mut kills = 0;
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let done = stack.count("select count(*) from post_embeddings").await;
        if done >= POSTS.into() || started.elapsed() > Duration::from_secs(600) {
            break;
        }
        let victim = kills % runners.len();
        runners[victim].kill().await.unwrap();
        runners[victim] = program.spawn(&["embed", "-q"]);
        kills += 1;
    }
    for runner in &mut runners {
        runner.wait().await.unwrap();
    }
    let stats = simulator.stats();
    let twice: u64 = stats.embedded.values().map(|times| times - 1).sum();
    println!(
        "crowd: {} of {POSTS} embedded in {:.0} s with {kills} kills; {twice} texts billed again ({:.1} a kill); {} leases left",
        stack.count("select count(*) from post_embeddings").await,
        started.elapsed().as_secs_f64(),
        twice as f64 / f64::from(u32::try_from(kills.max(1)).unwrap()),
        stack.count("select count(*) from work_items").await,
    );
}
