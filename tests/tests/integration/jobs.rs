//! The commands about jobs, and a worker that cron starts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use sluice_tests::{Service, Stack};

use crate::support::scores::KIND;
use crate::support::{slow_down, text_of, until, without_services};
use crate::worker::{insert_job, job, jobs, prepared};

#[tokio::test]
async fn jobs_are_listed_cancelled_and_refused_by_name() {
    let (stack, _simulator, program) = prepared(1).await;
    let zero = [
        "jobs",
        "enqueue",
        "recompute_final_scores",
        "--weights",
        r#"{"drama": 0}"#,
    ];
    assert_eq!(program.run(&zero).await.code, Some(2));
    let no_dimension = ["jobs", "enqueue", "backfill_dimension"];
    assert_eq!(program.run(&no_dimension).await.code, Some(2));
    let unknown = uuid::Uuid::from_u128(7).to_string();
    for command in ["cancel", "retry"] {
        let refused = program.run(&["jobs", command, &unknown]).await;
        assert_eq!(refused.code, Some(2));
        assert!(
            refused.stderr.contains("there is no job 0000"),
            "{}",
            refused.stderr
        );
    }
    let other_type = program
        .run(&["worker", "--once", "--type", "run_scraper"])
        .await;
    assert_eq!(other_type.code, Some(2));
    assert_eq!(
        program.run(&["jobs", "list"]).await.stdout,
        "there are no jobs\n"
    );

    let nil = "00000000-0000-4000-b000-00000000000";
    stack
        .sql(&format!(
            "insert into background_jobs (id, type, status, progress, total, retry_count, max_retries, error_message, created_at)
             values ('{nil}1', 'rescore_all', 'completed', 6, 6, 0, 3, null, '2026-05-01'),
               ('{nil}2', 'embed_posts', 'error', 2, null, 3, 3, 'the quota is used up', '2026-05-02'),
               ('{nil}3', 'run_scraper', 'pending', null, null, null, null, null, '2026-05-03')"
        ))
        .await;
    insta::assert_snapshot!("jobs_list", program.run(&["jobs", "list"]).await.stdout);
    let failed = program.json(&["jobs", "list", "--status", "error"]).await;
    assert_eq!(
        (failed.as_array().unwrap().len(), &failed[0]["type"]),
        (1, &json!("embed_posts"))
    );
    let id = format!("{nil}3");
    assert_eq!(
        program.json(&["jobs", "cancel", &id]).await["status"],
        "cancelled"
    );
    let id = format!("{nil}1");
    assert_eq!(
        program.json(&["jobs", "cancel", &id]).await["status"],
        "completed"
    );
}

#[tokio::test]
async fn worker_takes_only_jobs_of_its_types_and_never_those_of_the_scraper() {
    let (stack, _simulator, program) = prepared(2).await;
    for kind in [
        "fetch_permalink",
        "rescore_all",
        "embed_posts",
        "run_scraper",
    ] {
        insert_job(&stack, kind, &json!({}), 3).await;
    }
    program
        .complete(&["worker", "--once", "--type", "embed_posts"])
        .await;
    let some = [
        job("fetch_permalink", "pending", 0),
        job("rescore_all", "pending", 0),
        job("embed_posts", "completed", 0),
        job("run_scraper", "pending", 0),
    ];
    assert_eq!(jobs(&stack).await, some);
    program.complete(&["worker", "--once"]).await;
    let [scraper, _, embed, other] = some;
    let all = [scraper, job("rescore_all", "completed", 0), embed, other];
    assert_eq!(jobs(&stack).await, all);
}

#[tokio::test]
async fn worker_exits_with_six_if_the_database_is_unreachable() {
    let program = without_services();
    let run = program.run(&["worker", "--once"]).await;
    assert_eq!(run.code, Some(6), "{}", run.stderr);
}

/// What is in flight is billed and still stored. Nothing more is sent.
#[tokio::test]
async fn cancelled_job_sends_nothing_more_after_a_second() {
    let (stack, simulator, program) = prepared(400).await;
    slow_down(&simulator, 100);
    program.complete(&["jobs", "enqueue", "rescore_all"]).await;
    let mut worker = program.spawn(&["worker", "--once"]);
    until("some are scored", async || stack.count(KIND).await > 0).await;
    stack
        .sql("select cancel_job(id, 'a test') from background_jobs")
        .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let asked = simulator.stats().chat_requests;
    assert_eq!(worker.wait().await.unwrap().code(), Some(0));
    assert_eq!(simulator.stats().chat_requests, asked);
    assert!(asked < 80, "it had scored every post before");
    assert_eq!(stack.count("select count(*) from work_items").await, 0);
}

