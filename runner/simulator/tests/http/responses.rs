//! `/v1/responses`

use serde_json::{Value, json};
use sluice_simulator::Tier;

use super::{Api, line, schema, score};

const RESPONSES: &str = "/v1/responses";

/// The same as [`score`] asks for.
fn request(model: &str, text: &str) -> Value {
    json!({
        "model": model,
        "instructions": "Score.",
        "input": json!({"index": 1, "text": text}).to_string(),
        "reasoning": {"effort": "none"},
        "text": {"format":
            {"type": "json_schema", "name": "scores", "strict": true, "schema": schema()}},
    })
}

/// The text of the last part of the output.
fn text(response: &Value) -> &str {
    let output = response["output"].as_array().unwrap();
    output.last().unwrap()["content"][0]["text"]
        .as_str()
        .unwrap()
}

#[tokio::test]
async fn a_response_says_the_same_as_a_chat_completion_and_costs_the_same() {
    let api = Api::with(json!({})).await;
    let response = api
        .post("/responses", &request("gpt-6-luna", "A fight!"))
        .await
        .ok();
    let mut chat = score("gpt-6-luna", "A fight!");
    chat["reasoning_effort"] = json!("none");
    let chat = api.post("/chat/completions", &chat).await.ok();
    assert_eq!(
        text(&response),
        chat["choices"][0]["message"]["content"].as_str().unwrap()
    );
    assert_eq!(
        (&response["status"], &response["model"]),
        (&json!("completed"), &json!("gpt-6-luna-simulated"))
    );
    let (usage, of_chat) = (&response["usage"], &chat["usage"]);
    assert_eq!(usage["input_tokens"], of_chat["prompt_tokens"]);
    assert_eq!(usage["output_tokens"], of_chat["completion_tokens"]);
    assert_eq!(
        usage["input_tokens_details"],
        of_chat["prompt_tokens_details"]
    );
    let ledger = api.simulator.ledger();
    assert_eq!(ledger.entries.len(), 2);
    assert_eq!(ledger.entries[0].picodollars, ledger.entries[1].picodollars);
    let stats = api.simulator.stats();
    assert_eq!((stats.response_requests, stats.chat_requests), (1, 1));
    assert_eq!(stats.scored_times("A fight!"), 2);
}

#[tokio::test]
async fn reasoning_is_a_part_of_the_output() {
    let api = Api::with(json!({})).await;
    let mut body = request("gpt-6-luna", "A fight!");
    body["reasoning"]["effort"] = json!("low");
    let response = api.post("/responses", &body).await.ok();
    assert_eq!(response["output"][0]["type"], "reasoning");
    assert_eq!(
        response["usage"]["output_tokens_details"]["reasoning_tokens"],
        32
    );
    // No token is left for the message.
    body["max_output_tokens"] = json!(20);
    let response = api.post("/responses", &body).await.ok();
    assert_eq!(response["status"], "incomplete");
    assert_eq!(
        response["incomplete_details"],
        json!({"reason": "max_output_tokens"})
    );
    assert_eq!(
        (
            response["output"].as_array().unwrap().len(),
            &response["usage"]["output_tokens"]
        ),
        (1, &json!(20))
    );
}

#[tokio::test]
async fn a_response_can_be_refused_or_incomplete() {
    let api = Api::with(json!({"faults": {"refusal": 1}})).await;
    let body = request("gpt-6-luna", "A fight!");
    let response = api.post("/responses", &body).await.ok();
    let content = &response["output"][0]["content"][0];
    assert_eq!(
        (&content["type"], &response["status"]),
        (&json!("refusal"), &json!("completed"))
    );
    assert!(content["refusal"].is_string());
    for (fault, reason, parts) in [
        ("length", "max_output_tokens", 1),
        ("content_filter", "content_filter", 0),
    ] {
        api.change(json!({"faults": {fault: 1}}));
        let response = api.post("/responses", &body).await.ok();
        assert_eq!(response["incomplete_details"]["reason"], reason);
        assert_eq!(response["output"].as_array().unwrap().len(), parts);
    }
}

#[tokio::test]
async fn flex_and_batch_are_half_here_too() {
    let api = Api::with(json!({})).await;
    let body = request("gpt-6-luna", "A fight!");
    api.post("/responses", &body).await.ok();
    let mut flex = body.clone();
    flex["service_tier"] = json!("flex");
    assert_eq!(
        api.post("/responses", &flex).await.ok()["service_tier"],
        "flex"
    );
    let id = api.create(RESPONSES, &[line("a", RESPONSES, &body)]).await;
    assert_eq!(api.ended(&id).await["status"], "completed");
    let ledger = api.simulator.ledger();
    let cost = |tier| ledger.picodollars_of("gpt-6-luna", tier);
    assert_eq!(
        (cost(Tier::Flex), cost(Tier::Batch)),
        (cost(Tier::Default) / 2, cost(Tier::Default) / 2)
    );
    assert_eq!(
        api.post("/responses", &score("gpt-6-luna", "a"))
            .await
            .error()
            .1,
        Some("unknown_parameter")
    );
}
