//! Scores by batches at the provider: the same scores, every post once, whoever collects them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use sluice_runner::flow::ScoreScope;
use sluice_runner::simulator::{
    BatchConfig, BatchFaults, BatchStep, Config, ConfigChange, Fault, ModelAccess, Simulator, Tier,
};
use sluice_tests::{Program, Stack, signal};

use crate::support::batches::{
    assert_books_agree, assert_nothing_is_left, kill_at_random_moments, lasting, listed,
    with_faults,
};
use crate::support::scores::{
    KIND, TWO, add_posts, assert_scored_times, run_score, scored, scores, three,
};
use crate::support::{poison, set_faults, until, work_items};

/// Files of twelve requests.
const SMALL: &str = "[batch]\nrequests = 12\n[leases]\nseconds = 5\nbackoff_seconds = 1\n";

/// Three runs, one of which writes the texts: two requests a line.
const ENSEMBLE: &str = "[scoring]\nruns = 3\n";

fn program(stack: &Stack, simulator: &Simulator, toml: &str) -> Program {
    Program::on(stack, &simulator.base_url()).configured(&format!("{SMALL}{toml}"))
}

fn change_batches(simulator: &Simulator, batches: BatchConfig) {
    let change = ConfigChange {
        batches: Some(batches),
        ..ConfigChange::default()
    };
    simulator.change(change).unwrap();
}

async fn prepared(posts: u32, config: Config) -> (Stack, Simulator) {
    let stack = Stack::fresh().await;
    add_posts(&stack, posts).await;
    let simulator = stack.simulator(config).await;
    (stack, simulator)
}

/// Waits until the provider has so many batches.
async fn until_submitted(stack: &Stack, batches: i64) {
    let submitted = "select count(*) from provider_batches where state = 'submitted'";
    until("the batches are made", async || {
        stack.count(submitted).await >= batches
    })
    .await;
}

#[tokio::test]
async fn a_batch_stores_the_scores_of_single_requests_whatever_is_asked() {
    let (stack, simulator) = prepared(23, lasting(100)).await;
    let ways = [
        ("", 2),
        ("[scoring]\ntexts = 'every_run'\n", 1),
        ("[models.gpt-6-luna]\nn = false\n", 3),
        ("[openai]\napi = 'responses'\n", 3),
        (TWO, 1),
    ];
    for (toml, requests) in ways {
        let mut stored = Vec::new();
        let mut bills = Vec::new();
        for batch in [false, true] {
            stack
                .sql("delete from llm_scores; delete from spending; delete from topic_frequencies")
                .await;
            simulator.reset();
            if batch {
                let program = program(&stack, &simulator, toml);
                let report = program.json(&["score", "--batch"]).await;
                assert_eq!(report["counts"]["written"], 23, "{toml}: {report}");
                let stats = simulator.stats();
                assert_eq!(stats.requests, 0, "{toml}");
                assert_eq!(stats.batches.lines_answered, 5 * requests, "{toml}");
                assert_eq!(report["tokens"], stats.input_tokens + stats.output_tokens);
                assert_books_agree(&stack, &simulator).await;
                let model = &simulator.ledger().entries[0].model.clone();
                let ledger = simulator.ledger();
                assert_eq!(
                    ledger.picodollars,
                    ledger.picodollars_of(model, Tier::Batch)
                );
            } else {
                run_score(&stack.session(&simulator, toml), ScoreScope::Missing).await;
            }
            let runs = if toml == TWO { 1 } else { 3 };
            assert_scored_times(&stack, &simulator, runs).await;
            stored.push(scores(&stack).await);
            bills.push(simulator.ledger().usd);
            assert!(stack.count("select count(*) from topic_frequencies").await > 0);
        }
        assert_eq!(stored[0], stored[1], "{toml}");
        assert!(bills[1] < bills[0] * 0.7, "{toml}: {bills:?}");
        assert_nothing_is_left(&stack, &simulator).await;
    }
}

