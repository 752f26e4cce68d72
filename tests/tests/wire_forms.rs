//! The forms on the wire: what each family of models is sent, as snapshots, and both directions held against the types
//! of the crate `async-openai`, which follow the provider's published description.

#![expect(clippy::unwrap_used, reason = "a test that cannot run has failed")]

use std::collections::BTreeMap;

use async_openai::types::chat::{CreateChatCompletionRequest, CreateChatCompletionResponse};
use async_openai::types::embeddings::CreateEmbeddingRequest;
use async_openai::types::responses::{CreateResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sluice_runner::provider::{
    AnswerFormat, ChatApi, ChatCompletion, ChatRequest, Client, ClientConfig, Deadlines,
    EmbeddingRequest, Message, ReasoningEffort, Role, ServiceTier, Tier, Usage, http_client,
};
use sluice_tests::{OddProvider, Oddity, Refusal, When};

/// One model of each family, with an effort to ask for.
const FAMILIES: [(&str, Option<ReasoningEffort>); 8] = [
    ("gpt-4o-mini", None),
    ("gpt-5-mini", Some(ReasoningEffort::Minimal)),
    ("gpt-5.1", Some(ReasoningEffort::None)),
    ("gpt-5.6-terra", Some(ReasoningEffort::Xhigh)),
    ("gpt-6-luna", Some(ReasoningEffort::None)),
    ("gpt-6.1-terra", Some(ReasoningEffort::Max)),
    ("o3", Some(ReasoningEffort::Low)),
    ("our-deployment", Some(ReasoningEffort::High)),
];

fn client(provider: &OddProvider, chat_api: ChatApi) -> Client {
    let config = ClientConfig {
        base_url: provider.url(),
        chat_api,
        ..ClientConfig::new("test-key".into())
    };
    Client::new(http_client(&Deadlines::default()).unwrap(), config).unwrap()
}

/// A request with everything in it.
fn request<'r>(
    model: &'r str,
    effort: Option<ReasoningEffort>,
    messages: &'r [Message],
    schema: &'r Value,
) -> ChatRequest<'r> {
    ChatRequest {
        model,
        messages,
        format: Some(AnswerFormat {
            name: "scores",
            schema,
        }),
        max_output_tokens: Some(900),
        temperature: Some(0.5),
        reasoning_effort: effort,
        seed: Some(7),
        answers: Some(3),
        cache_key: Some("sluice-0123456789abcdef"),
        service_tier: Some(ServiceTier::Flex),
    }
}

fn messages() -> [Message; 2] {
    [(Role::System, "Judge."), (Role::User, "{\"index\":1}")].map(|(role, content)| Message {
        role,
        content: content.to_owned(),
    })
}

fn schema() -> Value {
    json!({ "type": "object", "properties": {}, "required": [], "additionalProperties": false })
}

/// What each family is sent.
async fn sent(chat_api: ChatApi) -> BTreeMap<&'static str, Value> {
    let (messages, schema) = (messages(), schema());
    let mut bodies = BTreeMap::new();
    for (model, effort) in FAMILIES {
        let provider = OddProvider::start(Oddity::None).await;
        let request = request(model, effort, &messages, &schema);
        // The answer has the form of chat completions, whatever was asked.
        let _answered = client(&provider, chat_api).chat(&request).await;
        bodies.insert(model, provider.bodies().remove(0));
    }
    bodies
}

/// Asserts that a type of `async-openai` has each field, with the same value.
fn assert_fields<T: DeserializeOwned + Serialize>(ours: &Value) {
    let theirs: T = serde_json::from_value(ours.clone()).unwrap();
    assert_within("", ours, &serde_json::to_value(theirs).unwrap());
}

fn assert_within(path: &str, ours: &Value, theirs: &Value) {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(_)) => {
            for (name, value) in ours {
                let found = theirs.get(name).unwrap_or(&Value::Null);
                assert_within(&format!("{path}/{name}"), value, found);
            }
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            assert_eq!(ours.len(), theirs.len(), "{path}");
            for (place, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
                assert_within(&format!("{path}/{place}"), ours, theirs);
            }
        }
        (Value::Number(ours), Value::Number(theirs)) => {
            assert!(
                (ours.as_f64().unwrap() - theirs.as_f64().unwrap()).abs() < 1e-9,
                "{path}"
            );
        }
        _ => assert_eq!(ours, theirs, "{path}"),
    }
}

#[tokio::test]
async fn chat_completions_of_each_family() {
    let bodies = sent(ChatApi::Chat).await;
    insta::assert_json_snapshot!("chat_requests", bodies);
    for body in bodies.values() {
        assert_fields::<CreateChatCompletionRequest>(body);
    }
}

#[tokio::test]
async fn responses_of_each_family() {
    let bodies = sent(ChatApi::Responses).await;
    insta::assert_json_snapshot!("responses_requests", bodies);
    for body in bodies.values() {
        assert_fields::<CreateResponse>(body);
    }
}

