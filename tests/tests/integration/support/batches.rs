//! Batches at the provider to test with, and what must be true after them.

use std::time::Duration;

use serde_json::Value;
use sluice_runner::simulator::{BatchConfig, BatchFaults, Config, Simulator};
use sluice_tests::{Program, Stack, signal};

use super::work_items;

/// A simulator whose batches take this long.
pub(crate) fn lasting(life_ms: u64) -> Config {
    with_faults(life_ms, BatchFaults::default())
}

/// A simulator whose batches take this long and have these faults.
pub(crate) fn with_faults(life_ms: u64, faults: BatchFaults) -> Config {
    let batches = BatchConfig {
        life_ms,
        faults,
        ..BatchConfig::default()
    };
    Config {
        batches,
        ..Config::default()
    }
}

/// What the provider lists: `files` or `batches`.
pub(crate) async fn listed(simulator: &Simulator, what: &str) -> Vec<Value> {
    let url = format!("{}/{what}?limit=100", simulator.base_url());
    let request = reqwest::Client::builder()
        .build()
        .unwrap()
        .get(url)
        .bearer_auth("test-key");
    let body = request.send().await.unwrap().text().await.unwrap();
    let list: Value = serde_json::from_str(&body).unwrap();
    list.get("data").and_then(Value::as_array).unwrap().clone()
}

/// Asserts that nothing is left: no file and no unfinished batch at the provider, no lease, no open record, and no
/// money that is not settled.
pub(crate) async fn assert_nothing_is_left(stack: &Stack, simulator: &Simulator) {
    assert_eq!(listed(simulator, "files").await, Vec::<Value>::new());
    for batch in listed(simulator, "batches").await {
        let status = batch.get("status").and_then(Value::as_str).unwrap();
        assert!(
            matches!(status, "completed" | "failed" | "expired" | "cancelled"),
            "{batch}"
        );
    }
    assert_eq!(work_items(stack).await, 0);
    for left in [
        "select count(*) from provider_batches where state <> 'ended'",
        "select count(*) from provider_batch_rows",
        "select count(*) from spending where not settled and holder in (select id from provider_batches)",
    ] {
        assert_eq!(stack.count(left).await, 0, "{left}");
    }
}

/// Asserts that the database has the dollars that the provider billed.
pub(crate) async fn assert_books_agree(stack: &Stack, simulator: &Simulator) {
    let spent = stack
        .rows("select sum(spent)::float8 as usd from spending")
        .await;
    let spent = spent.first().and_then(|row| row.get("usd")?.as_f64());
    let (spent, billed) = (spent.unwrap(), simulator.ledger().usd);
    assert!(
        (spent - billed).abs() < 1e-9 && billed > 0.0,
        "{spent} of {billed}"
    );
}

/// Keeps three runs at work, kills one of them at each of 30 random moments, and lets the last three end.
pub(crate) async fn kill_at_random_moments(program: &Program, arguments: &[&str]) {
    let mut random = fastrand::Rng::with_seed(12);
    let mut running: Vec<_> = (0..3).map(|_| program.spawn(arguments)).collect();
    let mut alive = 0;
    for _ in 0..30 {
        let pause = Duration::from_millis(random.u64(60..900));
        tokio::time::sleep(pause).await;
        let victim = random.usize(0..running.len());
        let child = running.swap_remove(victim);
        if let Some(id) = child.id() {
            signal(Some(id), "KILL");
            alive += 1;
        }
        drop(child);
        running.push(program.spawn(arguments));
    }
    for child in running {
        let run = program.end(child, Duration::from_secs(90)).await;
        assert_eq!(run.code, Some(0), "{}{}", run.stdout, run.stderr);
    }
    assert!(
        alive >= 25,
        "only {alive} of the processes were running when they were killed"
    );
}
