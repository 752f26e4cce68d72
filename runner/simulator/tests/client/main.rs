//! The client against the simulator: every fault, both forms of vectors, and what is counted.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot run has failed"
)]

mod limits;
mod styles;

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use sluice_provider::{
    AnswerFormat, Breakage, ChatCompletion, ChatRequest, Client, ClientConfig, Deadlines,
    EmbeddingRequest, Embeddings, Error, ErrorKind, Message, Overload, RefusalCause, Response,
    Role, VectorEncoding, http_client, input_tokens,
};
use sluice_simulator::{
    Config, ConfigChange, Fault, Faults, SimulatedLimits, Simulator, Stats, start,
};

const KEY: &str = "sk-very-secret-key";
const TEXTS: [&str; 3] = [
    "The gnome is back.",
    "Free couch on 5th.",
    "Lost cat, grey.",
];
const TOKENS: u64 = 17;

fn client_with(simulator: &Simulator, change: impl FnOnce(&mut ClientConfig)) -> Client {
    let mut settings = ClientConfig::new(KEY.into());
    settings.base_url = simulator.base_url();
    change(&mut settings);
    let deadlines = Deadlines {
        total: Duration::from_secs(20),
        ..Deadlines::default()
    };
    Client::new(http_client(&deadlines).unwrap(), settings).unwrap()
}

async fn simulator(faults: Faults) -> (Simulator, Client) {
    let simulator = start(Config {
        faults,
        ..Config::default()
    })
    .await
    .unwrap();
    let client = client_with(&simulator, |_| {});
    (simulator, client)
}

async fn embed(client: &Client, inputs: &[&str]) -> Result<Response<Embeddings>, Error> {
    let model = "text-embedding-3-small";
    client
        .embed(&EmbeddingRequest {
            model,
            inputs,
            dimensions: Some(64),
        })
        .await
}

fn schema() -> Value {
    json!({
        "type": "object", "required": ["posts"], "additionalProperties": false,
        "properties": {"posts": {"type": "array", "items": {
            "type": "object", "required": ["index", "drama"], "additionalProperties": false,
            "properties": {
                "index": {"type": "integer"},
                "drama": {"type": "number", "minimum": 1, "maximum": 10},
            },
        }}},
    })
}

fn messages() -> [Message; 2] {
    let lines = TEXTS
        .iter()
        .zip(1..)
        .map(|(text, index)| json!({"index": index, "text": text}));
    let content = lines
        .map(|line| line.to_string())
        .collect::<Vec<_>>()
        .join("\n");
    [
        Message {
            role: Role::System,
            content: "Score the posts.".to_owned(),
        },
        Message {
            role: Role::User,
            content,
        },
    ]
}

fn scores<'a>(messages: &'a [Message], schema: &'a Value) -> ChatRequest<'a> {
    ChatRequest {
        model: "gpt-4o-mini",
        messages,
        format: Some(AnswerFormat {
            name: "scores",
            schema,
        }),
        max_output_tokens: Some(1000),
        temperature: Some(0.3),
        seed: Some(1),
        ..ChatRequest::default()
    }
}

async fn chat(client: &Client, schema: &Value) -> Result<Response<Vec<ChatCompletion>>, Error> {
    client.chat(&scores(&messages(), schema)).await
}

fn posts(answer: &Response<Vec<ChatCompletion>>) -> Vec<(i64, f64)> {
    let [ChatCompletion::Content(content)] = &answer.value[..] else {
        panic!("{:?}", answer.value)
    };
    let content: Value = serde_json::from_str(content).unwrap();
    let posts = content["posts"].as_array().unwrap();
    posts
        .iter()
        .map(|p| (p["index"].as_i64().unwrap(), p["drama"].as_f64().unwrap()))
        .collect()
}

#[tokio::test]
async fn base64_and_numbers_give_the_same_vectors() {
    let (simulator, client) = simulator(Faults::default()).await;
    let base64 = embed(&client, &TEXTS).await.unwrap();
    let floats = client_with(&simulator, |settings| {
        settings.vectors = VectorEncoding::Float;
    });
    let floats = embed(&floats, &TEXTS).await.unwrap();
    assert_eq!(base64.value, floats.value);
    assert_eq!(base64.value.vectors.len(), 3);
    assert_eq!(base64.model, "text-embedding-3-small-simulated");
    assert_eq!(base64.usage.unwrap().input_tokens, TOKENS);
    assert_eq!(base64.request_id.as_deref(), Some("req_simulated_0"));
    let stats = simulator.stats();
    assert_eq!(
        (stats.requests, stats.answered, stats.input_tokens),
        (2, 2, 2 * TOKENS)
    );
    assert!(TEXTS.iter().all(|text| stats.embedded_times(text) == 2));
}

