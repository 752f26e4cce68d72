//! What goes wrong at the provider and on the way to the database, and what must be true all the same.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sluice_runner::exit::Exit;
use sluice_runner::flow::Session;
use sluice_runner::report::Outcome;
use sluice_runner::simulate::{Config, Fault, Faults, Simulator, Stats};
use sluice_tests::{Recorder, Stack, Wire};

use crate::posts::{
    assert_billed_once, embed, embedded, poisoned_by, rows, seed, slow, texts, until, work_items,
};

/// The faults that a run survives, at the embeddings endpoint.
const SURVIVABLE: [Fault; 10] = [
    Fault::RateLimit,
    Fault::Overloaded,
    Fault::ServerError,
    Fault::Slow,
    Fault::Drop,
    Fault::TruncatedJson,
    Fault::NotJson,
    Fault::FewerVectors,
    Fault::WrongDimensions,
    Fault::Nan,
];

/// Posts a run.
const POSTS: usize = 400;

/// A request fails here in one of ten cases.
const RATE: f64 = 0.1;

async fn run(stack: &Stack, faults: Faults, batch: usize) -> (Outcome, Stats) {
    let config = Config { faults, ..slow(5) };
    let simulator = stack.simulator(config).await;
    let session = stack.session(&simulator, &format!("[embedding]\nbatch_size = {batch}"));
    let outcome = embed(&session).await;
    (outcome, simulator.stats())
}

/// The report, the stand-in and the database agree, and nobody came back too early.
async fn assert_agreement(stack: &Stack, fault: &str, outcome: &Outcome, stats: &Stats) {
    let counts = rows(&outcome.report);
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
    for fault in SURVIVABLE {
        let faults = Faults {
            slow_ms: 100,
            retry_after_ms: 200,
            seed: 7,
            ..Faults::only(fault, RATE)
        };
        let (outcome, stats) = run(&stack, faults, 20).await;
        let name = format!("{fault:?}");
        assert_agreement(&stack, &name, &outcome, &stats).await;
        let dealt = stats.faults.get(&fault).copied().unwrap_or_default();
        assert!(dealt > 0, "{name} never happened");
        let failed = if fault == Fault::Slow { 0 } else { dealt };
        assert_eq!(stats.embedding_requests, 20 + failed, "{name}");
        // Answers that came and could not be used are paid for; refusals are not.
        let is_refusal = matches!(
            fault,
            Fault::RateLimit | Fault::Overloaded | Fault::ServerError
        );
        let billed: u64 = stats.embedded.values().sum();
        let lost = if is_refusal { 0 } else { 20 * failed };
        assert_eq!(billed, POSTS as u64 + lost, "{name}");
        stack.sql("truncate post_embeddings").await;
    }
}

#[tokio::test]
async fn all_faults_together_lose_and_invent_nothing() {
    let stack = Stack::fresh().await;
    let texts = texts(POSTS);
    seed(&stack, &texts).await;
    let faults = Faults {
        slow_ms: 100,
        retry_after_ms: 200,
        seed: 1,
        rates: SURVIVABLE.map(|fault| (fault, RATE)).into(),
        ..Faults::default()
    };
    let (outcome, stats) = run(&stack, faults, 40).await;
    assert!(stats.faults.len() >= 8, "{:?}", stats.faults);
    assert_agreement(&stack, "all", &outcome, &stats).await;
}

#[tokio::test]
async fn an_outage_of_the_database_is_waited_out_and_nothing_is_billed_twice() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(slow(50)).await;
    let wire = Wire::to(stack.postgrest_url()).await;
    let toml = "[embedding]\nbatch_size = 10\nchunk_size = 40\n[limits]\nconcurrency = 4";
    let session = stack.session_through(wire.url(), &simulator.base_url(), toml);
    let texts = texts(POSTS);
    seed(&stack, &texts).await;
    let outages = async {
        // Twice, so that claims as well as writes are cut off in the middle.
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
    assert_eq!(rows(&outcome.report).written, POSTS as u64);
}

/// A session whose connection to the database breaks between the first answer of a function and its
/// delivery: it was done, and nobody knows.
async fn losing_an_answer_of(
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
async fn an_answer_of_the_database_that_is_lost_loses_no_row() {
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
    for function in ["claim_embed_work", "store_embeddings", "fail_work"] {
        simulator.reset();
        let (session, recorder, _wire) = losing_an_answer_of(&stack, &simulator, function).await;
        let outcome = embed(&session).await;
        let counts = rows(&outcome.report);
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
