//! Models, keys and the limits of a day.

use serde_json::{Value, json};

use super::{Answer, Api, CHAT, embedding_lines, line, score};

fn body() -> Value {
    json!({"model": "text-embedding-3-small", "input": "a"})
}

#[tokio::test]
async fn a_model_tells_when_it_ends() {
    let api = Api::with(json!({})).await;
    for (model, end) in [
        ("gpt-6-luna", Value::Null),
        ("text-embedding-3-small", Value::Null),
        ("gpt-4o-mini", json!("2027-01-14")),
        ("gpt-4o-mini-2024-07-18", json!("2027-01-14")),
        ("gpt-5-nano", json!("2026-12-11")),
    ] {
        let found = api.get(&format!("/models/{model}")).await.ok();
        assert_eq!(
            (&found["id"], &found["shutdown_date"]),
            (&json!(model), &end)
        );
    }
    let unknown = api.get("/models/gpt-9").await;
    assert_eq!(
        unknown.error(),
        (404, Some("model_not_found"), Some("model"))
    );
}

#[tokio::test]
async fn a_model_can_be_forbidden_or_have_ended() {
    let models = json!({"forbidden": ["gpt-6-luna"], "today": "2027-01-14"});
    let api = Api::with(json!({"models": models})).await;
    let listed = api.get("/models").await.ok();
    let listed: Vec<&str> = listed["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["id"].as_str().unwrap())
        .collect();
    assert!(listed.contains(&"gpt-5.1") && listed.contains(&"gpt-5.6-luna"));
    for (model, status) in [
        ("gpt-6-luna", 403),
        ("gpt-4o-mini", 404),
        ("gpt-5", 404),
        ("gpt-5.1", 200),
    ] {
        let asked = api.get(&format!("/models/{model}")).await;
        let used = api.post("/chat/completions", &score(model, "a")).await;
        assert_eq!((asked.status, used.status), (status, status), "{model}");
        if status != 200 {
            assert_eq!(used.error().1, Some("model_not_found"));
            assert!(!listed.contains(&model));
        }
    }
    let id = api
        .create(CHAT, &[line("a", CHAT, &score("gpt-6-luna", "a"))])
        .await;
    assert_eq!(api.ended(&id).await["request_counts"]["failed"], 1);
    assert_eq!(api.simulator.ledger().entries.len(), 1);
}

#[tokio::test]
async fn a_key_can_be_refused_for_other_reasons_than_itself() {
    for (fault, code, message) in [
        ("missing_scopes", None, "Missing scopes"),
        ("ip_not_authorized", Some("ip_not_authorized"), "IP address"),
    ] {
        let api = Api::with(json!({"faults": {fault: 1}})).await;
        for answer in [
            api.post("/embeddings", &body()).await,
            api.get("/models/gpt-5").await,
        ] {
            assert_eq!(answer.error(), (401, code, None));
            assert!(
                answer.body["error"]["message"]
                    .as_str()
                    .unwrap()
                    .contains(message)
            );
        }
        assert_eq!(api.simulator.stats().input_tokens, 0);
    }
    let api = Api::with(json!({})).await;
    let url = format!("{}/models", api.simulator.base_url());
    assert_eq!(Answer::read(api.client.get(url)).await.status, 401);
}

#[tokio::test]
async fn a_day_has_limits_of_its_own() {
    for (limits, what) in [
        (
            json!({"requests_per_day": 2}),
            "requests per day (RPD): Limit 2",
        ),
        (
            json!({"tokens_per_day": 2}),
            "tokens per day (TPD): Limit 2, Requested 1",
        ),
    ] {
        let api = Api::with(json!({"limits": limits})).await;
        for _ in 0..2 {
            api.post("/embeddings", &body()).await.ok();
        }
        let request = api.request("POST", "/embeddings").body(body().to_string());
        let response = request.send().await.unwrap();
        let wait: u64 = response.headers()["retry-after"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        assert!((86_000..=86_400).contains(&wait), "{wait}");
        let answer = Answer::whole(response).await.unwrap();
        assert_eq!(answer.error().0, 429);
        let message = answer.body["error"]["message"].as_str().unwrap();
        assert!(message.contains(what), "{message}");
        // A batch has none of these limits.
        let id = api.create("/v1/embeddings", &embedding_lines(&["a"])).await;
        assert_eq!(api.ended(&id).await["request_counts"]["completed"], 1);
    }
}
