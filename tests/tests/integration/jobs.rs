//! The commands about jobs, and a worker that cron starts.

use std::time::Duration;

use serde_json::json;
use sluice_tests::Stack;

use crate::support::scores::KIND;
use crate::support::{slow_down, until, without_services};
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
            .rpc_by_name("enqueue_job", &json!({ "p_type": "embed_posts" }));
        call.await.unwrap();
    }
    assert_eq!(stack.count("select count(*) from background_jobs").await, 4);
}
