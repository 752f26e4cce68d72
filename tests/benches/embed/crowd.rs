//! Eight runners over the same posts, one of them killed every second.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use sluice_runner::simulator::{Config, Latency, Stats};
use sluice_tests::{Program, Stack};
use tokio::process::Child;

use crate::support::fill;

/// Runners at the same time.
const RUNNERS: usize = 8;
/// Texts that a runner has in flight at most: one batch.
const BATCH: u64 = 100;
/// How long a lease outlives its runner, in seconds.
const LEASE_SECONDS: u64 = 10;
/// After this time the bench fails: the runners block each other.
const PATIENCE: Duration = Duration::from_secs(1_800);

pub(crate) async fn run(posts: u32) {
    let stack = Stack::fresh().await;
    fill(&stack, posts).await;
    let config = Config {
        latency: Latency {
            fixed_ms: 200,
            ..Latency::default()
        },
        ..Config::default()
    };
    let simulator = stack.simulator(config).await;
    let program = Program::on(&stack, &simulator.base_url()).configured(&format!(
        "embedding.batch_size = {BATCH}\nlimits.concurrency = 1\nleases.seconds = {LEASE_SECONDS}"
    ));
    let started = Instant::now();
    let (runners, kills) = kill_until_done(&stack, &program, posts).await;
    let took = started.elapsed();
    for runner in runners {
        let ended = program.end(runner, PATIENCE).await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    }
    tokio::time::sleep(Duration::from_secs(LEASE_SECONDS)).await;
    report(&stack, &simulator.stats(), posts, kills, took).await;
}

/// Every second, kills the oldest runner and starts another.
async fn kill_until_done(stack: &Stack, program: &Program, posts: u32) -> (Vec<Child>, u64) {
    let start = || program.spawn(&["embed", "-q", "--output", "json"]);
    let mut runners: VecDeque<Child> = (0..RUNNERS).map(|_| start()).collect();
    let mut kills = 0;
    // This query may wait long in the database, so it runs beside the clock of the kills.
    let done = until_embedded(stack, posts);
    tokio::pin!(done);
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    seconds.tick().await;
    loop {
        tokio::select! {
            () = &mut done => return (runners.into(), kills),
            _ = seconds.tick() => {}
        }
        let mut victim = runners.pop_front().unwrap();
        // A runner that found nothing more to do has ended already.
        kills += u64::from(victim.try_wait().unwrap().is_none());
        victim.kill().await.unwrap();
        runners.push_back(start());
    }
}

async fn until_embedded(stack: &Stack, posts: u32) {
    let started = Instant::now();
    loop {
        let done = stack.count("select count(*) from post_embeddings").await;
        if done >= posts.into() {
            return;
        }
        let seconds = started.elapsed().as_secs();
        assert!(
            started.elapsed() < PATIENCE,
            "{done} of {posts} posts embedded after {seconds} s"
        );
        println!("crowd: {done} of {posts} posts embedded after {seconds} s");
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
}

async fn report(stack: &Stack, stats: &Stats, posts: u32, kills: u64, took: Duration) {
    let current = "select count(*) from post_embeddings e join posts p on p.id = e.post_id
        where e.text_hash = encode(sha256(convert_to(p.text, 'UTF8')), 'hex') and not e.stale";
    let embedded = stack.count(current).await;
    let left = stack.count("select count(*) from work_items").await;
    let twice: u64 = stats.embedded.values().map(|times| times - 1).sum();
    println!(
        "crowd: {embedded} of {posts} embedded in {:.0} s with {kills} kills; {twice} texts billed again, {:.1} a kill, \
         {BATCH} at most; {left} leases left",
        took.as_secs_f64(),
        twice as f64 / kills.max(1) as f64,
    );
    assert_eq!((embedded, left), (posts.into(), 0));
    assert_eq!(stats.embedded.len(), posts as usize);
    assert!(twice <= kills * BATCH);
}
