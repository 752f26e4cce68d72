//! The optional migrations: posts that are written by anybody are embedded by a worker that runs.

use std::time::Duration;

use serde_json::json;
use sluice_runner::bundled::TRIGGERS;
use sluice_runner::simulator::{self, Config};
use sluice_tests::{OwnStack, signal};

const PENDING: &str = "select count(*) from background_jobs where status = 'pending'";
const JOBS: &str = "select count(*) from background_jobs";
const EMBEDDED: &str = "select count(*) from post_embeddings where not stale";

/// Inserts posts by SQL, one statement each if `apart`.
async fn insert(stack: &OwnStack, from: u32, to: u32) {
    stack
        .sql(&format!(
            "insert into neighborhoods (name, slug) values ('Elm', 'elm') on conflict do nothing;
             insert into posts (neighborhood_id, post_id_ext, text, hash)
               select n.id, i::text, 'Who has seen cat number ' || i || '?', i::text
               from neighborhoods n, generate_series({from}, {to}) as i
               on conflict (neighborhood_id, hash) do nothing"
        ))
        .await;
}

#[tokio::test]
async fn a_thousand_posts_by_sql_are_embedded_by_one_job_of_a_running_worker() {
    let stack = OwnStack::migrated().await;
    // Twice, because it may be applied again.
    stack.sql(TRIGGERS.1).await;
    stack.sql(TRIGGERS.1).await;
    let simulator = simulator::start(Config {
        port: 0,
        ..Config::default()
    })
    .await
    .unwrap();
    let program = stack.program(&simulator.base_url());
    insert(&stack, 1, 900).await;
    insert(&stack, 901, 1_000).await;
    assert_eq!(stack.count(PENDING).await, 1, "one job, not a thousand");

    let worker = program.spawn(&["worker", "--json"]);
    until(&stack, EMBEDDED, 1_000).await;
    until(
        &stack,
        "select count(*) from background_jobs where status = 'completed'",
        1,
    )
    .await;
    assert_eq!(stack.count(JOBS).await, 1);

    // While it runs, nobody calls anything.
    insert(&stack, 1_001, 1_010).await;
    until(&stack, EMBEDDED, 1_010).await;
    // Nothing new, nothing changed: no job.
    insert(&stack, 1, 1_010).await;
    stack
        .sql("update posts set text = text, url = 'https://a.test'")
        .await;
    assert_eq!(stack.count(JOBS).await, 2);
    stack
        .sql("update posts set text = 'changed ' || hash where hash::integer <= 5")
        .await;
    assert_eq!(stack.count(JOBS).await, 3);
    until(&stack, EMBEDDED, 1_010).await;
    assert_eq!(
        stack.count("select count(*) from post_change_marks").await,
        0
    );
    signal(worker.id(), "TERM");
    let run = program.end(worker, Duration::from_secs(10)).await;
    assert_eq!(run.code, Some(130), "{}", run.stderr);
}

async fn until(stack: &OwnStack, query: &str, count: i64) {
    for _ in 0..400 {
        if stack.count(query).await == count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{query} is {} and not {count}", stack.count(query).await);
}

#[tokio::test]
async fn optional_migrations_are_written_if_they_are_asked_for() {
    let program = sluice_tests::Program::bare();
    let folder = program.file("x", "").with_file_name("folder");
    let path = folder.to_str().unwrap();
    program
        .complete(&[
            "schema",
            "migrations",
            path,
            "--with",
            "triggers,cron,realtime,cron",
        ])
        .await;
    let written = std::fs::read_dir(&folder).unwrap().count();
    assert_eq!(written, sluice_runner::bundled::MIGRATIONS.len() + 3);
    let refused = program
        .run(&["schema", "migrations", path, "--with", "magic"])
        .await;
    assert_eq!(json!(refused.code), json!(2));
}