#[tokio::test]
async fn killed_at_random_moments_three_runners_score_each_post_once() {
    // Some responses are lost too, so that a killed run often leaves open what it has made.
    let faults = BatchFaults {
        lost: BTreeMap::from([(BatchStep::Create, 0.4), (BatchStep::Upload, 0.2)]),
        ..BatchFaults::default()
    };
    let (stack, simulator) = prepared(300, with_faults(400, faults)).await;
    let program = program(&stack, &simulator, ENSEMBLE);
    kill_at_random_moments(&program, &["score", "--batch"]).await;
    assert_eq!(stack.count("select count(*) from llm_scores").await, 300);
    assert_scored_times(&stack, &simulator, 3).await;
    assert_nothing_is_left(&stack, &simulator).await;
    assert_books_agree(&stack, &simulator).await;
}

/// The laptop is closed while the batches are at the provider, and again while their results are stored.
#[tokio::test]
async fn next_morning_no_post_is_scored_or_paid_twice() {
    for all in [false, true] {
        let (stack, simulator) = scored(60).await;
        change_batches(&simulator, lasting(2_000).batches);
        let rubric = if all { TWO.to_owned() } else { three() };
        let program = program(&stack, &simulator, &rubric);
        let mut arguments = vec!["rescore", "--batch"];
        arguments.extend(all.then_some("--all"));
        let done = format!(
            "select count(*) from llm_scores where scored_at > '{}'",
            stack.rows("select now() as now").await[0]["now"]
                .as_str()
                .unwrap()
        );

        let evening = program.spawn(&arguments);
        until_submitted(&stack, 1).await;
        signal(evening.id(), "KILL");
        drop(evening);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(stack.count(&done).await, 0);

        let morning = program.spawn(&arguments);
        until("some scores are stored", async || {
            stack.count(&done).await > 0
        })
        .await;
        signal(morning.id(), "KILL");
        drop(morning);
        let again: Vec<&str> = [&arguments[..], &["--output", "json"]].concat();
        let run = program.run(&again).await;
        assert_eq!(run.code, Some(0), "{}{}", run.stdout, run.stderr);
        assert_eq!(stack.count(&done).await, 60);
        assert_scored_times(&stack, &simulator, 1).await;
        assert_nothing_is_left(&stack, &simulator).await;
        let open = "select count(*) from score_passes where ended_at is null";
        assert_eq!(stack.count(open).await, 0);
        let billed = simulator.ledger().usd;
        program.complete(&["rescore", "--batch"]).await;
        assert!((simulator.ledger().usd - billed).abs() < 1e-12);
    }
}

/// Whoever collects needs the provider's key and no rubric: the batch carries its own.
#[tokio::test]
async fn any_process_collects_what_was_asked_and_a_changed_rubric_is_due() {
    let (stack, simulator) = prepared(30, lasting(3_000)).await;
    let maker = program(
        &stack,
        &simulator,
        &format!("{}[openai]\napi = 'responses'\n", three()),
    );
    let left = maker.run(&["score", "--batch", "--deadline", "2s"]).await;
    assert_eq!(left.code, Some(3), "{}{}", left.stdout, left.stderr);
    assert!(left.stdout.contains("at the provider"), "{}", left.stdout);
    assert_eq!((work_items(&stack).await, stack.count(KIND).await), (30, 0));
    let plain = maker.run(&["score"]).await;
    assert_eq!(plain.code, Some(3), "{}{}", plain.stdout, plain.stderr);
    assert!(
        plain.stdout.contains("30 rows are in a batch"),
        "{}",
        plain.stdout
    );

    let collector = Program::on(&stack, &simulator.base_url());
    until("the batches are collected", async || {
        collector.run(&["batches", "collect"]).await.code == Some(0)
    })
    .await;
    assert_eq!(stack.count(KIND).await, 30);
    let asked = stack
        .session(&simulator, &three())
        .settings
        .rubric
        .fingerprint();
    for row in scores(&stack).await {
        assert_eq!(
            (&row["fingerprint"], &row["stale"]),
            (&json!(asked), &json!(false))
        );
    }
    assert_books_agree(&stack, &simulator).await;
    assert!(stack.count("select count(*) from topic_frequencies").await > 0);
    assert_nothing_is_left(&stack, &simulator).await;
    assert_scored_times(&stack, &simulator, 1).await;

    // The rubric has changed meanwhile: what was asked is stale, and nothing else is.
    maker.configure(&format!("{SMALL}{TWO}"));
    let report = maker.json(&["score", "--batch"]).await;
    assert_eq!(report["counts"]["selected"], 0, "{report}");
    change_batches(&simulator, lasting(100).batches);
    let report = maker.json(&["rescore", "--batch"]).await;
    assert_eq!(report["counts"]["written"], 30, "{report}");
    assert_scored_times(&stack, &simulator, 2).await;
}

