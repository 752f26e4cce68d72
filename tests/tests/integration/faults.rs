//! Faults of the provider and of the connection to the database, and what must be true in spite of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sluice_runner::exit::Exit;
use sluice_runner::flow::{RecomputeOptions, ScoreScope, Session};
use sluice_runner::report::{Outcome, RowCounts};
use sluice_runner::simulator::{Config, Fault, Faults, Simulator, Stats};
use sluice_tests::{Recorder, Stack, Wire};

use crate::support::posts::{assert_billed_once, embed, embedded, seed, texts};
use crate::support::scores::{TWO, add_posts, add_scores, add_weights, run_recompute, run_score};
use crate::support::{poisoned_by, rows, slow, until, work_items};

/// Posts a run.
const POSTS: usize = 200;
/// Posts a request.
const BATCH: u64 = 10;
/// Requests that a run needs without faults.
const NEEDED: u64 = POSTS as u64 / BATCH;

/// The share of requests that fail.
const RATE: f64 = 0.1;

/// What a fault does to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// Nothing: the response is right.
    None,
    /// The request is repeated; it was not billed.
    Refused,
    /// The request is repeated; it was billed.
    Lost,
    /// Posts without a score are sent again. If that does not help, they become dead letters.
    Unscored,
    /// The run ends.
    Ends,
    /// It happens in the flex tier only, which these runs do not ask for.
    Never,
}

/// The effect of every fault of the simulator. A new fault does not compile until it is listed here.
fn effect(fault: Fault) -> Effect {
    match fault {
        Fault::Slow | Fault::Shuffled => Effect::None,
        Fault::RateLimit | Fault::Overloaded | Fault::ServerError => Effect::Refused,
        Fault::Drop
        | Fault::TruncatedJson
        | Fault::NotJson
        | Fault::FewerVectors
        | Fault::WrongDimensions
        | Fault::Nan => Effect::Lost,
        Fault::Refusal
        | Fault::Length
        | Fault::ContentFilter
        | Fault::MissingItem
        | Fault::RepeatedItem
        | Fault::ExtraItem
        | Fault::OutOfRange => Effect::Unscored,
        Fault::Quota | Fault::BadKey | Fault::MissingScopes | Fault::IpNotAuthorized => {
            Effect::Ends
        }
        Fault::ResourceUnavailable => Effect::Never,
    }
}

/// The faults of the embeddings endpoint.
fn of_embeddings() -> impl Iterator<Item = Fault> {
    let all = Fault::ALL.into_iter();
    all.filter(|fault| !matches!(effect(*fault), Effect::Unscored | Effect::Never))
}

/// The faults of the chat endpoint.
fn of_chat() -> impl Iterator<Item = Fault> {
    let vectors = [
        Fault::Shuffled,
        Fault::FewerVectors,
        Fault::WrongDimensions,
        Fault::Nan,
    ];
    let all = Fault::ALL.into_iter();
    all.filter(move |fault| !vectors.contains(fault) && effect(*fault) != Effect::Never)
}

/// Each of these faults at [`RATE`]. With the seeds of these tests each fault happens at least once, and those that
/// make the limiter pause are few.
fn faults(rates: impl IntoIterator<Item = Fault>, seed: u64) -> Faults {
    Faults {
        rates: rates.into_iter().map(|fault| (fault, RATE)).collect(),
        seed,
        slow_ms: 100,
        retry_after_ms: 200,
        ..Faults::default()
    }
}

async fn run(stack: &Stack, faults: Faults, concurrency: u32) -> (Outcome, Stats) {
    let config = Config { faults, ..slow(5) };
    let simulator = stack.simulator(config).await;
    let toml = format!("[embedding]\nbatch_size = {BATCH}\n[limits]\nconcurrency = {concurrency}");
    let session = stack.session(&simulator, &toml);
    let outcome = embed(&session).await;
    (outcome, simulator.stats())
}

