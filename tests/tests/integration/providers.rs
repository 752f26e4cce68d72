//! Providers that are compatible with OpenAI but differ in details.

use serde_json::Value;
use sluice_runner::engine::Stop;
use sluice_runner::exit::Exit;
use sluice_runner::flow::FlowOptions;
use sluice_runner::flow::{ScoreScope, score};
use sluice_runner::simulator::{Config, Fault, Faults, Style};
use sluice_tests::{Recorder, Stack};

use crate::support::posts::{embed, seed, stored_vector, texts, vectors};
use crate::support::{reason, rows};

/// What Azure needs beside its address and its key.
const AZURE: &str = "[openai]\nkey_header = 'api-key'\napi_version = '2024-10-21'\n";

fn styled(style: Style) -> Config {
    Config {
        style,
        ..Config::default()
    }
}

#[tokio::test]
async fn each_post_gets_its_own_vector_in_any_order_and_style() {
    let stack = Stack::fresh().await;
    let texts = texts(30);
    seed(&stack, &texts).await;
    let expected = vectors(&stack.simulator(Config::default()).await, &texts).await;
    for (style, shuffled, toml) in [
        (Style::OpenAi, 1.0, ""),
        (Style::Azure, 0.0, AZURE),
        (Style::Local, 0.0, ""),
    ] {
        let config = Config {
            faults: Faults::only(Fault::Shuffled, shuffled),
            ..styled(style)
        };
        let simulator = stack.simulator(config).await;
        let toml = format!("{toml}[embedding]\nbatch_size = 10");
        let outcome = embed(&stack.session(&simulator, &toml)).await;
        assert_eq!(
            rows(&outcome).written,
            30,
            "{style:?}: {:?}",
            outcome.report
        );
        // Without usage in the response, the report has the tokens that were counted here.
        assert_eq!(
            outcome.report.tokens,
            simulator.stats().input_tokens,
            "{style:?}"
        );
        for (place, expected) in expected.iter().enumerate() {
            assert!(stored_vector(&stack, place).await == *expected, "{style:?}");
        }
        stack.sql("truncate post_embeddings").await;
    }
}

#[tokio::test]
async fn requests_to_azure_name_deployment_key_header_and_version() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(styled(Style::Azure)).await;
    let base_url = simulator
        .base_url()
        .replace("/v1", "/openai/deployments/mine");
    seed(&stack, &texts(12)).await;
    let session = |toml: &str| stack.session_through(stack.postgrest_url(), &base_url, toml);
    for (toml, word) in [
        ("[openai]\napi_version = '2024-10-21'", "key"),
        ("[openai]\nkey_header = 'api-key'", "Resource not found"),
    ] {
        // The rows are not at fault: the run ends, and none becomes a dead letter.
        let outcome = embed(&session(toml)).await;
        assert_eq!(outcome.exit, Exit::ProviderRefuses);
        assert!(reason(&outcome).contains(word), "{}", reason(&outcome));
        assert_eq!(rows(&outcome).failed, 0);
    }
    let session = session(AZURE);
    assert_eq!(rows(&embed(&session).await).written, 12);
    let run = session.begin(FlowOptions::default(), Stop::new());
    let scored = score(&session, &run, ScoreScope::Missing).await.unwrap();
    assert_eq!(rows(&scored).written, 12);
}

#[tokio::test]
async fn configuration_decides_about_base64_and_dimensions() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(styled(Style::Local)).await;
    let asked = async |toml: &str| {
        seed(&stack, &texts(3)).await;
        let provider = Recorder::start(&simulator.base_url()).await;
        let session = stack.session_through(stack.postgrest_url(), provider.url(), toml);
        assert_eq!(rows(&embed(&session).await).written, 3);
        stack.sql("truncate neighborhoods cascade").await;
        let body = provider.seen().into_iter().next().unwrap().body;
        (body["encoding_format"].clone(), body["dimensions"].clone())
    };
    assert_eq!(asked("").await, ("base64".into(), 1_536.into()));
    let float = "[embedding]\nencoding_format = 'float'\nsend_dimensions = false";
    assert_eq!(asked(float).await, ("float".into(), Value::Null));
}