#[tokio::test]
async fn the_largest_batch_returns_in_order() {
    let (_simulator, client) = simulator(Faults::default()).await;
    let texts: Vec<String> = (0..2048).map(|n| format!("post number {n}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let answer = embed(&client, &texts).await.unwrap();
    assert_eq!(answer.value.vectors.len(), 2048);
    let last = embed(&client, &texts[2047..]).await.unwrap();
    assert_eq!(answer.value.vectors[2047], last.value.vectors[0]);
    let above = [texts.as_slice(), &["one more"]].concat();
    let error = embed(&client, &above).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::TooLarge { limit: None });
}

/// How the client classifies a fault of both endpoints.
fn shared_kind(fault: Fault, retry_after: Duration) -> ErrorKind {
    let busy = ErrorKind::Overloaded {
        cause: Overload::Busy,
        retry_after: None,
    };
    match fault {
        Fault::RateLimit => ErrorKind::Overloaded {
            cause: Overload::RateLimit,
            retry_after: Some(retry_after),
        },
        Fault::Overloaded | Fault::ServerError => busy,
        Fault::Quota => ErrorKind::Refused(RefusalCause::Quota),
        Fault::BadKey => ErrorKind::Refused(RefusalCause::Key),
        Fault::Drop => ErrorKind::Overloaded {
            cause: Overload::Connection,
            retry_after: None,
        },
        Fault::TruncatedJson => ErrorKind::Broken(Breakage::Truncated),
        Fault::NotJson => ErrorKind::Broken(Breakage::NotJson),
        other => panic!("{other:?} happens at one endpoint only, or is harmless"),
    }
}

const SHARED: [Fault; 8] = [
    Fault::RateLimit,
    Fault::Overloaded,
    Fault::ServerError,
    Fault::Quota,
    Fault::BadKey,
    Fault::Drop,
    Fault::TruncatedJson,
    Fault::NotJson,
];

#[tokio::test]
async fn faults_of_both_endpoints_are_classified() {
    let (simulator, client) = simulator(Faults::default()).await;
    for fault in SHARED {
        let faults = Faults {
            retry_after_ms: 350,
            ..Faults::only(fault, 1.0)
        };
        simulator
            .change(ConfigChange {
                faults: Some(faults),
                ..ConfigChange::default()
            })
            .unwrap();
        let expected = shared_kind(fault, Duration::from_millis(350));
        let errors = [
            embed(&client, &TEXTS).await.unwrap_err(),
            chat(&client, &schema()).await.unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), &expected, "{fault:?}");
            assert!(error.request_id().is_some(), "{fault:?}");
            let text = format!("{error} {error:?}");
            assert!(!text.contains(KEY) && !text.contains("sk-"), "{text}");
        }
        assert_eq!(simulator.stats().faults[&fault], 2);
    }
}