/// Asserts that report, simulator and database agree, and that no request came too early.
async fn assert_agreement(stack: &Stack, fault: &str, outcome: &Outcome, stats: &Stats) {
    let counts = rows(outcome);
    assert_eq!(
        outcome.exit,
        Exit::Complete,
        "{fault}: {:?}",
        outcome.report
    );
    assert_eq!(
        (counts.selected, counts.written),
        (POSTS as u64, POSTS as u64),
        "{fault}"
    );
    assert_eq!(
        (counts.failed, counts.dead, counts.skipped),
        (0, 0, 0),
        "{fault}"
    );
    assert_eq!(embedded(stack).await, POSTS as u64, "{fault}");
    assert_eq!(work_items(stack).await, 0, "{fault}");
    let requests = outcome.report.requests;
    assert_eq!(requests.openai, stats.embedding_requests, "{fault}");
    assert_eq!(requests.rate_limited, stats.rate_limited, "{fault}");
    assert_eq!(outcome.report.tokens, stats.input_tokens, "{fault}");
    assert_eq!(stats.too_early, 0, "{fault}");
}

#[tokio::test]
async fn each_fault_alone_costs_requests_and_nothing_else() {
    let stack = Stack::fresh().await;
    let texts = texts(POSTS);
    seed(&stack, &texts).await;
    for fault in of_embeddings().filter(|fault| effect(*fault) != Effect::Ends) {
        // One request at a time, so that only the seed decides which requests fail.
        let (outcome, stats) = run(&stack, faults([fault], 1_962), 1).await;
        let name = format!("{fault:?}");
        assert_agreement(&stack, &name, &outcome, &stats).await;
        let dealt = stats.faults.get(&fault).copied().unwrap_or_default();
        assert!(dealt > 0, "{name} never happened");
        let repeated = if effect(fault) == Effect::None {
            0
        } else {
            dealt
        };
        assert_eq!(stats.embedding_requests, NEEDED + repeated, "{name}");
        // Responses that cannot be used are billed. Refusals are not.
        let lost = if effect(fault) == Effect::Lost {
            BATCH * dealt
        } else {
            0
        };
        let billed: u64 = stats.embedded.values().sum();
        assert_eq!(billed, POSTS as u64 + lost, "{name}");
        stack.sql("truncate post_embeddings").await;
    }
}

#[tokio::test]
async fn all_faults_together_lose_and_invent_nothing() {
    let stack = Stack::fresh().await;
    let texts = texts(POSTS);
    seed(&stack, &texts).await;
    let survivable = of_embeddings().filter(|fault| effect(*fault) != Effect::Ends);
    let (outcome, stats) = run(&stack, faults(survivable, 43), 8).await;
    assert_eq!(stats.faults.len(), 11, "{:?}", stats.faults);
    assert_agreement(&stack, "all", &outcome, &stats).await;
}

#[tokio::test]
async fn a_fault_that_ends_the_run_loses_and_repeats_nothing() {
    let stack = Stack::fresh().await;
    let texts = texts(POSTS);
    seed(&stack, &texts).await;
    for fault in of_embeddings().filter(|fault| effect(*fault) == Effect::Ends) {
        let config = Config {
            faults: faults([fault], 5),
            ..slow(5)
        };
        let simulator = stack.simulator(config).await;
        let session = stack.session(&simulator, &format!("[embedding]\nbatch_size = {BATCH}"));
        let (mut ended, mut written, mut requests) = (0, 0, 0);
        let last = loop {
            let outcome = embed(&session).await;
            written += rows(&outcome).written;
            requests += outcome.report.requests.openai;
            assert_eq!(embedded(&stack).await, written, "{fault:?}");
            assert_eq!(work_items(&stack).await, 0, "{fault:?}");
            assert_eq!(rows(&outcome).failed, 0, "{fault:?}");
            if outcome.exit != Exit::ProviderRefuses {
                break outcome;
            }
            ended += 1;
        };
        assert_eq!(
            (last.exit, written),
            (Exit::Complete, POSTS as u64),
            "{fault:?}"
        );
        let stats = simulator.stats();
        assert!(ended > 0 && ended <= stats.faults[&fault], "{fault:?}");
        assert_eq!(requests, stats.embedding_requests, "{fault:?}");
        assert_billed_once(&stats, &texts);
        stack.sql("truncate post_embeddings").await;
    }
}

/// Posts that are scored under each fault, five a request.
const SCORED: u64 = 100;