#[tokio::test]
async fn a_backfill_fills_one_dimension_and_leaves_fresher_scores_alone() {
    let (stack, simulator) = scored(30).await;
    stack.sql("delete from spending").await;
    change_batches(&simulator, lasting(3_000).batches);
    let program = program(&stack, &simulator, &three());
    let left = program
        .run(&["backfill", "kindness", "--batch", "--deadline", "2s"])
        .await;
    assert_eq!(left.code, Some(3), "{}{}", left.stdout, left.stderr);
    // A text changes, and is scored again before the batch is collected.
    stack
        .sql("update posts set text = 'Thank you, whoever found my keys!' where post_id_ext = 'ext3'")
        .await;
    program.complete(&["score"]).await;
    let fresh = "select scores from llm_scores s join posts p on p.id = s.post_id where post_id_ext = 'ext3'";
    stack
        .sql(
            "update llm_scores s set scores = scores || '{\"kindness\": 0.5}' from posts p
              where p.id = s.post_id and post_id_ext = 'ext3'",
        )
        .await;
    let collector = Program::on(&stack, &simulator.base_url());
    let mut said = String::new();
    until("the batch is collected", async || {
        let run = collector.run(&["batches", "collect"]).await;
        said.push_str(&run.stdout);
        run.code == Some(0)
    })
    .await;
    assert!(said.contains("sluice backfill kindness"), "{said}");
    assert_eq!(stack.count(KIND).await, 30);
    assert_eq!(stack.rows(fresh).await[0]["scores"]["kindness"], 0.5);
    let report = program.json(&["backfill", "kindness", "--batch"]).await;
    assert_eq!(report["counts"]["selected"], 0, "{report}");
    assert_eq!(report["flows"][0]["flow"], "recompute", "{report}");
    assert_nothing_is_left(&stack, &simulator).await;
    assert_books_agree(&stack, &simulator).await;
}

#[tokio::test]
async fn what_was_not_done_is_due_again_and_nothing_is_paid_twice() {
    let lines = BTreeMap::from([(Fault::Overloaded, 0.2)]);
    let steps = [
        BatchStep::Upload,
        BatchStep::Create,
        BatchStep::Download,
        BatchStep::Poll,
    ];
    let lost: BTreeMap<BatchStep, f64> = steps.into_iter().map(|step| (step, 0.2)).collect();
    let faults = BatchFaults {
        lines,
        lost,
        expired: 0.3,
        validation: 0.1,
        queue_full: 0.1,
        at_most: Some(8),
        ..BatchFaults::default()
    };
    let (stack, simulator) = prepared(120, with_faults(100, faults)).await;
    let program = program(&stack, &simulator, TWO);
    let report = program.json(&["score", "--batch"]).await;
    assert_eq!(report["counts"]["written"], 120, "{report}");
    assert_eq!(report["counts"]["dead"], 0, "{report}");
    assert!(simulator.stats().batches.lines_refused > 0);
    change_batches(&simulator, BatchConfig::default());
    assert_scored_times(&stack, &simulator, 1).await;
    assert_nothing_is_left(&stack, &simulator).await;
    assert_books_agree(&stack, &simulator).await;
}