#[tokio::test]
async fn faults_of_vectors_are_classified() {
    let (simulator, client) = simulator(Faults::default()).await;
    let sound = embed(&client, &TEXTS).await.unwrap().value;
    for (fault, expected) in [
        (
            Fault::FewerVectors,
            Some(Breakage::Count {
                expected: 3,
                found: 2,
            }),
        ),
        (
            Fault::WrongDimensions,
            Some(Breakage::Dimensions {
                index: 2,
                expected: 64,
                found: 63,
            }),
        ),
        (Fault::Nan, Some(Breakage::NotFinite(0))),
        (Fault::Shuffled, None),
    ] {
        let faults = Some(Faults::only(fault, 1.0));
        simulator
            .change(ConfigChange {
                faults,
                ..ConfigChange::default()
            })
            .unwrap();
        for vectors in [VectorEncoding::Base64, VectorEncoding::Float] {
            let client = client_with(&simulator, |settings| settings.vectors = vectors);
            match (embed(&client, &TEXTS).await, &expected) {
                (Ok(answer), None) => assert_eq!(answer.value, sound),
                (Err(error), Some(breakage)) => {
                    assert_eq!(error.kind(), &ErrorKind::Broken(breakage.clone()));
                    assert_eq!(error.usage().unwrap().input_tokens, TOKENS);
                    assert!(error.is_retryable());
                }
                (other, _) => panic!("{fault:?} {vectors:?}: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn faults_of_scores_reach_the_reader() {
    let (simulator, client) = simulator(Faults::default()).await;
    let schema = schema();
    let sound = posts(&chat(&client, &schema).await.unwrap());
    assert_eq!(
        sound.iter().map(|post| post.0).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    let mut answers = BTreeMap::new();
    for fault in Fault::ALL {
        let faults = Some(Faults::only(fault, 1.0));
        simulator
            .change(ConfigChange {
                faults,
                ..ConfigChange::default()
            })
            .unwrap();
        if fault != Fault::Slow
            && let Ok(answer) = chat(&client, &schema).await
        {
            answers.insert(fault, answer);
        }
    }
    assert_eq!(posts(&answers[&Fault::MissingItem]), sound[..2]);
    assert_eq!(posts(&answers[&Fault::RepeatedItem])[3], sound[0]);
    assert_eq!(posts(&answers[&Fault::ExtraItem])[3].0, 4);
    assert!(posts(&answers[&Fault::OutOfRange])[0].1 > 10.0);
    assert!(matches!(
        answers[&Fault::Refusal].value[..],
        [ChatCompletion::Refusal(_)]
    ));
    assert!(matches!(
        answers[&Fault::Length].value[..],
        [ChatCompletion::Length(_)]
    ));
    assert_eq!(
        answers[&Fault::ContentFilter].value,
        [ChatCompletion::ContentFilter]
    );
    // Faults of vectors do not change scores.
    assert_eq!(posts(&answers[&Fault::Nan]), sound);
}

#[tokio::test]
async fn a_chat_is_billed_as_the_client_counts_it() {
    let (simulator, client) = simulator(Faults::default()).await;
    let (messages, schema) = (messages(), schema());
    let request = scores(&messages, &schema);
    let tokenizer = client.model(request.model).tokenizer();
    let schema_tokens = tokenizer.count(&schema.to_string());
    let counted = input_tokens(&messages, schema_tokens, tokenizer) as u64;
    let usage = client.chat(&request).await.unwrap().usage.unwrap();
    assert_eq!(usage.input_tokens, counted);
    let stats = simulator.stats();
    assert_eq!(
        (stats.input_tokens, stats.output_tokens),
        (counted, usage.output_tokens)
    );
    assert!(TEXTS.iter().all(|text| stats.scored_times(text) == 1));
}

#[tokio::test]
async fn a_late_response_is_a_timeout_and_is_billed() {
    let faults = Faults {
        slow_ms: 5_000,
        ..Faults::only(Fault::Slow, 1.0)
    };
    let (simulator, _) = simulator(faults).await;
    let mut settings = ClientConfig::new(KEY.into());
    settings.base_url = simulator.base_url();
    let deadlines = Deadlines {
        total: Duration::from_millis(300),
        ..Deadlines::default()
    };
    let client = Client::new(http_client(&deadlines).unwrap(), settings).unwrap();
    let error = embed(&client, &TEXTS).await.unwrap_err();
    let expected = ErrorKind::Overloaded {
        cause: Overload::Timeout,
        retry_after: None,
    };
    assert_eq!((error.kind(), error.status()), (&expected, None));
    // The request of a client that hangs up is billed too, though not at once.
    for _ in 0..200 {
        if simulator.stats().answered == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert_eq!(simulator.stats().embedded_times(TEXTS[0]), 1);
}

#[tokio::test]
async fn one_poisoned_text_fails_its_whole_request() {
    let faults = Faults {
        poison: Some("☠".to_owned()),
        ..Faults::default()
    };
    let (simulator, client) = simulator(faults).await;
    let error = embed(&client, &["fine", "not ☠ fine"]).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.status()),
        (&ErrorKind::BadInput, Some(400))
    );
    assert_eq!(simulator.stats().embedded_times("fine"), 0);
    assert!(embed(&client, &["fine"]).await.is_ok());
}

#[tokio::test]
async fn limits_are_enforced_and_reported() {
    let limits = SimulatedLimits {
        requests_per_minute: Some(600),
        tokens_per_minute: Some(1_000),
        burst_seconds: 60.0,
        ..SimulatedLimits::default()
    };
    let simulator = start(Config {
        limits,
        ..Config::default()
    })
    .await
    .unwrap();
    let client = client_with(&simulator, |_| {});
    let answer = embed(&client, &[&" a".repeat(990)]).await.unwrap();
    assert_eq!(answer.rate.limit_requests, Some(600));
    assert_eq!(answer.rate.remaining_requests, Some(599));
    assert_eq!(answer.rate.limit_tokens, Some(1_000));
    assert!(
        (10..20).contains(&answer.rate.remaining_tokens.unwrap()),
        "{:?}",
        answer.rate
    );
    assert!(answer.rate.reset_tokens.unwrap() > Duration::from_secs(50));
    let error = embed(&client, &[&" a".repeat(100)]).await.unwrap_err();
    assert!(error.is_rate_limited());
    let wait = error.retry_after().unwrap();
    assert!(
        wait > Duration::from_secs(3) && wait < Duration::from_secs(6),
        "{wait:?}"
    );
    assert_eq!(error.rate().limit_tokens, Some(1_000));
    let error = embed(&client, &[&" a".repeat(1_001)]).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::AboveLimit { limit: Some(1_000) });
}

#[tokio::test]
async fn requests_that_cannot_succeed_are_refused() {
    let config = Config {
        key: Some("sk-the-right-one".into()),
        ..Config::default()
    };
    let simulator = start(config).await.unwrap();
    let wrong = client_with(&simulator, |_| {});
    let error = embed(&wrong, &TEXTS).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Refused(RefusalCause::Key));
    let keyless = client_with(&simulator, |settings| settings.key = "".into());
    let error = embed(&keyless, &TEXTS).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Refused(RefusalCause::Key));

    let right = |settings: &mut ClientConfig| settings.key = "sk-the-right-one".into();
    let client = client_with(&simulator, right);
    let request = EmbeddingRequest {
        model: "gpt-4o",
        inputs: &TEXTS,
        dimensions: None,
    };
    let error = client.embed(&request).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Refused(RefusalCause::Settings));
    assert_eq!(error.code(), Some("model_not_found"));
    let lax = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    let error = chat(&client, &lax).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Refused(RefusalCause::Settings));
    let elsewhere = client_with(&simulator, |settings| {
        right(settings);
        settings.base_url = settings.base_url.replace("/v1", "/v2");
    });
    let error = embed(&elsewhere, &TEXTS).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Refused(RefusalCause::Settings));
    assert_eq!(simulator.stats().answered, 0);
}