/// A line of a batch asks what the same request asks by itself.
#[tokio::test]
async fn a_line_of_a_batch_has_the_body_of_the_request() {
    let (messages, schema) = (messages(), schema());
    let apis = [
        (ChatApi::Chat, "/v1/chat/completions"),
        (ChatApi::Responses, "/v1/responses"),
    ];
    for (api, url) in apis {
        let alone = sent(api).await;
        let provider = OddProvider::start(Oddity::None).await;
        let client = client(&provider, api);
        for (model, effort) in FAMILIES {
            let asked = client.line_manner(model, effort);
            let request = request(model, effort, &messages, &schema);
            let line = client.chat_line("1.0.5", &request, &asked);
            let line: Value = serde_json::from_slice(line.bytes()).unwrap();
            let expected = json!({
                "custom_id": "1.0.5", "method": "POST", "url": url, "body": alone[model]
            });
            assert_eq!(line, expected, "{model}");
        }
    }
}

#[tokio::test]
async fn embeddings_have_the_published_fields() {
    let provider = OddProvider::start(Oddity::None).await;
    let request = EmbeddingRequest {
        model: "text-embedding-3-small",
        inputs: &["a"],
        dimensions: Some(256),
    };
    client(&provider, ChatApi::Chat)
        .embed(&request)
        .await
        .unwrap();
    assert_fields::<CreateEmbeddingRequest>(&provider.bodies().remove(0));
}

/// The first answer, what was billed, and at which tier.
async fn read(chat_api: ChatApi, body: &Value) -> (Vec<ChatCompletion>, Usage, Option<Tier>) {
    let provider = OddProvider::start(Oddity::Refuses(When::Always, Refusal::new(200, body))).await;
    let (messages, schema) = (messages(), schema());
    let request = request("gpt-6-luna", None, &messages, &schema);
    let response = client(&provider, chat_api).chat(&request).await.unwrap();
    (response.value, response.usage.unwrap(), response.tier)
}

const BILLED: Usage = Usage {
    input_tokens: 2_006,
    cached_input_tokens: 1_024,
    cache_write_tokens: 896,
    output_tokens: 300,
};

#[tokio::test]
async fn chat_completions_are_read_as_published() {
    let body = json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-6-luna", "service_tier": "flex",
        "choices": [
            { "index": 0, "message": { "role": "assistant", "content": "{}", "refusal": null },
              "finish_reason": "stop", "logprobs": null },
            { "index": 1, "message": { "role": "assistant", "content": null, "refusal": "no" },
              "finish_reason": "stop", "logprobs": null },
        ],
        "usage": {
            "prompt_tokens": 2006, "completion_tokens": 300, "total_tokens": 2306,
            "prompt_tokens_details": { "cached_tokens": 1024, "cache_write_tokens": 896 },
            "completion_tokens_details": { "reasoning_tokens": 0 },
        },
    });
    assert_fields::<CreateChatCompletionResponse>(&body);
    let (answers, usage, tier) = read(ChatApi::Chat, &body).await;
    let expected = [
        ChatCompletion::Content("{}".to_owned()),
        ChatCompletion::Refusal("no".to_owned()),
    ];
    assert_eq!(
        (&answers[..], usage, tier),
        (&expected[..], BILLED, Some(Tier::Flex))
    );
}

#[tokio::test]
async fn responses_are_read_as_published() {
    let body = json!({
        "id": "resp_1", "object": "response", "created_at": 1, "status": "incomplete", "model": "gpt-6-luna",
        "service_tier": "default", "incomplete_details": { "reason": "max_output_tokens" },
        "output": [
            { "type": "reasoning", "id": "rs_1", "summary": [] },
            { "type": "message", "id": "msg_1", "role": "assistant", "status": "incomplete",
              "content": [{ "type": "output_text", "text": "{\"posts\"", "annotations": [], "logprobs": [] }] },
        ],
        "usage": {
            "input_tokens": 2006, "output_tokens": 300, "total_tokens": 2306,
            "input_tokens_details": { "cached_tokens": 1024, "cache_write_tokens": 896 },
            "output_tokens_details": { "reasoning_tokens": 0 },
        },
    });
    assert_fields::<Response>(&body);
    let (answers, usage, tier) = read(ChatApi::Responses, &body).await;
    let expected = [ChatCompletion::Length("{\"posts\"".to_owned())];
    assert_eq!(
        (&answers[..], usage, tier),
        (&expected[..], BILLED, Some(Tier::Standard))
    );
}

#[tokio::test]
async fn response_that_failed_is_an_error_of_its_kind() {
    let body = json!({
        "id": "resp_1", "object": "response", "created_at": 1, "status": "failed", "model": "gpt-6-luna",
        "error": { "code": "server_error", "message": "The model failed." }, "output": [],
    });
    assert_fields::<Response>(&body);
    let provider =
        OddProvider::start(Oddity::Refuses(When::Always, Refusal::new(200, &body))).await;
    let (messages, schema) = (messages(), schema());
    let request = request("gpt-6-luna", None, &messages, &schema);
    let error = client(&provider, ChatApi::Responses)
        .chat(&request)
        .await
        .unwrap_err();
    assert!(
        error.is_retryable() && error.message() == Some("The model failed."),
        "{error}"
    );
}