/// Of three runs in two requests, some fail. The others are used if the texts are there.
#[tokio::test]
async fn an_incomplete_ensemble_is_used_or_said_to_be_paid_again() {
    let faults = BatchFaults {
        lines: BTreeMap::from([(Fault::ServerError, 0.3)]),
        ..BatchFaults::default()
    };
    let (stack, simulator) = prepared(60, with_faults(50, faults)).await;
    let program = program(&stack, &simulator, ENSEMBLE);
    let report = program.json(&["score", "--batch"]).await;
    assert_eq!(report["counts"]["written"], 60, "{report}");
    assert_eq!(report["counts"]["dead"], 0, "{report}");
    let stats = simulator.stats();
    let times: Vec<u64> = stats.scored.values().copied().collect();
    assert!(times.contains(&1) && times.contains(&3), "{times:?}");
    let repeated = times.iter().filter(|times| **times > 3).count();
    let warnings = report["warnings"].to_string();
    assert_eq!(
        repeated > 0,
        warnings.contains("not by the one that writes the texts"),
        "{warnings}"
    );
    for row in scores(&stack).await {
        assert!(!row["summary"].as_str().unwrap().is_empty(), "{row}");
    }
    assert_books_agree(&stack, &simulator).await;
}

#[tokio::test]
async fn a_refused_post_fails_alone_and_unusable_answers_blame_nobody() {
    let (stack, simulator) = prepared(25, lasting(50)).await;
    stack
        .sql("update posts set text = 'arsenic in the punch' where post_id_ext = 'ext7'")
        .await;
    set_faults(&simulator, poison("arsenic"));
    let program = program(&stack, &simulator, TWO);
    let run = program.run(&["score", "--batch", "--output", "json"]).await;
    assert_eq!(run.code, Some(4), "{}{}", run.stdout, run.stderr);
    let report = run.json();
    assert_eq!(report["counts"]["dead"], 1, "{report}");
    assert_eq!(stack.count("select count(*) from llm_scores").await, 24);
    let twice = simulator
        .stats()
        .scored
        .values()
        .filter(|times| **times != 1)
        .count();
    assert_eq!(twice, 0);
    assert_eq!(listed(&simulator, "files").await, Vec::<Value>::new());

    // A model that answers nothing usable: no post is charged an attempt.
    set_faults(&simulator, sluice_runner::simulator::Faults::default());
    let faults = BatchFaults {
        lines: BTreeMap::from([(Fault::Refusal, 1.0)]),
        ..BatchFaults::default()
    };
    change_batches(&simulator, with_faults(50, faults).batches);
    stack
        .sql("delete from llm_scores; delete from work_items")
        .await;
    let run = program.run(&["score", "--batch"]).await;
    assert_eq!(run.code, Some(5), "{}{}", run.stdout, run.stderr);
    assert!(run.stdout.contains("no row is blamed"), "{}", run.stdout);
    assert_nothing_is_left(&stack, &simulator).await;
}

#[tokio::test]
async fn a_refused_parameter_is_left_out_of_the_next_batch() {
    let (stack, simulator) = prepared(20, lasting(50)).await;
    // What is configured is wrong: the model takes the other name.
    let toml = format!("{TWO}[models.gpt-6-luna]\ntoken_limit = 'max_tokens'\n");
    let program = program(&stack, &simulator, &toml);
    let report = program.json(&["score", "--batch"]).await;
    assert_eq!(report["counts"]["written"], 20, "{report}");
    let warnings = report["warnings"].to_string();
    assert!(
        warnings.contains("a parameter that the model refuses"),
        "{warnings}"
    );
    assert_scored_times(&stack, &simulator, 1).await;
    assert_eq!(simulator.stats().batches.created, 2);
    assert_books_agree(&stack, &simulator).await;

    // A model that is not there is refused as a whole.
    let gone = ConfigChange {
        models: Some(ModelAccess::default()),
        ..ConfigChange::default()
    };
    simulator.change(gone).unwrap();
    program.configure(&format!(
        "{SMALL}[scoring]\nmodel = 'gpt-9'\n[models.gpt-9]\nbatch = false\n"
    ));
    let run = program.run(&["rescore", "--batch"]).await;
    assert_eq!(run.code, Some(2), "{}{}", run.stdout, run.stderr);
    assert!(
        run.stderr.contains("takes no part in batches"),
        "{}",
        run.stderr
    );
}

