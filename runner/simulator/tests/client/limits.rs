//! The client and the simulator each have their own models and limits. These tests compare
//! them.

use serde_json::Value;
use sluice_provider::{
    ChatRequest, Client, Deadlines, EmbeddingRequest, ErrorKind, MAX_INPUT_TOKENS, MAX_INPUTS,
    MAX_REQUEST_TOKENS, MAX_SCHEMA_NAME_BYTES, ReasoningEffort, RefusalCause, http_client,
};
use sluice_simulator::Faults;

use super::{client_with, embed, messages, schema, scores, simulator};

const SETTINGS: ErrorKind = ErrorKind::Refused(RefusalCause::Settings);

async fn refusal(client: &Client, inputs: &[&str]) -> ErrorKind {
    embed(client, inputs).await.unwrap_err().kind().clone()
}

async fn chat_refusal(client: &Client, request: &ChatRequest<'_>) -> ErrorKind {
    client.chat(request).await.unwrap_err().kind().clone()
}

#[tokio::test]
async fn the_simulator_refuses_by_its_own_idea_of_a_model() {
    let (simulator, _) = simulator(Faults::default()).await;
    // This client believes that every model takes dimensions.
    let client = client_with(&simulator, |settings| settings.send_dimensions = Some(true));
    let request = EmbeddingRequest {
        model: "text-embedding-ada-002",
        inputs: &["a"],
        dimensions: Some(64),
    };
    let error = client.embed(&request).await.unwrap_err();
    assert_eq!(error.kind(), &SETTINGS);
    // This one believes that every model takes a temperature.
    let body = r#"{"model":"gpt-5-mini","messages":[],"temperature":0.3}"#;
    let response = http_client(&Deadlines::default())
        .unwrap()
        .post(format!("{}/chat/completions", simulator.base_url()))
        .header("authorization", "Bearer any")
        .body(body)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 400);
    let error = response.bytes().await.unwrap();
    assert!(String::from_utf8_lossy(&error).contains("unsupported_value"));
    let stats = simulator.stats();
    assert_eq!((stats.requests, stats.refused), (2, 2));
}

#[tokio::test]
async fn the_simulator_refuses_one_more_than_the_client_sends() {
    let (simulator, client) = simulator(Faults::default()).await;
    let many = vec!["a"; MAX_INPUTS + 1];
    let too_many = ErrorKind::TooLarge { limit: None };
    assert_eq!(refusal(&client, &many).await, too_many);
    assert!(embed(&client, &many[1..]).await.is_ok());

    let long = " a".repeat(MAX_INPUT_TOKENS + 1);
    assert_eq!(refusal(&client, &[&long]).await, ErrorKind::BadInput);
    assert!(embed(&client, &[&long[2..]]).await.is_ok());

    // A quarter of the bytes is the estimate of the tokens.
    let large = "a".repeat(4 * MAX_REQUEST_TOKENS / 150);
    let most = vec![large.as_str(); 150];
    let too_large = ErrorKind::TooLarge {
        limit: Some(MAX_REQUEST_TOKENS as u64),
    };
    let above = [most.as_slice(), &["a"]].concat();
    assert_eq!(refusal(&client, &above).await, too_large);
    assert!(embed(&client, &most).await.is_ok());

    let (messages, schema) = (messages(), schema());
    let name = "a".repeat(MAX_SCHEMA_NAME_BYTES + 1);
    let mut request = scores(&messages, &schema);
    request.format.as_mut().unwrap().name = &name;
    assert_eq!(chat_refusal(&client, &request).await, SETTINGS);
    request.format.as_mut().unwrap().name = &name[1..];
    assert!(client.chat(&request).await.is_ok());
    assert_eq!(simulator.stats().refused, 4);
}

#[tokio::test]
async fn the_simulator_accepts_what_the_client_sends_to_each_model() {
    let (simulator, client) = simulator(Faults::default()).await;
    let http = http_client(&Deadlines::default()).unwrap();
    let models = http.get(format!("{}/models", simulator.base_url()));
    let models = models.bearer_auth("any").send();
    let models = models.await.unwrap().bytes().await.unwrap();
    let models: Value = serde_json::from_slice(&models).unwrap();
    let (messages, schema) = (messages(), schema());
    for model in models["data"].as_array().unwrap() {
        let model = model["id"].as_str().unwrap();
        let accepted = if model.contains("embedding") {
            let request = EmbeddingRequest {
                model,
                inputs: &["a"],
                dimensions: Some(1536),
            };
            client.embed(&request).await.map(drop)
        } else {
            let request = ChatRequest {
                model,
                temperature: Some(0.3),
                reasoning_effort: Some(ReasoningEffort::Low),
                ..scores(&messages, &schema)
            };
            client.chat(&request).await.map(drop)
        };
        assert!(accepted.is_ok(), "{model}: {accepted:?}");
    }
    assert_eq!(simulator.stats().refused, 0);
}
