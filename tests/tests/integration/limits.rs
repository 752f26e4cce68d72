//! The bounds of a run: rows, time, money, and the provider's own limits.

use std::time::Duration;

use sluice_runner::engine::Stop;
use sluice_runner::exit::Exit;
use sluice_runner::flow::{self, FlowOptions};
use sluice_runner::simulator::{Config, Fault, Faults, SimulatedLimits};
use sluice_tests::{Endless, Program, Stack};

use crate::support::posts::{assert_billed_once, embed, embed_with, embedded, seed, texts};
use crate::support::{poisoned_by, reason, rows, slow, work_items};

#[tokio::test]
async fn limit_of_rows_exits_with_three_only_if_more_is_due() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(poisoned_by("☠")).await;
    let session = stack.session(&simulator, "[embedding]\nbatch_size = 7");
    let mut texts = texts(60);
    seed(&stack, &texts).await;
    let limited = |limit| FlowOptions {
        limit: Some(limit),
        ..FlowOptions::default()
    };
    let first = embed_with(&session, limited(25)).await;
    assert_eq!(first.exit, Exit::MoreRemains);
    assert_eq!((rows(&first).selected, embedded(&stack).await), (25, 25));
    assert_eq!(work_items(&stack).await, 0);
    let second = embed_with(&session, limited(35)).await;
    assert_eq!(second.exit, Exit::Complete, "{:?}", second.report.reason);
    assert_eq!(embedded(&stack).await, 60);
    let none_due = embed_with(&session, limited(5)).await;
    assert_eq!(none_due.exit, Exit::Complete);
    assert_billed_once(&simulator.stats(), &texts);

    // A failed row decides the exit code, even if the limit is reached too.
    texts[0] = "☠".to_owned();
    stack
        .sql("update posts set text = text || case when post_id_ext = 'p1' then '☠' else '!' end")
        .await;
    let failing = embed_with(&session, limited(10)).await;
    assert_eq!(failing.exit, Exit::SomeFailed);
    assert_eq!((rows(&failing).written, rows(&failing).dead), (9, 1));
}

#[tokio::test]
async fn limited_run_reports_what_it_did_even_if_it_cannot_see_what_is_left() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(Config::default()).await;
    let session = stack.session(&simulator, "");
    seed(&stack, &texts(30)).await;
    let rename = |from: &str, to: &str| {
        format!("alter function {from}(text, uuid, int, jsonb) rename to {to}")
    };
    stack.sql(&rename("peek_work", "elsewhere")).await;
    let limited = FlowOptions {
        limit: Some(20),
        ..FlowOptions::default()
    };
    let outcome = embed_with(&session, limited).await;
    stack.sql(&rename("elsewhere", "peek_work")).await;
    assert_eq!(outcome.exit, Exit::Database);
    assert!(reason(&outcome).contains("apply the migrations"));
    assert_eq!(rows(&outcome).written, 20);
    assert_eq!(outcome.report.tokens, simulator.stats().input_tokens);
}

#[tokio::test]
async fn progress_knows_how_much_is_due() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(Config::default()).await;
    let session = stack.session(&simulator, "");
    seed(&stack, &texts(30)).await;
    for (limit, expected) in [(Some(10), 10), (Some(50), 20), (None, 0)] {
        let options = FlowOptions {
            limit,
            ..FlowOptions::default()
        };
        let run = session.begin(options, Stop::new());
        assert_eq!(run.total(), None);
        flow::embed(&session, &run, false).await.unwrap();
        assert_eq!(run.total(), Some(expected), "limit {limit:?}");
    }
    // A changed text is due again, like a post without an embedding.
    stack.sql("update posts set text = text || '!'").await;
    let run = session.begin(FlowOptions::default(), Stop::new());
    flow::embed(&session, &run, false).await.unwrap();
    assert_eq!(run.total(), Some(30));
}

#[tokio::test]
async fn deadline_stops_claiming_and_drains() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(slow(150)).await;
    let toml = "[embedding]\nbatch_size = 5\nchunk_size = 20\n[limits]\nconcurrency = 2";
    let session = stack.session(&simulator, toml);
    let texts = texts(150);
    seed(&stack, &texts).await;
    let short = FlowOptions {
        deadline: Some(Duration::from_secs(1)),
        ..FlowOptions::default()
    };
    let outcome = embed_with(&session, short).await;
    assert_eq!(outcome.exit, Exit::MoreRemains);
    assert!(reason(&outcome).contains("deadline"));
    assert!(outcome.report.elapsed_seconds < 2.0);
    let counts = rows(&outcome);
    assert!((10..140).contains(&counts.written), "{counts:?}");
    assert_eq!(embedded(&stack).await, counts.written);
    assert_eq!(work_items(&stack).await, 0);
    assert_eq!(embed(&session).await.exit, Exit::Complete);
    assert_eq!(embedded(&stack).await, 150);
    assert_billed_once(&simulator.stats(), &texts);
}

/// A thousand dollars a million tokens, so a post costs about a cent.
const DEAR: &str = "[prices.text-embedding-3-small]\ninput = 1000.0";

