//! What OpenTelemetry's collector gets of a run, and what it does not get.

use secrecy::ExposeSecret;
use serde_json::json;
use sluice_runner::simulator::{Config, Fault, Faults};
use sluice_tests::{Program, Recorder, Stack, Wire};
use tokio::time::Instant;

use crate::support::collector::{Collector, Seen};
use crate::support::posts::{seed, texts};
use crate::support::{faulty, set_faults};

/// A text of a post, which no span may hold.
const SECRET_TEXT: &str = "my neighbour Zebulon hides the key under the gnome";

/// The parent of a span. Panics if it was not received.
fn parent<'s>(spans: &'s [Seen], of: &Seen) -> &'s Seen {
    let found = spans.iter().find(|span| span.id == of.parent);
    found.unwrap_or_else(|| panic!("no parent of {of:?}"))
}

fn named<'s>(spans: &'s [Seen], name: &str) -> Vec<&'s Seen> {
    spans.iter().filter(|span| span.name == name).collect()
}

#[tokio::test]
async fn spans_of_a_run_reach_the_collector_with_their_parents() {
    let stack = Stack::fresh().await;
    let posts = [texts(7), vec![SECRET_TEXT.to_owned()]].concat();
    seed(&stack, &posts).await;
    let simulator = stack.simulator(Config::default()).await;
    let database = Recorder::start(stack.postgrest_url()).await;
    let provider = Recorder::start(&simulator.base_url()).await;
    let collector = Collector::start().await;
    let program = Program::on(&stack, provider.url())
        .with("POSTGREST_URL", database.url())
        .with("EMBEDDING_BATCH_SIZE", "4")
        .with("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url())
        .with("OTEL_EXPORTER_OTLP_HEADERS", "x-collector-key=hush");
    let report = program.json(&["embed"]).await;
    assert_eq!(report["counts"]["written"], 8);
    let spans = collector.spans();

    let [command] = named(&spans, "sluice embed")[..] else {
        panic!("not one root: {spans:#?}")
    };
    assert_eq!((command.parent.as_str(), command.failed), ("", false));
    assert_eq!(command.attributes["sluice.rows.written"], 8);
    assert_eq!(command.attributes["sluice.exit_code"], 0);
    let elsewhere: Vec<_> = spans
        .iter()
        .filter(|span| span.trace != command.trace)
        .collect();
    assert!(elsewhere.is_empty(), "{elsewhere:#?}");

    let [run] = named(&spans, "run")[..] else {
        panic!("not one run: {spans:#?}")
    };
    assert_eq!(run.parent, command.id);
    assert_eq!(run.attributes["flow"], "embed");

    let batches = named(&spans, "batch");
    assert_eq!(batches.len(), 2, "{spans:#?}");
    assert!(batches.iter().all(|batch| batch.parent == run.id));

    let requests = named(&spans, "embeddings text-embedding-3-small");
    assert_eq!(requests.len() as u64, report["requests"]["openai"]);
    let mut tokens = 0;
    for request in &requests {
        assert_eq!(parent(&spans, request).name, "batch");
        assert!(request.is_client && !request.failed);
        let has = |name: &str| request.attributes[name].clone();
        assert_eq!(has("gen_ai.operation.name"), "embeddings");
        assert_eq!(has("gen_ai.provider.name"), "openai");
        assert_eq!(has("gen_ai.request.model"), "text-embedding-3-small");
        assert_eq!(has("server.address"), "127.0.0.1");
        tokens += has("gen_ai.usage.input_tokens").as_u64().unwrap();
    }
    assert_eq!(json!(tokens), report["tokens"]);

    // The project's own API continues the trace, and the provider learns nothing of it.
    let calls = named(&spans, "postgrest");
    let ids: Vec<&str> = calls.iter().map(|call| call.id.as_str()).collect();
    for exchange in database.seen() {
        let sent = exchange.traceparent.unwrap();
        let parts: Vec<&str> = sent.split('-').collect();
        assert_eq!(parts[1], command.trace, "{sent}");
        assert!(ids.contains(&parts[2]), "{sent}");
    }
    assert!(calls.iter().all(|call| call.is_client));
    assert!(
        calls
            .iter()
            .any(|call| call.attributes["http.response.status_code"] == 200)
    );
    let told = provider
        .seen()
        .into_iter()
        .filter_map(|seen| seen.traceparent);
    assert_eq!(told.count(), 0);

    assert_eq!(collector.header("x-collector-key").as_deref(), Some("hush"));
    assert_eq!(collector.resource()["service.name"], "sluice");
    for secret in ["Zebulon", "test-key", stack.key().expose_secret()] {
        assert!(!collector.text().contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn spans_of_questions_and_failures_say_how_they_ended() {
    let stack = Stack::fresh().await;
    seed(&stack, &[SECRET_TEXT.to_owned()]).await;
    let simulator = stack.simulator(faulty(Faults::default())).await;
    let collector = Collector::start().await;
    let program = Program::on(&stack, &simulator.base_url())
        .with(
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            &format!("{}/v1/traces", collector.url()),
        )
        .with("OTEL_SERVICE_NAME", "town")
        .configured("[scoring]\nruns = 1\n");
    let report = program.json(&["score"]).await;
    let spans = collector.spans();
    let chats: Vec<&Seen> = spans
        .iter()
        .filter(|span| span.name.starts_with("chat "))
        .collect();
    assert!(!chats.is_empty(), "{spans:#?}");
    let written = chats
        .iter()
        .filter_map(|chat| chat.attributes.get("gen_ai.usage.output_tokens")?.as_u64());
    assert_eq!(json!(written.sum::<u64>()), report["output_tokens"]);
    assert_eq!(collector.resource()["service.name"], "town");

    set_faults(&simulator, Faults::only(Fault::BadKey, 1.0));
    stack.sql("truncate llm_scores").await;
    let run = program.run(&["score"]).await;
    assert_eq!(run.code, Some(5), "{}", run.stderr);
    let spans = collector.spans();
    let refused: Vec<&Seen> = spans.iter().filter(|span| span.failed).collect();
    let [request, command] = refused[..] else {
        panic!("not two: {refused:#?}")
    };
    assert_eq!(request.attributes["error.type"], "401");
    assert_eq!(command.attributes["sluice.exit_code"], 5);
    for secret in ["Zebulon", "test-key"] {
        assert!(!collector.text().contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn a_collector_that_is_away_costs_a_run_nothing() {
    let stack = Stack::fresh().await;
    seed(&stack, &texts(3)).await;
    let simulator = stack.simulator(Config::default()).await;
    let collector = Collector::start().await;
    let silent = Wire::to(collector.url()).await;
    silent.silence();
    for (url, says) in [("http://127.0.0.1:9", true), (silent.url(), false)] {
        let program =
            Program::on(&stack, &simulator.base_url()).with("OTEL_EXPORTER_OTLP_ENDPOINT", url);
        stack.sql("truncate post_embeddings").await;
        let started = Instant::now();
        let run = program
            .complete(&["embed", "--no-progress", "--json"])
            .await;
        assert_eq!(run.json()["counts"]["written"], 3);
        let seconds = run.json()["elapsed_seconds"].as_f64().unwrap();
        // The end of the program waits for a second at most.
        let late = started.elapsed().as_secs_f64() - seconds;
        assert!(late < 2.0, "{late} s");
        assert_eq!(
            run.stderr.contains("takes no traces"),
            says,
            "{}",
            run.stderr
        );
    }
    let off = Program::on(&stack, &simulator.base_url())
        .with("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url())
        .with("OTEL_SDK_DISABLED", "true");
    off.complete(&["status"]).await;
    assert_eq!(collector.spans().len(), 0);
    let odd = Program::on(&stack, &simulator.base_url())
        .with("OTEL_EXPORTER_OTLP_ENDPOINT", "not an address");
    let run = odd.complete(&["status"]).await;
    assert!(run.stderr.contains("OTEL_EXPORTER_OTLP_"), "{}", run.stderr);
}