/// Scores posts under faults, and compares the report with the simulator and the database.
async fn score_under(stack: &Stack, name: &str, faults: Faults) -> (RowCounts, Stats) {
    let simulator = stack.simulator(Config { faults, ..slow(5) }).await;
    let session = stack.session(&simulator, TWO);
    let outcome = run_score(&session, ScoreScope::Missing).await;
    let (counts, stats) = (rows(&outcome), simulator.stats());
    assert_eq!(
        (counts.selected, counts.written + counts.dead),
        (SCORED, SCORED),
        "{name}"
    );
    assert_eq!(counts.failed, counts.dead, "{name}");
    let stored = stack.count("select count(*) from llm_scores").await;
    let dead = stack
        .count("select count(*) from work_items where dead")
        .await;
    assert_eq!(
        (stored, dead),
        (as_count(counts.written), as_count(counts.dead)),
        "{name}"
    );
    assert_eq!(work_items(stack).await, dead, "{name}");
    let requests = outcome.report.requests;
    assert_eq!(requests.openai, stats.chat_requests, "{name}");
    assert_eq!(requests.rate_limited, stats.rate_limited, "{name}");
    assert_eq!(stats.too_early, 0, "{name}");
    // Only the provider knows how many output tokens a lost response had.
    let is_lost = |fault: &Fault| effect(*fault) == Effect::Lost;
    let billed = stats.input_tokens + stats.output_tokens;
    if stats.faults.keys().any(is_lost) {
        assert!(
            (stats.input_tokens..=billed).contains(&outcome.report.tokens),
            "{name}"
        );
    } else {
        assert_eq!(outcome.report.tokens, billed, "{name}");
    }
    stack.sql("truncate llm_scores, work_items cascade").await;
    (counts, stats)
}

fn as_count(rows: u64) -> i64 {
    rows.try_into().unwrap()
}

#[tokio::test]
async fn counts_are_right_after_each_fault_of_a_score_and_after_all_of_them() {
    let stack = Stack::fresh().await;
    add_posts(&stack, 100).await;
    let survivable = || of_chat().filter(|fault| effect(*fault) != Effect::Ends);
    for fault in survivable() {
        let name = format!("{fault:?}");
        let (counts, stats) = score_under(&stack, &name, faults([fault], 752)).await;
        let dealt = stats.faults.get(&fault).copied().unwrap_or_default();
        assert!(dealt > 0, "{name} never happened");
        match effect(fault) {
            Effect::Unscored => assert!(counts.dead <= dealt * 5, "{name}: {counts:?}"),
            Effect::None => assert_eq!(
                (counts.dead, stats.chat_requests),
                (0, SCORED / 5),
                "{name}"
            ),
            _ => assert_eq!(
                (counts.dead, stats.chat_requests),
                (0, SCORED / 5 + dealt),
                "{name}"
            ),
        }
    }
    let mut all = faults(survivable(), 315);
    // If most answers were unusable, the run would take that for the fault of the model.
    let unscored = |fault: &Fault| effect(*fault) == Effect::Unscored;
    for (_, rate) in all.rates.iter_mut().filter(|(fault, _)| unscored(fault)) {
        *rate = RATE / 3.0;
    }
    let (_, stats) = score_under(&stack, "all", all).await;
    assert!(stats.faults.len() >= 6, "{:?}", stats.faults);
}

#[tokio::test]
async fn run_waits_for_the_database_and_bills_nothing_twice() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(slow(50)).await;
    let wire = Wire::to(stack.postgrest_url()).await;
    let toml = "[embedding]\nbatch_size = 10\nchunk_size = 40\n[limits]\nconcurrency = 4";
    let session = stack.session_through(wire.url(), &simulator.base_url(), toml);
    let texts = texts(POSTS);
    seed(&stack, &texts).await;
    let outages = async {
        // Twice, so that both claims and writes are interrupted.
        for share in [4, 2] {
            until("part of the posts is embedded", async || {
                embedded(&stack).await >= (POSTS / share) as u64
            })
            .await;
            wire.cut();
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            wire.mend();
        }
    };
    let (outcome, ()) = tokio::join!(embed(&session), outages);
    assert_eq!(outcome.exit, Exit::Complete, "{:?}", outcome.report);
    assert_eq!(embedded(&stack).await, POSTS as u64);
    assert_eq!(work_items(&stack).await, 0);
    assert_billed_once(&simulator.stats(), &texts);
    assert_eq!(rows(&outcome).written, POSTS as u64);
}