#[tokio::test]
async fn a_stopped_server_is_an_overload() {
    let (simulator, client) = simulator(Faults::default()).await;
    simulator.shutdown().await;
    let error = embed(&client, &TEXTS).await.unwrap_err();
    let gone = ErrorKind::Overloaded {
        cause: Overload::Unreachable,
        retry_after: None,
    };
    assert_eq!(error.kind(), &gone);
    assert!(
        error
            .to_string()
            .starts_with("the provider cannot be reached: 127.0.0.1: Connection refused")
    );
}

#[tokio::test]
async fn it_is_controlled_and_read_over_http() {
    let (simulator, client) = simulator(Faults::default()).await;
    let root = simulator.base_url().replace("/v1", "");
    let http = http_client(&Deadlines::default()).unwrap();
    let put = |body: &'static str| {
        http.put(format!("{root}/simulate/faults"))
            .body(body)
            .send()
    };
    assert_eq!(
        put(r#"{"faults":{"quota":1}}"#).await.unwrap().status(),
        204
    );
    assert!(embed(&client, &TEXTS).await.is_err());
    let wrong = put(r#"{"faults":{"qouta":1}}"#).await.unwrap();
    assert_eq!(wrong.status(), 400);
    assert!(wrong.text().await.unwrap().contains("qouta"));

    let stats = http
        .get(format!("{root}/simulate/stats"))
        .send()
        .await
        .unwrap();
    let stats: Stats = serde_json::from_slice(&stats.bytes().await.unwrap()).unwrap();
    assert_eq!(stats, simulator.stats());
    assert_eq!(stats.faults, BTreeMap::from([(Fault::Quota, 1)]));

    let reset = http
        .post(format!("{root}/simulate/reset"))
        .send()
        .await
        .unwrap();
    assert_eq!(reset.status(), 204);
    assert_eq!(simulator.stats(), Stats::default());
    let models = http.get(format!("{root}/v1/models")).bearer_auth("any");
    let models = models.send().await.unwrap();
    let models: Value = serde_json::from_slice(&models.bytes().await.unwrap()).unwrap();
    assert_eq!(models["data"][0]["id"], "text-embedding-3-small");
}

#[tokio::test]
async fn an_invalid_configuration_is_refused() {
    let faults = Faults::only(Fault::Drop, 2.0);
    let error = start(Config {
        faults,
        ..Config::default()
    })
    .await
    .unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    let simulator = start(Config::default()).await.unwrap();
    let port = simulator
        .base_url()
        .rsplit([':', '/'])
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    let error = start(Config {
        port,
        ..Config::default()
    })
    .await
    .unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
}
