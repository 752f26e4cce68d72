//! The optional migrations with several sessions.

use sluice_runner::bundled::{CRON, REALTIME, TRIGGERS};
use sluice_tests::Native;

use crate::fixture::native;

const PENDING: &str = "select count(*) from background_jobs where status = 'pending'";

fn add(name: &str) -> String {
    format!(
        "insert into posts (neighborhood_id, post_id_ext, text, hash) select id, '{name}', 'text', '{name}' from neighborhoods"
    )
}

#[tokio::test]
async fn writers_at_once_enqueue_one_job_and_none_of_their_posts_is_missed() {
    native!();
    let native = Native::migrated().await;
    let (admin, one, other) = (native.admin().await, native.api().await, native.api().await);
    native.owner().await.sql(TRIGGERS.1).await;
    admin
        .sql("insert into neighborhoods (name, slug) values ('Elm', 'elm')")
        .await;
    // Both are open at once, and neither waits for the other.
    one.sql(&format!("begin; {}", add("a"))).await;
    other.sql(&format!("begin; {}", add("b"))).await;
    one.sql("commit").await;
    other.sql("commit").await;
    assert_eq!(admin.value(PENDING).await, 1);

    // A third commits only after the worker took that job, so it gets a job of its own.
    one.sql(&format!("begin; {}", add("c"))).await;
    let claim =
        "select claim_job('00000000-0000-4000-b000-000000000002', array['embed_posts'], 60)";
    assert!(!other.value(claim).await.is_null());
    one.sql("commit").await;
    assert_eq!(admin.value(PENDING).await, 1);

    // What is undone enqueues nothing.
    admin
        .sql("update background_jobs set status = 'completed'")
        .await;
    one.sql(&format!("begin; {}; rollback", add("d"))).await;
    assert_eq!(admin.value(PENDING).await, 0);

    // Many sessions, each with its own posts.
    let mut tasks = Vec::new();
    for session in 0..8 {
        let api = native.api().await;
        tasks.push(tokio::spawn(async move {
            for at in 0..25 {
                api.sql(&add(&format!("s{session}-{at}"))).await;
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(admin.value(PENDING).await, 1);
}

#[tokio::test]
async fn cron_enqueues_each_kind_once_and_realtime_announces_jobs() {
    native!();
    let native = Native::migrated().await;
    let (admin, api) = (native.admin().await, native.api().await);
    // pg_cron is not installed here. This has the one function that is called.
    admin
        .sql(
            "create schema cron; create table cron.scheduled (name text primary key, at text, command text);
             create function cron.schedule(text, text, text) returns bigint language sql as $$
               insert into cron.scheduled values ($1, $2, $3) on conflict (name) do update set at = $2, command = $3
                 returning 1 $$",
        )
        .await;
    for _ in 0..2 {
        admin.sql(CRON.1).await;
        admin.sql(REALTIME.1).await;
    }
    let command = admin.value("select command from cron.scheduled").await;
    assert_eq!(command, "select public.enqueue_due_jobs()");
    assert_eq!(api.value("select enqueue_due_jobs()").await, 2);
    assert_eq!(api.value("select enqueue_due_jobs()").await, 0);
    assert_eq!(admin.value(PENDING).await, 2);
    let announced =
        "select tablename::text from pg_publication_tables where pubname = 'supabase_realtime'";
    assert_eq!(admin.value(announced).await, "background_jobs");
}
