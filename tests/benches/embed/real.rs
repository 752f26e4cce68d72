//! Memory and requests on the embedded Supabase, for a number of posts and for five times as many.

use std::time::Instant;

use sluice_runner::simulator::Config;
use sluice_tests::{Program, Recorder, Stack};

use crate::support::fill;

/// What a run took.
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
    let before = Reads::so_far(stack).await;
    let started = Instant::now();
    let run = program.run(&["embed", "--output", "json"]).await;
    let took = started.elapsed();
    let report = run.json();
    assert_eq!(report["counts"]["written"], posts, "{report}");
    let reads = Reads::so_far(stack).await.since(before);
    let seen = recorder.seen();
    let load = Load {
        posts,
        peak_memory_bytes: report["peak_memory_bytes"].as_f64().unwrap(),
        requests: seen.len(),
    };
    println!(
        "real: {posts} posts in {:.0} s: {:.1} MiB at most, {} requests, the largest response {} KiB; {:.1} rows read by \
         an index for each post, {} rows in {} reads of a whole table",
        took.as_secs_f64(),
        load.peak_memory_bytes / f64::from(1 << 20),
        load.requests,
        seen.iter().map(|seen| seen.response_bytes).max().unwrap() >> 10,
        reads.by_index as f64 / f64::from(posts),
        reads.whole.1,
        reads.whole.0,
    );
    load
}

/// What the database has read from the tables of the flow.
#[derive(Debug, Clone, Copy)]
struct Reads {
    /// Scans of a whole table, and their rows.
    whole: (i64, i64),
    /// Rows found by index.
    by_index: i64,
}

impl Reads {
    async fn so_far(stack: &Stack) -> Self {
        let sum = async |column: &str| {
            let query = format!(
                "select coalesce(sum({column}), 0)::bigint as n from pg_stat_user_tables
                 where relname in ('posts', 'post_embeddings', 'work_items')"
            );
            stack.count(&query).await
        };
        Self {
            whole: (sum("seq_scan").await, sum("seq_tup_read").await),
            by_index: sum("idx_tup_fetch").await,
        }
    }

    fn since(self, before: Self) -> Self {
        Self {
            whole: (self.whole.0 - before.whole.0, self.whole.1 - before.whole.1),
            by_index: self.by_index - before.by_index,
        }
    }
}
