//! Batches at the provider: half the price, every row once, nothing left behind.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use sluice_runner::simulator::{
    BatchConfig, BatchFaults, BatchStep, ConfigChange, Fault, Faults, Simulator,
};
use sluice_tests::{Program, Stack};

use crate::support::batches::{
    assert_books_agree, assert_nothing_is_left, kill_at_random_moments, lasting, listed,
    with_faults,
};
use crate::support::posts::{
    assert_billed_once, embedded, id, seed, stored_vector, texts, vectors,
};
use crate::support::{until, work_items};

/// Lines of ten texts, files of three lines.
const SMALL: &str = "[embedding]\nbatch_size = 10\n[batch]\nrequests = 3\n[leases]\nseconds = 5\n";

fn program(stack: &Stack, simulator: &Simulator, toml: &str) -> Program {
    Program::on(stack, &simulator.base_url()).configured(&format!("{SMALL}{toml}"))
}

#[tokio::test]
async fn a_batch_stores_what_single_requests_would_at_half_the_price() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(lasting(300)).await;
    let mut texts = texts(70);
    // The same text twice is one input.
    texts.push(texts[3].clone());
    seed(&stack, &texts).await;
    let program = program(&stack, &simulator, "");
    let report = program.json(&["embed", "--batch"]).await;
    assert_eq!(report["counts"]["written"], 71, "{report}");
    assert_eq!(embedded(&stack).await, 71);
    let stats = simulator.stats();
    assert_eq!((stats.requests, stats.batches.created), (0, 3));
    assert_eq!(report["tokens"], stats.input_tokens);
    let usd = report["usd"].as_f64().unwrap();
    let half = stats.input_tokens as f64 * 0.02 / 1e6 / 2.0;
    assert!((usd - half).abs() < 1e-12, "{usd} is not {half}");
    assert_nothing_is_left(&stack, &simulator).await;
    let spent = stack
        .rows("select sum(spent)::float8 as usd from spending")
        .await;
    assert!(
        (spent[0]["usd"].as_f64().unwrap() - half).abs() < 1e-9,
        "{spent:?}"
    );
    let expected = vectors(&simulator, &texts).await;
    for place in [0, 3, 42, 69, 70] {
        let stored = stored_vector(&stack, place).await;
        let wanted = &expected[place];
        let near = stored
            .iter()
            .zip(wanted)
            .all(|(one, other)| (one - other).abs() < 1e-6);
        assert!(near, "post {place}");
    }
    let shown = program.json(&["batches", "list", "--all"]).await;
    assert_eq!(shown.as_array().unwrap().len(), 3, "{shown}");
    assert!(shown[0]["created_by"].is_string());
}

#[tokio::test]
async fn killed_at_random_moments_three_runners_lose_and_repeat_nothing() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(lasting(400)).await;
    let texts = texts(450);
    seed(&stack, &texts).await;
    let program = program(&stack, &simulator, "");
    kill_at_random_moments(&program, &["embed", "--batch"]).await;
    assert_eq!(embedded(&stack).await, 450);
    assert_billed_once(&simulator.stats(), &texts);
    assert_nothing_is_left(&stack, &simulator).await;
    assert_books_agree(&stack, &simulator).await;
}

#[tokio::test]
async fn lost_responses_and_failures_at_every_step_lose_and_repeat_nothing() {
    let steps = [
        BatchStep::Upload,
        BatchStep::ReadFiles,
        BatchStep::Download,
        BatchStep::Delete,
        BatchStep::Create,
        BatchStep::Poll,
        BatchStep::List,
    ];
    let rates: BTreeMap<BatchStep, f64> = steps.into_iter().map(|step| (step, 0.35)).collect();
    let faults = BatchFaults {
        lost: rates.clone(),
        server_error: rates,
        at_most: Some(60),
        ..BatchFaults::default()
    };
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(with_faults(100, faults)).await;
    let texts = texts(120);
    seed(&stack, &texts).await;
    let program = program(&stack, &simulator, "");
    let report = program.json(&["embed", "--batch"]).await;
    let stats = simulator.stats();
    assert!(stats.batches.lost > 5, "{:?}", stats.batches);
    let healthy = ConfigChange {
        batches: Some(BatchConfig::default()),
        ..ConfigChange::default()
    };
    simulator.change(healthy).unwrap();
    assert_eq!(report["counts"]["written"], 120, "{report}");
    assert_eq!(embedded(&stack).await, 120);
    assert_billed_once(&stats, &texts);
    assert_nothing_is_left(&stack, &simulator).await;
}