#[tokio::test]
async fn budget_is_never_exceeded_even_if_responses_are_lost() {
    let stack = Stack::fresh().await;
    // Some responses break off, and some come too late for a client that waits a second. All are billed.
    let faults = Faults {
        slow_ms: 1_500,
        seed: 3,
        rates: [
            (Fault::Drop, 0.2),
            (Fault::Slow, 0.2),
            (Fault::TruncatedJson, 0.1),
        ]
        .into(),
        ..Faults::default()
    };
    let config = Config { faults, ..slow(50) };
    let simulator = stack.simulator(config).await;
    let toml = format!(
        "[embedding]\nbatch_size = 5\n[limits]\nconcurrency = 8\n[openai]\ntimeout_seconds = 1\n{DEAR}"
    );
    let session = stack.session(&simulator, &toml);
    seed(&stack, &texts(400)).await;
    let budget = FlowOptions {
        max_usd: Some(2.0),
        ..FlowOptions::default()
    };
    let outcome = embed_with(&session, budget).await;
    assert_eq!(outcome.exit, Exit::MoreRemains);
    assert!(reason(&outcome).contains("budget of $2"));
    let stats = simulator.stats();
    assert!(stats.faults.len() == 3, "{:?}", stats.faults);
    let billed = stats.input_tokens as f64 / 1_000.0;
    assert!((1.8..=2.0).contains(&billed), "${billed}");
    let reported = outcome.report.usd.unwrap();
    assert!(
        (reported - billed).abs() < 1e-9,
        "${reported} reported, ${billed} billed"
    );
    assert_eq!(work_items(&stack).await, 0);
}

#[tokio::test]
async fn a_budget_for_a_model_without_a_price_is_refused() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(Config::default()).await;
    seed(&stack, &texts(3)).await;
    let model = "our-own-model";
    let session = stack.session(&simulator, &format!("[embedding]\nmodel = '{model}'"));
    let budget = FlowOptions {
        max_usd: Some(2.0),
        ..FlowOptions::default()
    };
    let outcome = embed_with(&session, budget).await;
    assert_eq!(outcome.exit, Exit::Usage);
    let said = reason(&outcome);
    assert!(said.contains(model) && said.contains("[models."), "{said}");
    assert_eq!(simulator.stats().requests, 0);
}

#[tokio::test]
async fn a_model_without_a_price_has_no_cost_in_the_report() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(Config::default()).await;
    seed(&stack, &texts(3)).await;
    let unpriced = "[embedding]\nmodel = 'ft:text-embedding-3-small:elm-park'";
    let rehearsal = FlowOptions {
        dry_run: true,
        ..FlowOptions::default()
    };
    let session = stack.session(&simulator, unpriced);
    assert_eq!(embed_with(&session, rehearsal).await.report.usd, None);
    assert_eq!(embed(&session).await.report.usd, None);
}

#[tokio::test]
async fn limits_that_the_provider_states_are_kept() {
    let stack = Stack::fresh().await;
    // With about 12 tokens a post, 300 posts take 4 s at 54,000 tokens a minute.
    let limits = SimulatedLimits {
        tokens_per_minute: Some(54_000),
        requests_per_minute: Some(3_000),
        burst_seconds: 1.0,
        ..SimulatedLimits::default()
    };
    let config = Config { limits, ..slow(30) };
    let simulator = stack.simulator(config).await;
    let texts = texts(300);
    seed(&stack, &texts).await;
    let outcome = embed(&stack.session(&simulator, "[embedding]\nbatch_size = 10")).await;
    assert_eq!(outcome.exit, Exit::Complete);
    let stats = simulator.stats();
    assert_billed_once(&stats, &texts);
    assert_eq!((stats.too_early, stats.rate_limited), (0, 0), "{stats:?}");
    let ideal = stats.input_tokens as f64 / 900.0;
    let took = outcome.report.elapsed_seconds;
    assert!(took < ideal + 3.0, "{took} s, {ideal} s at the limit");
}

#[tokio::test]
async fn flags_of_the_program_bound_a_run() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(slow(200)).await;
    let program = Program::on(&stack, &simulator.base_url()).configured(&format!(
        "[embedding]\nbatch_size = 5\n[limits]\nconcurrency = 1\n{DEAR}"
    ));
    seed(&stack, &texts(60)).await;
    for (flags, reason) in [
        (["--limit", "10"], "limit of 10"),
        (["--max-usd", "0.1"], "budget of $0.1"),
        (["--deadline", "500ms"], "deadline of 500ms"),
    ] {
        let run = program
            .run(&[&["embed", "--output", "json"][..], &flags].concat())
            .await;
        assert_eq!(run.code, Some(3), "{flags:?}: {}", run.stderr);
        let report = run.json();
        assert_eq!(report["status"], "partial");
        let said = report["reason"].as_str().unwrap();
        assert!(said.contains(reason), "{flags:?}: {said}");
    }
    let run = program
        .run(&["embed", "--dry-run", "--output", "json"])
        .await;
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    for wrong in [
        ["--max-usd", "-1"],
        ["--deadline", "soon"],
        ["--concurrency", "0"],
    ] {
        let run = program.run(&["embed", wrong[0], wrong[1]]).await;
        assert_eq!(run.code, Some(2), "{wrong:?}: {}", run.stderr);
    }
}

/// The benches of rate and memory run on a fake database. It must know what the flow calls.
#[tokio::test]
async fn the_fake_database_of_the_benches_serves_the_flow() {
    let database = Endless::start(1_500, 40).await;
    let simulator = sluice_runner::simulator::start(Config::default())
        .await
        .unwrap();
    let run = Program::bare()
        .with("POSTGREST_URL", database.url())
        .with("SUPABASE_SERVICE_KEY", "bench")
        .with("OPENAI_BASE_URL", &simulator.base_url())
        .with("OPENAI_API_KEY", "bench")
        .run(&["embed", "--output", "json"])
        .await;
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(database.stored(), 1_500);
}
