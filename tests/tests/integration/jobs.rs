//! The commands about jobs, and what a worker for cron leaves and says.

use std::time::Duration;

use serde_json::json;
use sluice_runner::simulator::{ConfigChange, Latency};
use sluice_tests::Program;

use crate::scoring_support::until;
use crate::worker::{insert_job, job, jobs, prepared, run};

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
    let failed = run(&program, &["jobs", "list", "--status", "error"])
        .await
        .json();
    assert_eq!(
        (failed.as_array().unwrap().len(), &failed[0]["type"]),
        (1, &json!("embed_posts"))
    );
    let id = format!("{nil}3");
    assert_eq!(
        run(&program, &["jobs", "cancel", &id]).await.json()["status"],
        "cancelled"
    );
    let id = format!("{nil}1");
    assert_eq!(
        run(&program, &["jobs", "cancel", &id]).await.json()["status"],
        "completed"
    );
}

#[tokio::test]
async fn a_worker_of_some_types_leaves_the_others_and_any_worker_those_of_the_scraper() {
    let (stack, _simulator, program) = prepared(2).await;
    for kind in [
        "fetch_permalink",
        "rescore_all",
        "embed_posts",
        "run_scraper",
    ] {
        insert_job(&stack, kind, &json!({}), 3).await;
    }
    run(&program, &["worker", "--once", "--type", "embed_posts"]).await;
    let some = [
        job("fetch_permalink", "pending", 0),
        job("rescore_all", "pending", 0),
        job("embed_posts", "completed", 0),
        job("run_scraper", "pending", 0),
    ];
    assert_eq!(jobs(&stack).await, some);
    run(&program, &["worker", "--once"]).await;
    let [scraper, _, embed, other] = some;
    let all = [scraper, job("rescore_all", "completed", 0), embed, other];
    assert_eq!(jobs(&stack).await, all);
}

#[tokio::test]
async fn a_worker_for_cron_says_when_the_database_is_away() {
    let program = Program::bare()
        .with("POSTGREST_URL", "http://127.0.0.1:9")
        .with("SUPABASE_SERVICE_KEY", "k");
    let run = program.run(&["worker", "--once"]).await;
    assert_eq!(run.code, Some(6), "{}", run.stderr);
}

/// What is at the provider is paid for and still stored; nothing more is asked.
#[tokio::test]
async fn a_cancelled_job_asks_for_nothing_more_after_a_second() {
    let (stack, simulator, program) = prepared(400).await;
    let latency = Some(Latency {
        fixed_ms: 100,
        ..Latency::default()
    });
    simulator
        .change(ConfigChange {
            latency,
            ..ConfigChange::default()
        })
        .unwrap();
    run(&program, &["jobs", "enqueue", "rescore_all"]).await;
    let mut worker = program.spawn(&["worker", "--once"]);
    let done = "select count(*) from llm_scores where scores ? 'kindness'";
    until("some are scored", async || stack.count(done).await > 0).await;
    stack
        .sql("select cancel_job(id, 'a test') from background_jobs")
        .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let asked = simulator.stats().chat_requests;
    assert_eq!(worker.wait().await.unwrap().code(), Some(0));
    assert_eq!(simulator.stats().chat_requests, asked);
    assert!(asked < 80, "it had asked about every post before");
    assert_eq!(stack.count("select count(*) from work_items").await, 0);
}