#[tokio::test]
async fn a_deadline_leaves_the_batch_and_any_later_run_takes_it_up() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(lasting(6_000)).await;
    let texts = texts(60);
    seed(&stack, &texts).await;
    let program = program(&stack, &simulator, "");
    let run = program.run(&["embed", "--batch", "--deadline", "3s"]).await;
    assert_eq!(run.code, Some(3), "{}{}", run.stdout, run.stderr);
    assert!(
        run.stdout.contains("2 batches are at the provider"),
        "{}",
        run.stdout
    );
    assert_eq!((embedded(&stack).await, work_items(&stack).await), (0, 60));
    // A run without batches leaves those rows alone, and says so.
    let plain = program.run(&["embed"]).await;
    assert_eq!(plain.code, Some(3), "{}{}", plain.stdout, plain.stderr);
    assert!(
        plain.stdout.contains("60 rows are in a batch"),
        "{}",
        plain.stdout
    );
    let shown = program.complete(&["batches", "list"]).await.stdout;
    assert!(
        shown.contains("embed") && shown.contains("in_progress"),
        "{shown}"
    );
    until("the batches are collected", async || {
        let run = program.run(&["batches", "collect"]).await;
        assert!(
            matches!(run.code, Some(0 | 3)),
            "{}{}",
            run.stdout,
            run.stderr
        );
        run.code == Some(0)
    })
    .await;
    assert_eq!(embedded(&stack).await, 60);
    assert_billed_once(&simulator.stats(), &texts);
    assert_nothing_is_left(&stack, &simulator).await;
}

#[tokio::test]
async fn what_an_expired_or_cancelled_batch_did_not_do_is_due_again() {
    let stack = Stack::fresh().await;
    let faults = BatchFaults {
        expired: 1.0,
        validation: 0.0,
        at_most: Some(1),
        ..BatchFaults::default()
    };
    let simulator = stack.simulator(with_faults(200, faults)).await;
    let texts = texts(30);
    seed(&stack, &texts).await;
    let one = program(&stack, &simulator, "");
    one.complete(&["embed", "--batch"]).await;
    assert!(simulator.stats().batches.created > 1);
    assert_eq!(embedded(&stack).await, 30);
    assert_billed_once(&simulator.stats(), &texts);
    assert_nothing_is_left(&stack, &simulator).await;

    let slow = ConfigChange {
        batches: Some(BatchConfig {
            life_ms: 60_000,
            ..BatchConfig::default()
        }),
        ..ConfigChange::default()
    };
    simulator.change(slow).unwrap();
    stack.sql("update posts set text = text || '!'").await;
    let run = one.run(&["embed", "--batch", "--deadline", "2s"]).await;
    assert_eq!(run.code, Some(3), "{}{}", run.stdout, run.stderr);
    let open = one.json(&["batches", "list"]).await;
    let batch = open[0]["id"].as_str().unwrap().to_owned();
    one.complete(&["batches", "cancel", &batch]).await;
    until("the batch is cancelled", async || {
        one.run(&["batches", "collect"]).await.code == Some(0)
    })
    .await;
    assert_nothing_is_left(&stack, &simulator).await;
    let run = one.run(&["batches", "cancel", &batch]).await;
    assert_eq!(run.code, Some(2));
    assert!(run.stderr.contains("batches list"), "{}", run.stderr);
}