/// A session whose connection to the database breaks after the first call of a function and before its response
/// arrives. The call succeeded, but the session does not know.
async fn losing_a_response_of(
    stack: &Stack,
    simulator: &Simulator,
    function: &str,
) -> (Session, Recorder, Arc<Wire>) {
    let wire: Arc<OnceLock<Arc<Wire>>> = Arc::default();
    let (action, lost) = (format!("POST /rpc/{function}"), AtomicBool::default());
    let cutter = Arc::clone(&wire);
    let recorder = Recorder::start_with(stack.postgrest_url(), move |exchange| {
        let is_it = exchange.action() == action && !lost.swap(true, Ordering::Relaxed);
        let wire = is_it.then(|| Arc::clone(cutter.get().unwrap()));
        Box::pin(async move {
            let Some(wire) = wire else { return };
            wire.cut();
            tokio::time::sleep(Duration::from_millis(100)).await;
            wire.mend();
        })
    });
    let recorder = recorder.await;
    let through = Arc::new(Wire::to(recorder.url()).await);
    assert!(wire.set(Arc::clone(&through)).is_ok());
    let toml = "[embedding]\nbatch_size = 10\nchunk_size = 40";
    let session = stack.session_through(through.url(), &simulator.base_url(), toml);
    (session, recorder, through)
}

#[tokio::test]
async fn lost_response_of_the_database_loses_no_row() {
    let stack = Stack::fresh().await;
    let config = Config {
        latency: slow(20).latency,
        ..poisoned_by("☠")
    };
    let simulator = stack.simulator(config).await;
    let mut texts = texts(200);
    texts[3].push('☠');
    texts[150].push('☠');
    seed(&stack, &texts).await;
    for function in ["claim_work", "store_embeddings", "fail_work"] {
        simulator.reset();
        let (session, recorder, _wire) = losing_a_response_of(&stack, &simulator, function).await;
        let outcome = embed(&session).await;
        let counts = rows(&outcome);
        assert_eq!(
            outcome.exit,
            Exit::SomeFailed,
            "{function}: {:?}",
            outcome.report
        );
        assert_eq!(
            (counts.written, counts.failed, counts.dead),
            (198, 2, 2),
            "{function}"
        );
        assert_eq!(embedded(&stack).await, 198, "{function}");
        assert_eq!(
            stack
                .count("select count(*) from work_items where dead")
                .await,
            2
        );
        assert_eq!(work_items(&stack).await, 2, "{function}");
        let billed = simulator.stats().embedded;
        assert!(billed.values().all(|times| *times == 1), "{function}");
        assert!(
            recorder.count(&format!("POST /rpc/{function}")) >= 2,
            "{function}"
        );
        stack.sql("truncate post_embeddings, work_items").await;
    }
}

/// The calls of a recompute succeed, and their answers are lost.
#[tokio::test]
async fn lost_response_of_a_recompute_fails_nothing() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(Config::default()).await;
    add_posts(&stack, 40).await;
    add_scores(&stack, 40).await;
    for (function, calls) in [("stage_post_scores", 2), ("complete_recompute_job", 1)] {
        let new = add_weights(&stack, r#"{"drama": 1}"#).await;
        let options = RecomputeOptions {
            weight_config_id: Some(new),
            activate: true,
        };
        let (session, recorder, _wire) = losing_a_response_of(&stack, &simulator, function).await;
        let outcome = run_recompute(&session, options).await;
        assert_eq!(outcome.exit, Exit::Complete, "{function}: {outcome:?}");
        assert_eq!(rows(&outcome).written, 40, "{function}");
        assert_eq!(recorder.count(&format!("POST /rpc/{function}")), calls);
        let in_force = format!(
            "select count(*) from post_scores
             where weight_config_id = '{new}' and active_weight_config() = '{new}'"
        );
        assert_eq!(stack.count(&in_force).await, 40, "{function}");
    }
    let jobs = "select count(*) from background_jobs where status <> 'completed'";
    assert_eq!(stack.count(jobs).await, 0);
}
