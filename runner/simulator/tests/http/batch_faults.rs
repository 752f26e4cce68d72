//! Batches in which things go wrong on purpose.

use serde_json::{Value, json};

use super::{Answer, Api, CHAT, EMBEDDINGS, embedding_lines, line, score};

const TEXTS: [&str; 5] = ["a", "b", "c", "d", "e"];

#[tokio::test]
async fn a_batch_can_fail_its_validation_or_expire() {
    let faults = json!({"validation": 1, "expired": 1, "at_most": 2});
    let api = Api::with(json!({"batches": {"faults": faults}})).await;
    let id = api.create(EMBEDDINGS, &embedding_lines(&TEXTS)).await;
    let failed = api.ended(&id).await;
    assert_eq!(
        (&failed["status"], &failed["errors"]["data"][0]["line"]),
        (&json!("failed"), &json!(1))
    );
    // Both faults of that batch are used up.
    let id = api.create(EMBEDDINGS, &embedding_lines(&TEXTS)).await;
    assert_eq!(api.ended(&id).await["status"], "completed");

    api.change(json!({"batches": {"faults": {"expired": 1}}}));
    let before = api.simulator.stats().input_tokens;
    let id = api.create(EMBEDDINGS, &embedding_lines(&TEXTS)).await;
    let expired = api.ended(&id).await;
    assert_eq!(expired["status"], "expired");
    let done = api.lines(&expired, "output_file_id").await;
    let undone = api.lines(&expired, "error_file_id").await;
    assert_eq!((done.len(), undone.len()), (2, 3));
    assert_eq!(api.simulator.stats().input_tokens - before, 2);
    let codes = undone
        .iter()
        .map(|line| (&line["response"], &line["error"]["code"]));
    assert!(
        codes
            .clone()
            .all(|code| code == (&Value::Null, &json!("batch_expired")))
    );
}

#[tokio::test]
async fn lines_fail_by_kind() {
    for (fault, status, code) in [
        ("rate_limit", Some(429), "rate_limit_exceeded"),
        ("quota", Some(429), "insufficient_quota"),
        ("overloaded", None, "server_is_overloaded"),
    ] {
        let api = Api::with(json!({"batches": {"faults": {"lines": {fault: 1}}}})).await;
        let id = api.create(EMBEDDINGS, &embedding_lines(&["a"])).await;
        let batch = api.ended(&id).await;
        assert_eq!(batch["request_counts"]["failed"], 1, "{fault}");
        assert_eq!(batch["output_file_id"], Value::Null);
        let error = &api.lines(&batch, "error_file_id").await[0];
        assert_eq!(error["response"]["status_code"].as_u64(), status);
        let body = if status.is_some() {
            &error["response"]["body"]["error"]
        } else {
            &error["error"]
        };
        assert_eq!(body["code"], code);
        assert_eq!(api.simulator.stats().input_tokens, 0);
        // Requests that are no lines have no such fault.
        let body = json!({"model": "text-embedding-3-small", "input": "a"});
        assert_eq!(api.post("/embeddings", &body).await.status, 200);
    }
    let api = Api::with(json!({"batches": {"faults": {"lines": {"refusal": 1}}}})).await;
    let id = api
        .create(CHAT, &[line("a", CHAT, &score("gpt-4o-mini", "b"))])
        .await;
    let batch = api.ended(&id).await;
    let output = &api.lines(&batch, "output_file_id").await[0];
    assert!(output["response"]["body"]["choices"][0]["message"]["refusal"].is_string());
}

/// What the fault does to one step, and then that the second try finds.
#[tokio::test]
async fn a_lost_response_leaves_the_step_done() {
    let api = Api::with(json!({})).await;
    let lose = |step: &str| {
        api.change(json!({"batches": {"life_ms": 600_000, "faults": {"lost": {step: 1}}}}));
    };
    let broken = async |request: reqwest::RequestBuilder| {
        let response = request.send().await.unwrap();
        assert!(Answer::whole(response).await.is_err());
    };
    lose("upload");
    broken(api.upload_request("batch", &embedding_lines(&["a"])[0].to_string())).await;
    let files = api.get("/files").await.ok();
    let file = files["data"][0]["id"].as_str().unwrap();

    lose("create");
    let body = json!({"input_file_id": file, "endpoint": EMBEDDINGS, "completion_window": "24h",
        "metadata": {"intent": "i-1"}});
    broken(api.request("POST", "/batches").body(body.to_string())).await;
    let batches = api.get("/batches").await.ok();
    assert_eq!(batches["data"][0]["metadata"]["intent"], "i-1");
    let id = batches["data"][0]["id"].as_str().unwrap();

    lose("cancel");
    broken(api.request("POST", &format!("/batches/{id}/cancel"))).await;
    assert_eq!(
        api.get(&format!("/batches/{id}")).await.ok()["status"],
        "cancelling"
    );

    lose("poll");
    broken(api.request("GET", &format!("/batches/{id}"))).await;
    lose("list");
    broken(api.request("GET", "/batches")).await;
    lose("download");
    broken(api.request("GET", &format!("/files/{file}/content"))).await;
    lose("read_files");
    broken(api.request("GET", "/files")).await;
    lose("delete");
    broken(api.request("DELETE", &format!("/files/{file}"))).await;
    assert_eq!(api.get(&format!("/files/{file}")).await.status, 404);
    let stats = api.simulator.stats().batches;
    assert_eq!((stats.lost, stats.created, stats.refused), (8, 1, 1));
}

#[tokio::test]
async fn a_step_that_failed_is_not_done() {
    let faults = json!({"server_error": {"upload": 1, "create": 1}, "at_most": 1});
    let api = Api::with(json!({"batches": {"faults": faults}})).await;
    let upload = || api.upload_request("batch", "{}");
    assert_eq!(Answer::read(upload()).await.error().0, 500);
    assert_eq!(api.get("/files").await.ok()["data"], json!([]));
    // There was one fault, and there is none after it.
    let file = Answer::read(upload()).await.ok();
    let file = file["id"].as_str().unwrap();
    assert_eq!(api.try_create(file, EMBEDDINGS).await.status, 200);

    api.change(json!({"batches": {"faults": {"queue_full": 1}}}));
    let full = api.try_create(file, EMBEDDINGS).await;
    assert_eq!(full.error(), (429, Some("token_limit_exceeded"), None));
    assert_eq!(
        api.get("/batches").await.ok()["data"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}