#[tokio::test]
async fn limits_of_posts_and_money_and_of_the_queue_hold() {
    let faults = BatchFaults {
        queue_full: 1.0,
        at_most: Some(1),
        ..BatchFaults::default()
    };
    let (stack, simulator) = prepared(100, with_faults(50, faults)).await;
    let toml = format!("{ENSEMBLE}[budget]\nusd_per_day = 0.006\n");
    let program = program(&stack, &simulator, &toml);
    let billed = || simulator.ledger().usd;
    let run = program
        .run(&["score", "--batch", "--max-usd", "0.004"])
        .await;
    assert_eq!(run.code, Some(3), "{}{}", run.stdout, run.stderr);
    assert!(run.stdout.contains("--max-usd"), "{}", run.stdout);
    assert!(billed() <= 0.004 && billed() > 0.0, "{} dollars", billed());
    let run = program.run(&["score", "--batch"]).await;
    assert_eq!(run.code, Some(3), "{}{}", run.stdout, run.stderr);
    assert!(run.stdout.contains("$0.006 a day"), "{}", run.stdout);
    assert!(billed() <= 0.006, "{} dollars", billed());
    program.configure(&format!("{SMALL}{ENSEMBLE}"));
    let stored = "select count(*) from llm_scores";
    let before = stack.count(stored).await;
    let run = program.run(&["score", "--batch", "--limit", "15"]).await;
    assert_eq!(run.code, Some(3), "{}{}", run.stdout, run.stderr);
    assert_eq!(stack.count(stored).await, before + 15);
    program.complete(&["score", "--batch"]).await;
    assert_eq!(stack.count(stored).await, 100);
    assert_scored_times(&stack, &simulator, 3).await;
    assert_nothing_is_left(&stack, &simulator).await;
}

/// `sluice run --batch` waits for no batch: each run stores what is done, and hands over what is due.
#[tokio::test]
async fn a_workflow_hands_over_and_a_later_one_stores() {
    let (stack, simulator) = prepared(20, lasting(4_000)).await;
    let program = program(&stack, &simulator, TWO);
    let run = program.run(&["run", "--batch", "--output", "json"]).await;
    assert_eq!(run.code, Some(3), "{}{}", run.stdout, run.stderr);
    let report = run.json();
    let reasons = report["flows"].to_string();
    assert!(reasons.contains("1 batch is at the provider"), "{report}");
    let kinds = "select count(distinct kind) from provider_batches where state = 'submitted'";
    assert_eq!(stack.count(kinds).await, 2);
    until("both are stored", async || {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let run = program.run(&["run", "--batch"]).await;
        assert!(
            matches!(run.code, Some(0 | 3)),
            "{}{}",
            run.stdout,
            run.stderr
        );
        run.code == Some(0)
    })
    .await;
    assert_eq!(
        stack.count("select count(*) from post_embeddings").await,
        20
    );
    assert_scored_times(&stack, &simulator, 1).await;
    assert_eq!(simulator.stats().batches.created, 2);
    assert_nothing_is_left(&stack, &simulator).await;
    assert_books_agree(&stack, &simulator).await;
}

#[tokio::test]
async fn a_cancelled_batch_releases_what_was_not_done() {
    let (stack, simulator) = prepared(40, lasting(60_000)).await;
    let program = program(&stack, &simulator, ENSEMBLE);
    let run = program.run(&["score", "--batch", "--deadline", "2s"]).await;
    assert_eq!(run.code, Some(3), "{}{}", run.stdout, run.stderr);
    let open = program.json(&["batches", "list"]).await;
    assert_eq!(open.as_array().unwrap().len(), 2, "{open}");
    for batch in open.as_array().unwrap() {
        assert_eq!(batch["flow"], "score");
        let id = batch["id"].as_str().unwrap();
        program.complete(&["batches", "cancel", id]).await;
    }
    until("the batches are cancelled", async || {
        program.run(&["batches", "collect"]).await.code == Some(0)
    })
    .await;
    assert_nothing_is_left(&stack, &simulator).await;
    change_batches(&simulator, lasting(50).batches);
    program.complete(&["score", "--batch"]).await;
    assert_eq!(stack.count("select count(*) from llm_scores").await, 40);
    assert_scored_times(&stack, &simulator, 3).await;
    assert_books_agree(&stack, &simulator).await;
}
