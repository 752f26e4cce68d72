//! What the integration tests share.

pub(crate) mod batches;
pub(crate) mod collector;
pub(crate) mod posts;
pub(crate) mod scores;

use std::time::Duration;

use serde_json::Value;
use sluice_runner::report::{Counts, Outcome, RowCounts};
use sluice_runner::simulator::{Config, ConfigChange, Faults, Latency, Simulator};
use sluice_tests::{Program, Stack};

/// A simulator that takes this long for each response.
pub(crate) fn slow(fixed_ms: u64) -> Config {
    Config {
        latency: latency(fixed_ms),
        ..Config::default()
    }
}

/// A simulator with these faults.
pub(crate) fn faulty(faults: Faults) -> Config {
    Config {
        faults,
        ..Config::default()
    }
}

/// A simulator that refuses every request that contains this text.
pub(crate) fn poisoned_by(marker: &str) -> Config {
    faulty(poison(marker))
}

/// The fault that refuses every request that contains this text.
pub(crate) fn poison(marker: &str) -> Faults {
    Faults {
        poison: Some(marker.to_owned()),
        ..Faults::default()
    }
}

fn latency(fixed_ms: u64) -> Latency {
    Latency {
        fixed_ms,
        ..Latency::default()
    }
}

/// Makes a running simulator take this long for each response.
pub(crate) fn slow_down(simulator: &Simulator, fixed_ms: u64) {
    let change = ConfigChange {
        latency: Some(latency(fixed_ms)),
        ..ConfigChange::default()
    };
    simulator.change(change).unwrap();
}

/// Replaces the faults of a running simulator. The default has none.
pub(crate) fn set_faults(simulator: &Simulator, faults: Faults) {
    let change = ConfigChange {
        faults: Some(faults),
        ..ConfigChange::default()
    };
    simulator.change(change).unwrap();
}

/// The row counts of a run.
pub(crate) fn rows(outcome: &Outcome) -> RowCounts {
    match outcome.report.counts {
        Counts::Rows(counts) => counts,
        Counts::Store(_) => panic!("a flow over rows counts rows"),
    }
}

/// Why a run ended before everything was done.
pub(crate) fn reason(outcome: &Outcome) -> &str {
    outcome.report.reason.as_deref().unwrap_or_default()
}

/// How many rows are leased, failing or dead.
pub(crate) async fn work_items(stack: &Stack) -> i64 {
    stack.count("select count(*) from work_items").await
}

/// The text in a column of a row.
pub(crate) fn text_of(row: &Value, column: &str) -> String {
    row.get(column).and_then(Value::as_str).unwrap().to_owned()
}

/// Checks a condition until it holds. Panics after half a minute.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..1_500 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it did not happen in time: {what}");
}

/// The rows of a query once they stop changing: a statement that was sent before a kill may still run.
pub(crate) async fn settled(stack: &Stack, query: &str) -> Vec<Value> {
    let mut found = stack.rows(query).await;
    until("no statement is running", async || {
        tokio::time::sleep(Duration::from_millis(200)).await;
        std::mem::replace(&mut found, stack.rows(query).await) == found
    })
    .await;
    found
}

/// The count that a query returns once it stops changing.
pub(crate) async fn settled_count(stack: &Stack, query: &str) -> i64 {
    let rows = settled(stack, query).await;
    let count = rows.first().and_then(|row| row.get("count")?.as_i64());
    count.unwrap()
}

/// Sends a request to PostgREST with a key, as a script would. Returns status and body.
pub(crate) async fn request(
    method: reqwest::Method,
    url: &str,
    key: &str,
    body: &Value,
) -> (u16, Value) {
    let client = reqwest::Client::builder().build().unwrap();
    let mut request = client.request(method, url).header("apikey", key);
    if !body.is_null() {
        request = request
            .header("content-type", "application/json")
            .body(body.to_string());
    }
    let response = request.send().await.unwrap();
    let (status, text) = (response.status(), response.text().await.unwrap());
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    (status.as_u16(), body)
}

/// The program without a provider, with a database address that nothing serves.
pub(crate) fn without_services() -> Program {
    Program::bare()
        .with("POSTGREST_URL", "http://127.0.0.1:9")
        .with("SUPABASE_SERVICE_KEY", "k")
        .configured("[supabase]\npatience_seconds = 2\n")
}
