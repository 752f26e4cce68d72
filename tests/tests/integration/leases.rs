//! Several runners over the same posts, runners that die, and runners that are stopped.

use std::time::Duration;

use sluice_runner::exit::Exit;
use sluice_runner::simulator::{Simulator, Stats};
use sluice_tests::{Program, Stack, Wire, signal};

use crate::support::posts::{assert_billed_once, embed, embedded, line, seed, texts};
use crate::support::{rows, slow, until, work_items};

/// Batches of ten, one in flight at a time, and leases that lapse soon after a crash.
const SMALL: &str = "[embedding]\nbatch_size = 10\nchunk_size = 40\n\
    [limits]\nconcurrency = 1\n[leases]\nseconds = 5";

#[tokio::test]
async fn runners_side_by_side_share_the_posts() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(slow(100)).await;
    let texts = texts(600);
    seed(&stack, &texts).await;
    let sessions: Vec<_> = (0..4).map(|_| stack.session(&simulator, SMALL)).collect();
    let [a, b, c, d] = sessions.as_slice() else {
        unreachable!("four sessions were made")
    };
    let outcomes = tokio::join!(embed(a), embed(b), embed(c), embed(d));
    let outcomes = [outcomes.0, outcomes.1, outcomes.2, outcomes.3];
    for outcome in &outcomes {
        assert_eq!(outcome.exit, Exit::Complete, "{:?}", outcome.report);
        // Every runner gets its share.
        assert!(rows(outcome).written >= 40, "{:?}", outcome.report);
    }
    let written: u64 = outcomes.iter().map(|outcome| rows(outcome).written).sum();
    assert_eq!(written, 600);
    assert_eq!(embedded(&stack).await, 600);
    assert_eq!(work_items(&stack).await, 0);
    assert_billed_once(&simulator.stats(), &texts);
}

/// How many times texts were billed again, over all texts.
fn billed_again(stats: &Stats) -> u64 {
    stats.embedded.values().map(|times| times - 1).sum()
}

#[tokio::test]
async fn killed_runner_costs_what_it_had_in_flight() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(slow(250)).await;
    seed(&stack, &texts(600)).await;
    let program = Program::on(&stack, &simulator.base_url()).configured(SMALL);
    let start = || program.spawn(&["embed", "--output", "json"]);
    let (mut killed, first, second) = (start(), start(), start());
    until("a third is embedded", async || {
        embedded(&stack).await >= 200
    })
    .await;
    signal(killed.id(), "KILL");
    killed.wait().await.unwrap();
    let within = Duration::from_secs(60);
    let (first, second) = tokio::join!(program.end(first, within), program.end(second, within));
    for run in [first, second] {
        assert_eq!(run.code, Some(0), "{}{}", run.stdout, run.stderr);
    }
    assert_eq!(embedded(&stack).await, 600);
    assert_eq!(work_items(&stack).await, 0);
    let stats = simulator.stats();
    assert_eq!(stats.embedded.len(), 600);
    // The runner had at most one batch of ten in flight.
    assert!(
        billed_again(&stats) <= 10,
        "{} texts were billed again",
        billed_again(&stats)
    );
}

/// Waits until the simulator has responded this often.
async fn responses(simulator: &Simulator, count: u64) {
    until("the provider has responded", async || {
        simulator.stats().answered >= count
    })
    .await;
}

#[tokio::test]
async fn stopped_runner_finishes_what_is_in_flight() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(slow(400)).await;
    let texts = texts(300);
    seed(&stack, &texts).await;
    let program = Program::on(&stack, &simulator.base_url()).configured(SMALL);
    for (round, name) in [(1, "TERM"), (2, "INT")] {
        let child = program.spawn(&["embed", "--output", "json"]);
        responses(&simulator, 3 * round).await;
        signal(child.id(), name);
        let run = program.end(child, Duration::from_secs(7)).await;
        assert_eq!(run.code, Some(130), "{name}: {}", run.stderr);
        let report = run.json();
        assert_eq!(
            (&report["status"], &report["reason"]),
            (&"partial".into(), &"interrupted".into())
        );
        assert_eq!(work_items(&stack).await, 0, "{name}");
    }
    // Every response was written, so nothing is sent again.
    let stats = simulator.stats();
    assert_eq!(embedded(&stack).await, stats.embedded.len() as u64);
    assert_eq!(billed_again(&stats), 0);
}

#[tokio::test]
async fn neither_a_slow_provider_nor_a_silent_database_delays_a_stop() {
    let stack = Stack::fresh().await;
    let slow_provider = stack.simulator(slow(30_000)).await;
    let simulator = stack.simulator(slow(100)).await;
    let wire = Wire::to(stack.postgrest_url()).await;
    seed(&stack, &texts(200)).await;
    let waiting = Program::on(&stack, &slow_provider.base_url()).configured(SMALL);
    let waiting_run = waiting.spawn(&["embed", "--limit", "20"]);
    until("the provider has a request", async || {
        slow_provider.stats().requests > 0
    })
    .await;
    let hanging = Program::on(&stack, &simulator.base_url())
        .configured(SMALL)
        .with("POSTGREST_URL", wire.url());
    let embedding = hanging.spawn(&["embed"]);
    responses(&simulator, 3).await;
    wire.silence();
    let silent = Wire::to(stack.postgrest_url()).await;
    silent.silence();
    let store = Program::on(&stack, "http://127.0.0.1:9").with("POSTGREST_URL", silent.url());
    let file = store.file("posts.jsonl", line("Elm", "one"));
    let storing = store.spawn(&["store", file.to_str().unwrap()]);
    until("the store run has sent a request", async || {
        silent.silenced() > 0
    })
    .await;
    let within = Duration::from_millis(7_400);
    for child in [&waiting_run, &embedding, &storing] {
        signal(child.id(), "TERM");
    }
    let (waited, embedded, stored) = tokio::join!(
        waiting.end(waiting_run, within),
        hanging.end(embedding, within),
        store.end(storing, within),
    );
    for (what, run) in [
        ("waited", waited),
        ("embedded", embedded),
        ("stored", stored),
    ] {
        assert_eq!(run.code, Some(130), "{what}: {}{}", run.stdout, run.stderr);
    }
    // The run with a working database has released its rows. Those of the other lapse.
    let held = "select count(distinct worker) from work_items";
    assert!(stack.count(held).await <= 1);
    until("the leases lapse", async || {
        let live = "select count(*) from work_items where leased_until > clock_timestamp()";
        stack.count(live).await == 0
    })
    .await;
}

#[tokio::test]
async fn lease_is_renewed_while_its_row_is_in_flight() {
    let stack = Stack::fresh().await;
    // Longer than a lease. Without the heartbeat the second runner would claim the rows and pay again.
    let simulator = stack.simulator(slow(7_000)).await;
    let texts = texts(10);
    seed(&stack, &texts).await;
    let (first, second) = (
        stack.session(&simulator, SMALL),
        stack.session(&simulator, SMALL),
    );
    let late = async {
        responses(&simulator, 1).await;
        embed(&second).await
    };
    let (first, second) = tokio::join!(embed(&first), late);
    assert_eq!((rows(&first).written, rows(&second).written), (10, 0));
    assert_eq!(second.exit, Exit::Complete);
    assert_billed_once(&simulator.stats(), &texts);
    assert_eq!(work_items(&stack).await, 0);
}