#[tokio::test]
async fn a_refused_row_fails_alone_and_a_changed_text_is_due_again() {
    let stack = Stack::fresh().await;
    let mut config = lasting(1_500);
    config.faults = Faults {
        poison: Some("☠".to_owned()),
        ..Faults::default()
    };
    let simulator = stack.simulator(config).await;
    let mut texts = texts(25);
    texts[12] = "☠ nobody likes this".to_owned();
    seed(&stack, &texts).await;
    let program = program(&stack, &simulator, "backoff_seconds = 1\n");
    let child = program.spawn(&["embed", "--batch", "--output", "json"]);
    until("the batch is made", async || {
        simulator.stats().batches.created > 0
    })
    .await;
    let change = format!(
        "update posts set text = 'It is another gnome.' where id = '{}'",
        id(3)
    );
    stack.sql(&change).await;
    let run = program.end(child, Duration::from_secs(60)).await;
    assert_eq!(run.code, Some(4), "{}{}", run.stdout, run.stderr);
    let report = run.json();
    assert_eq!(report["counts"]["dead"], 1, "{report}");
    assert_eq!(report["failures"][0]["post_id"], id(12));
    assert_eq!(embedded(&stack).await, 24);
    assert_eq!(simulator.stats().embedded_times("It is another gnome."), 1);
    for (place, text) in texts.iter().enumerate().filter(|(place, _)| *place != 12) {
        assert_eq!(simulator.stats().embedded_times(text), 1, "post {place}");
    }
    assert_eq!(listed(&simulator, "files").await, Vec::<Value>::new());
}

#[tokio::test]
async fn limits_of_rows_and_money_and_of_the_queue_hold() {
    let stack = Stack::fresh().await;
    let faults = BatchFaults {
        queue_full: 1.0,
        at_most: Some(1),
        ..BatchFaults::default()
    };
    let simulator = stack.simulator(with_faults(100, faults)).await;
    let texts = texts(100);
    seed(&stack, &texts).await;
    // A thousand dollars a million tokens: half a cent a post in a batch.
    let dear = "[prices.text-embedding-3-small]\ninput = 1000.0\n[budget]\nusd_per_day = 0.2\n";
    let program = program(&stack, &simulator, dear);
    let billed = || simulator.stats().input_tokens as f64 / 2_000.0;
    let run = program
        .run(&["embed", "--batch", "--max-usd", "0.08"])
        .await;
    assert_eq!(run.code, Some(3), "{}{}", run.stdout, run.stderr);
    assert!(run.stdout.contains("--max-usd"), "{}", run.stdout);
    assert!(billed() <= 0.08 && billed() > 0.0, "{} dollars", billed());
    let run = program.run(&["embed", "--batch"]).await;
    assert_eq!(run.code, Some(3), "{}{}", run.stdout, run.stderr);
    assert!(run.stdout.contains("$0.2 a day"), "{}", run.stdout);
    assert!(billed() <= 0.2 && billed() > 0.1, "{} dollars", billed());
    program.configure(SMALL);
    let before = embedded(&stack).await;
    let run = program.run(&["embed", "--batch", "--limit", "15"]).await;
    assert_eq!(run.code, Some(3), "{}{}", run.stdout, run.stderr);
    assert_eq!(embedded(&stack).await, before + 15);
    program.complete(&["embed", "--batch"]).await;
    assert_eq!(embedded(&stack).await, 100);
    assert_billed_once(&simulator.stats(), &texts);
    assert_nothing_is_left(&stack, &simulator).await;
}

/// A line that the provider could not do blames nobody.
#[tokio::test]
async fn lines_that_fail_for_the_provider_are_done_again() {
    let stack = Stack::fresh().await;
    let faults = BatchFaults {
        lines: BTreeMap::from([(Fault::Overloaded, 0.4)]),
        validation: 0.3,
        at_most: Some(3),
        ..BatchFaults::default()
    };
    let simulator = stack.simulator(with_faults(50, faults)).await;
    let texts = texts(90);
    seed(&stack, &texts).await;
    let program = program(&stack, &simulator, "");
    let report = program.json(&["embed", "--batch"]).await;
    assert_eq!(report["counts"]["dead"], 0, "{report}");
    assert_eq!(embedded(&stack).await, 90);
    assert_billed_once(&simulator.stats(), &texts);
    assert_nothing_is_left(&stack, &simulator).await;
}
