//! Files and batches in which nothing goes wrong on purpose.

use std::time::Duration;

use serde_json::{Value, json};
use sluice_simulator::{BatchStep, Config};

use super::{Answer, Api, CHAT, EMBEDDINGS, embedding_lines, line, score};

#[tokio::test]
async fn a_line_is_answered_like_a_request() {
    let api = Api::start(Config::default()).await;
    let embeddings = embedding_lines(&["a gnome", "a couch", "a cat"]);
    let scores: Vec<Value> = (0..3)
        .map(|n| {
            line(
                &format!("run-{n}"),
                CHAT,
                &score("gpt-4o-mini", &format!("A fight {n}!")),
            )
        })
        .collect();
    for (endpoint, lines) in [(EMBEDDINGS, embeddings), (CHAT, scores)] {
        let id = api.create(endpoint, &lines).await;
        let batch = api.ended(&id).await;
        assert_eq!(batch["status"], "completed");
        let counts = json!({"total": 3, "completed": 3, "failed": 0});
        assert_eq!(batch["request_counts"], counts);
        assert_eq!(batch["error_file_id"], Value::Null);
        let outputs = api.lines(&batch, "output_file_id").await;
        assert_eq!(outputs.len(), 3);
        for line in lines {
            let output = outputs
                .iter()
                .find(|output| output["custom_id"] == line["custom_id"]);
            let response = &output.unwrap()["response"];
            assert_eq!(
                (&response["status_code"], &output.unwrap()["error"]),
                (&json!(200), &Value::Null)
            );
            let path = endpoint.strip_prefix("/v1").unwrap();
            let live = api.post(path, &line["body"]).await.ok();
            for part in ["model", "data", "choices", "usage"] {
                assert_eq!(response["body"][part], live[part], "{part}");
            }
        }
    }
    let stats = api.simulator.stats();
    assert_eq!(
        (stats.batches.created, stats.batches.lines_answered),
        (2, 6)
    );
    assert_eq!((stats.requests, stats.answered), (6, 6));
    assert_eq!(stats.embedded_times("a gnome"), 2);
}