/// A gateway in front of PostgREST that answers 503 to the first call of a function *after* it ran.
async fn answering_late(postgrest_url: &str, function: &'static str) -> Service {
    let (root, client) = (postgrest_url.to_owned(), reqwest::Client::builder());
    let client = client.build().unwrap();
    let ran = Arc::new(AtomicBool::new(false));
    let forward = move |request: axum::extract::Request| {
        let (client, root, ran) = (client.clone(), root.clone(), Arc::clone(&ran));
        async move {
            let (parts, body) = request.into_parts();
            let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
            let mut headers = parts.headers;
            headers.remove("host");
            headers.remove("accept-encoding");
            let url = format!("{root}{}", parts.uri);
            let request = client.request(parts.method, url).headers(headers);
            let response = request.body(body).send().await.unwrap();
            let status = response.status();
            let body = response.bytes().await.unwrap();
            if parts.uri.path().ends_with(function) && !ran.swap(true, Ordering::Relaxed) {
                let page = "<html>upstream connect error</html>";
                return (reqwest::StatusCode::SERVICE_UNAVAILABLE, page.into());
            }
            (status, body)
        }
    };
    Service::start(axum::Router::new().fallback(forward)).await
}

#[tokio::test]
async fn job_is_enqueued_once_if_a_gateway_answers_in_place_of_the_database() {
    let (stack, _simulator, program) = prepared(1).await;
    let count = async |table: &str| stack.count(&format!("select count(*) from {table}")).await;
    let gateway = answering_late(stack.postgrest_url(), "/enqueue_job").await;
    let program = program.with("POSTGREST_URL", gateway.url());
    let job = program.json(&["jobs", "enqueue", "rescore_all"]).await;
    assert_eq!(count("background_jobs").await, 1);
    let listed = program.json(&["jobs", "list"]).await;
    assert_eq!(listed[0]["id"], job["job_id"]);

    let gateway = answering_late(stack.postgrest_url(), "/save_and_recompute").await;
    let program = program.with("POSTGREST_URL", gateway.url());
    let (kind, weights) = ("recompute_final_scores", r#"{"drama": 2}"#);
    let before = count("weight_configs").await;
    let enqueue = ["jobs", "enqueue", kind, "--weights", weights];
    let saved = program.json(&enqueue).await;
    assert_eq!(count("background_jobs").await, 2);
    assert_eq!(count("weight_configs").await, before + 1);
    let config = text_of(&saved, "weight_config_id");
    let query = format!("select count(*) from weight_configs where id = '{config}'");
    assert_eq!(stack.count(&query).await, 1);
}

#[tokio::test]
async fn second_call_with_the_same_id_returns_the_result_of_the_first() {
    let stack = Stack::fresh().await;
    let id = uuid::Uuid::from_u128(7);
    let both = async |call: String| {
        let rows = stack.rows(&format!("select {call} as result")).await;
        let again = stack.rows(&format!("select {call} as result")).await;
        assert_eq!(rows, again, "{call}");
        rows[0]["result"].clone()
    };
    let enqueued = both(format!(
        "enqueue_job('rescore_all', p_job_id => '{id}')::text"
    ))
    .await;
    assert_eq!(enqueued, json!(id.to_string()));
    let id = uuid::Uuid::from_u128(8);
    let saved = both(format!(
        "save_and_recompute('{{\"drama\": 2}}', p_request_id => '{id}')::text"
    ))
    .await;
    assert!(saved.as_str().unwrap().contains(&id.to_string()));
    assert_eq!(stack.count("select count(*) from background_jobs").await, 2);
    // Without an id, each call enqueues a job, also under PostgREST, which finds one function of the name.
    let database = stack.database();
    for _ in 0..2 {
        let call = database
            .client()
            .call("enqueue_job", &json!({ "p_type": "embed_posts" }));
        call.await.unwrap();
    }
    assert_eq!(stack.count("select count(*) from background_jobs").await, 4);
}
