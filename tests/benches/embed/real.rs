//! Memory and requests on the embedded Supabase, at a size and at five times that.

use std::time::{Duration, Instant};

use sluice_runner::simulate::Config;
use sluice_tests::{Exchange, Program, Recorder, Stack};

use crate::support::fill;

/// What a run over so many posts took.
struct Load {
    posts: u32,
    peak_memory_bytes: f64,
    requests: usize,
}

pub(crate) async fn run(posts: u32) {
    let stack = Stack::fresh().await;
    let small = load(&stack, posts / 5).await;
    let large = load(&stack, posts).await;
    println!(
        "real: {} times the posts: {:.2} times the requests, {:.3} times the memory",
        large.posts / small.posts,
        large.requests as f64 / small.requests as f64,
        large.peak_memory_bytes / small.peak_memory_bytes
    );
}

async fn load(stack: &Stack, posts: u32) -> Load {
    fill(stack, posts).await;
    let simulator = stack
        .simulator(Config {
            count_texts: false,
            ..Config::default()
        })
        .await;
    let recorder = Recorder::start_lean(stack.postgrest_url()).await;
    let program = Program::on(stack, &simulator.base_url()).with("POSTGREST_URL", recorder.url());
    let before = whole_reads(stack).await;
    let started = Instant::now();
    let run = program.run(&["embed", "--output", "json"]).await;
    let took = started.elapsed();
    let report = run.json();
    assert_eq!(report["counts"]["written"], posts, "{report}");
    let after = whole_reads(stack).await;
    let seen = recorder.seen();
    let load = Load {
        posts,
        peak_memory_bytes: report["peak_memory_bytes"].as_f64().unwrap(),
        requests: seen.len(),
    };
    println!(
        "real: {posts} posts in {:.0} s: {:.1} MiB at most, {} requests, the largest answer {} KiB, tables read whole {} times ({} rows)",
        took.as_secs_f64(),
        load.peak_memory_bytes / f64::from(1 << 20),
        load.requests,
        seen.iter().map(|seen| seen.answer_bytes).max().unwrap() >> 10,
        after.0 - before.0,
        after.1 - before.1,
    );
    for function in ["claim_embed_work", "store_embeddings"] {
        by_function(function, &seen);
    }
    load
}

/// How often the tables of the flow were read from their beginning to their end, and the rows of these reads.
async fn whole_reads(stack: &Stack) -> (i64, i64) {
    let sum = async |column: &str| {
        let query = format!(
            "select coalesce(sum({column}), 0)::bigint as n from pg_stat_user_tables
             where relname in ('posts', 'post_embeddings')"
        );
        stack.count(&query).await
    };
    (sum("seq_scan").await, sum("seq_tup_read").await)
}

/// How often a function was called, and what a call took at the beginning and at the end of the run.
fn by_function(function: &str, seen: &[Exchange]) {
    let action = format!("POST /rpc/{function}");
    let calls: Vec<Duration> = seen
        .iter()
        .filter(|seen| seen.action() == action)
        .map(|seen| seen.took)
        .collect();
    let fifth = calls.len().div_ceil(5);
    let (first, last) = (&calls[..fifth], &calls[calls.len() - fifth..]);
    println!(
        "real:   {function}: {} calls, {:.0} ms in the middle of the first fifth, {:.0} ms of the last",
        calls.len(),
        median(first).as_secs_f64() * 1e3,
        median(last).as_secs_f64() * 1e3,
    );
}

fn median(of: &[Duration]) -> Duration {
    let mut sorted = of.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}