#[tokio::test]
async fn a_batch_goes_through_its_states() {
    let api = Api::with(json!({"batches": {"life_ms": 1000}})).await;
    let id = api
        .create(EMBEDDINGS, &embedding_lines(&["a", "b", "c", "d"]))
        .await;
    let mut seen: Vec<String> = Vec::new();
    let mut counts: Vec<u64> = Vec::new();
    loop {
        let batch = api.get(&format!("/batches/{id}")).await.ok();
        let status = batch["status"].as_str().unwrap().to_owned();
        let has_output = batch["output_file_id"].is_string();
        assert_eq!(has_output, status == "completed");
        counts.push(batch["request_counts"]["completed"].as_u64().unwrap());
        if seen.last() != Some(&status) {
            seen.push(status);
        }
        if has_output {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(
        seen,
        ["validating", "in_progress", "finalizing", "completed"]
    );
    assert!(counts.is_sorted() && counts.contains(&2), "{counts:?}");
}

#[tokio::test]
async fn a_wrong_file_fails_with_the_lines_at_fault() {
    let api = Api::start(Config::default()).await;
    let mut lines = embedding_lines(&["a", "b", "c"]);
    lines[1]["custom_id"] = json!("row-0");
    lines[2]["body"]["model"] = json!("text-embedding-3-large");
    let id = api.create(EMBEDDINGS, &lines).await;
    let batch = api.ended(&id).await;
    assert_eq!(batch["status"], "failed");
    let found = batch["errors"]["data"].as_array().unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|e| (e["code"].as_str().unwrap(), e["line"].as_u64()))
        .collect();
    assert_eq!(
        found,
        [
            ("duplicate_custom_id", Some(2)),
            ("mismatched_model", Some(3))
        ]
    );
    assert!(batch["failed_at"].is_u64() && batch["output_file_id"].is_null());
    assert_eq!(api.simulator.stats().batches.lines_answered, 0);
}

#[tokio::test]
async fn a_line_that_is_refused_leaves_the_others() {
    let api = Api::with(json!({"faults": {"poison": "arsenic"}})).await;
    let mut lines = embedding_lines(&["a", "arsenic", "c"]);
    lines[2]["body"]["dimensions"] = json!(9_999);
    let id = api.create(EMBEDDINGS, &lines).await;
    let batch = api.ended(&id).await;
    let counts = json!({"total": 3, "completed": 1, "failed": 2});
    assert_eq!(
        (&batch["status"], &batch["request_counts"]),
        (&json!("completed"), &counts)
    );
    assert_eq!(api.lines(&batch, "output_file_id").await.len(), 1);
    let mut errors = api.lines(&batch, "error_file_id").await;
    errors.sort_by_key(|line| line["custom_id"].to_string());
    for (error, (id, param)) in errors
        .iter()
        .zip([("row-1", "input"), ("row-2", "dimensions")])
    {
        assert_eq!(
            (&error["custom_id"], &error["response"]["status_code"]),
            (&json!(id), &json!(400))
        );
        assert_eq!(error["response"]["body"]["error"]["param"], param);
    }
    let stats = api.simulator.stats();
    assert_eq!(
        (stats.batches.lines_answered, stats.batches.lines_refused),
        (1, 2)
    );
    assert_eq!((stats.input_tokens, stats.embedded_times("c")), (1, 0));
}

#[tokio::test]
async fn a_cancelled_batch_keeps_what_is_done() {
    let api = Api::with(json!({"batches": {"life_ms": 2000}})).await;
    let texts = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let id = api.create(EMBEDDINGS, &embedding_lines(&texts)).await;
    while api.simulator.stats().batches.lines_answered < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let path = format!("/batches/{id}/cancel");
    assert_eq!(
        api.post(&path, &json!({})).await.ok()["status"],
        "cancelling"
    );
    let batch = api.ended(&id).await;
    assert_eq!(batch["status"], "cancelled");
    let done = api.lines(&batch, "output_file_id").await.len();
    let undone = api.lines(&batch, "error_file_id").await;
    assert!((3..8).contains(&done), "{done}");
    assert_eq!(
        (done + undone.len(), done as u64),
        (8, api.simulator.stats().input_tokens)
    );
    assert!(
        undone
            .iter()
            .all(|line| line["error"]["code"] == "batch_cancelled")
    );
    assert_eq!(api.post(&path, &json!({})).await.error().0, 409);
}

#[tokio::test]
async fn a_batch_is_cancelled_at_once_during_its_validation() {
    let api = Api::with(json!({"batches": {"life_ms": 500_000}})).await;
    let id = api.create(EMBEDDINGS, &embedding_lines(&["a"])).await;
    api.change(json!({"batches": {"life_ms": 0}}));
    api.post(&format!("/batches/{id}/cancel"), &json!({}))
        .await
        .ok();
    let batch = api.get(&format!("/batches/{id}")).await.ok();
    assert_eq!(batch["status"], "cancelling");
    api.simulator.reset();
    assert_eq!(api.get(&format!("/batches/{id}")).await.error().0, 404);
    assert_eq!(api.simulator.stats().input_tokens, 0);
}

#[tokio::test]
async fn batches_are_listed_newest_first_with_their_metadata() {
    let api = Api::start(Config::default()).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.insert(0, api.create(EMBEDDINGS, &embedding_lines(&["a"])).await);
    }
    let first = api.get("/batches?limit=2").await.ok();
    let of = |page: &Value| -> Vec<String> {
        let data = page["data"].as_array().unwrap();
        data.iter()
            .map(|batch| batch["id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        (of(&first), &first["has_more"]),
        (ids[..2].to_vec(), &json!(true))
    );
    let rest = api
        .get(&format!("/batches?limit=2&after={}", ids[1]))
        .await
        .ok();
    assert_eq!(
        (of(&rest), &rest["has_more"]),
        (ids[2..].to_vec(), &json!(false))
    );
    let batch = &rest["data"][0];
    assert_eq!(batch["metadata"]["intent"], batch["input_file_id"]);
    assert_eq!(
        api.get("/batches?limit=101").await.error(),
        (400, None, Some("limit"))
    );
}

#[tokio::test]
async fn files_are_kept_until_they_are_deleted() {
    let api = Api::start(Config::default()).await;
    let text = "{\"ñ\":\"☠\"}\n\n--edg\r\n";
    let file = Answer::read(api.upload_request("batch", text)).await.ok();
    let path = format!("/files/{}", file["id"].as_str().unwrap());
    assert_eq!(
        (&file["bytes"], &file["filename"]),
        (&json!(text.len()), &json!("in.jsonl"))
    );
    assert_eq!(api.get(&path).await.ok(), file);
    let listed = api.get("/files?purpose=batch").await.ok();
    assert_eq!(listed["data"], json!([file]));
    let content = api
        .request("GET", &format!("{path}/content"))
        .send()
        .await
        .unwrap();
    assert_eq!(content.text().await.unwrap(), text);
    assert_eq!(api.delete(&path).await.ok()["deleted"], true);
    for answer in [api.get(&path).await, api.delete(&path).await] {
        assert_eq!(answer.error(), (404, None, Some("id")));
    }
    let other = Answer::read(api.upload_request("vision", text)).await;
    assert_eq!(other.error(), (400, None, Some("purpose")));
    let plain = api.post("/files", &json!({"purpose": "batch"})).await;
    assert_eq!(plain.error(), (400, None, Some("file")));
}

#[tokio::test]
async fn the_limits_of_a_minute_do_not_count_for_lines() {
    let api =
        Api::with(json!({"limits": {"requests_per_minute": 1, "tokens_per_minute": 1}})).await;
    let id = api
        .create(EMBEDDINGS, &embedding_lines(&["a b", "c d", "e f"]))
        .await;
    assert_eq!(api.ended(&id).await["request_counts"]["completed"], 3);
    assert_eq!(api.simulator.stats().rate_limited, 0);
}

#[tokio::test]
async fn the_queue_of_a_model_has_an_end() {
    let api = Api::with(json!({"batches": {"life_ms": 600, "max_enqueued_tokens": 5}})).await;
    let first = api
        .create(EMBEDDINGS, &embedding_lines(&["a", "b", "c"]))
        .await;
    let file = api.upload(&embedding_lines(&["d", "e", "f"])).await;
    let full = api.try_create(&file, EMBEDDINGS).await;
    assert_eq!(full.error(), (429, Some("token_limit_exceeded"), None));
    let other = [line("a", CHAT, &score("gpt-4o-mini", "b"))];
    let too_large = api.upload(&other).await;
    assert_eq!(api.try_create(&too_large, CHAT).await.status, 429);
    api.ended(&first).await;
    assert_eq!(api.try_create(&file, EMBEDDINGS).await.status, 200);
    api.change(json!({"batches": {"life_ms": 600, "max_enqueued_requests": 5}}));
    assert_eq!(api.try_create(&file, EMBEDDINGS).await.status, 429);
    let stats = api.simulator.stats().batches;
    assert_eq!(
        (
            stats.created,
            stats.refused,
            stats.steps[&BatchStep::Create]
        ),
        (2, 3, 5)
    );
}

#[tokio::test]
async fn a_wrong_batch_is_refused() {
    let api = Api::with(json!({"key": "sk-any"})).await;
    let missing = api.try_create("file-0", EMBEDDINGS).await;
    assert_eq!(missing.error(), (404, None, Some("id")));
    let file = api.upload(&embedding_lines(&["a"])).await;
    let wrong = api.try_create(&file, "/v1/images").await;
    assert_eq!(
        wrong.error(),
        (400, Some("invalid_value"), Some("endpoint"))
    );
    let other = api.request("GET", "/batches").bearer_auth("sk-other");
    // The first header counts.
    assert_eq!(Answer::read(other).await.status, 200);
    let url = format!("{}/batches", api.simulator.base_url());
    let keyless = Answer::read(api.client.get(url)).await;
    assert_eq!(keyless.error().0, 401);
}
