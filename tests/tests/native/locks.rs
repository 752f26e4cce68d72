//! Locks that other sessions hold: what waits, for how long, and what goes on without.

use std::time::Duration;

use sluice_tests::Native;
use tokio::time::Instant;

use crate::fixture::{add_scored_posts, native, post};

const FIRST: &str = "00000000-0000-4000-c000-000000000001";
const SECOND: &str = "00000000-0000-4000-c000-000000000002";
const STALE: &str = r#"{"mode": "stale", "fingerprint": "other"}"#;

fn claim(worker: &str, limit: u32, lease: u32) -> String {
    format!("select claim_work('score', '{worker}', {limit}, {lease}, null, 5000, '{STALE}')")
}

/// Scores of these posts, to be stored by a worker.
fn store(worker: &str, posts: &[u32], fingerprint: &str) -> String {
    let rows: Vec<String> = posts
        .iter()
        .map(|number| {
            format!(
                r#"{{"post_id": "{}", "scores": {{"drama": 9}}, "fingerprint": "{fingerprint}"}}"#,
                post(*number)
            )
        })
        .collect();
    format!("select store_scores({worker}, '[{}]')", rows.join(","))
}

#[tokio::test]
async fn a_table_lock_is_waited_for_and_told_apart_from_too_much_work() {
    native!();
    let native = Native::migrated().await;
    let (admin, api, other) = (
        native.admin().await,
        native.api().await,
        native.admin().await,
    );
    add_scored_posts(&admin, 20).await;
    other
        .sql("begin; lock table llm_scores in share mode")
        .await;
    let started = Instant::now();
    let refused = api
        .try_value(&store("null", &[1, 2], "other"))
        .await
        .unwrap_err();
    assert!(refused.starts_with("55P03"), "{refused}");
    let waited = started.elapsed();
    assert!((1..4).contains(&waited.as_secs()), "{waited:?}");
    other.sql("rollback").await;
    assert_eq!(api.value(&store("null", &[1, 2], "other")).await, 2);
}

#[tokio::test]
async fn a_claim_leaves_a_locked_post_out_and_says_so() {
    native!();
    let native = Native::migrated().await;
    let (admin, api, other) = (
        native.admin().await,
        native.api().await,
        native.admin().await,
    );
    add_scored_posts(&admin, 20).await;
    let locked = post(7);
    other
        .sql(&format!(
            "begin; update posts set text = 'new' where id = '{locked}'"
        ))
        .await;
    let started = Instant::now();
    let claimed = api.value(&claim(FIRST, 100, 60)).await;
    assert!(
        started.elapsed() < Duration::from_secs(1),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(claimed["rows"].as_array().unwrap().len(), 19);
    assert_eq!(
        (&claimed["locked"], &claimed["leased_elsewhere"]),
        (&1.into(), &1.into())
    );
    // Also if every post that is due is locked.
    let claimed = api.value(&claim(SECOND, 100, 60)).await;
    assert_eq!(claimed["rows"].as_array().unwrap().len(), 0);
    assert_eq!(claimed["locked"], 1);
    other.sql("rollback").await;
    let claimed = api.value(&claim(SECOND, 100, 60)).await;
    assert_eq!(claimed["rows"].as_array().unwrap().len(), 1);
    assert_eq!(claimed["locked"], 0);
}

#[tokio::test]
async fn a_post_that_is_deleted_meanwhile_costs_only_itself() {
    native!();
    let native = Native::migrated().await;
    let (admin, api, other) = (
        native.admin().await,
        native.api().await,
        native.admin().await,
    );
    add_scored_posts(&admin, 20).await;
    let vector = format!("[{}]", vec!["0.1"; 1536].join(","));
    let embed = |posts: [u32; 2]| {
        let rows = posts.map(|number| {
            format!(
                r#"{{"post_id": "{}", "embedding": "{vector}", "model": "m"}}"#,
                post(number)
            )
        });
        format!("select store_embeddings(null, '[{}]')", rows.join(","))
    };
    let fail = |posts: [u32; 2]| {
        let rows =
            posts.map(|number| format!(r#"{{"post_id": "{}", "error": "no"}}"#, post(number)));
        format!(
            "select fail_work('score', '{FIRST}', '[{}]', 3, 1) -> 'retrying'",
            rows.join(",")
        )
    };
    let calls = [
        (1, store("null", &[1, 2], "other")),
        (3, embed([3, 4])),
        (5, fail([5, 6])),
    ];
    for (gone, call) in calls {
        // Deleted while the call runs.
        let id = post(gone);
        other
            .sql(&format!("begin; delete from posts where id = '{id}'"))
            .await;
        let delete = async {
            tokio::time::sleep(Duration::from_millis(400)).await;
            other.sql("commit").await;
        };
        let (written, ()) = tokio::join!(api.value(&call), delete);
        assert_eq!(written, 1, "{call}");
    }
    // Neither deleted nor released for longer than a call waits: the other one is written all the same.
    let id = post(7);
    other
        .sql(&format!("begin; delete from posts where id = '{id}'"))
        .await;
    let started = Instant::now();
    assert_eq!(api.value(&store("null", &[7, 8], "other")).await, 1);
    assert!(
        started.elapsed() < Duration::from_secs(4),
        "{:?}",
        started.elapsed()
    );
    other.sql("rollback").await;
    assert_eq!(api.value(&store("null", &[7, 8], "other")).await, 2);
}

#[tokio::test]
async fn weights_that_are_deleted_meanwhile_cost_no_score() {
    native!();
    let native = Native::migrated().await;
    let (admin, api, other) = (
        native.admin().await,
        native.api().await,
        native.admin().await,
    );
    add_scored_posts(&admin, 20).await;
    other
        .sql("begin; delete from weight_configs where id = active_weight_config()")
        .await;
    let delete = async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        other.sql("commit").await;
    };
    let call = store("null", &[1, 2], "other");
    let (written, ()) = tokio::join!(api.value(&call), delete);
    assert_eq!(written, 2);
    let scored = "select count(*) from llm_scores where fingerprint = 'other'";
    assert_eq!(admin.value(scored).await, 2);
}

/// Somebody deletes two posts, one after the other, while a heartbeat extends both leases in the other order.
#[tokio::test]
async fn a_heartbeat_is_part_of_no_deadlock() {
    native!();
    let native = Native::migrated().await;
    let (admin, api, other) = (
        native.admin().await,
        native.api().await,
        native.admin().await,
    );
    add_scored_posts(&admin, 20).await;
    let (first, second) = (post(6), post(7));
    for call in [
        "extend_work('score', W, I, 60)",
        "release_work('score', W, I)",
        "finish_work('score', W, I)",
    ] {
        admin
            .sql(&format!(
                "insert into work_items (kind, post_id, worker, leased_until)
                   select 'score', id, '{FIRST}', now() + interval '1 minute' from posts
                 on conflict do nothing"
            ))
            .await;
        other
            .sql(&format!("begin; delete from posts where id = '{second}'"))
            .await;
        let ids = format!("array['{first}', '{second}', '{}']::uuid[]", post(8));
        let call = call.replace('W', &format!("'{FIRST}'")).replace('I', &ids);
        let delete = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let delete = format!("delete from posts where id = '{first}'");
            let deleted = other.attempt(&delete).await;
            other.sql("rollback").await;
            deleted
        };
        let counted = format!("select count(*) from {call}");
        let (called, deleted) = tokio::join!(api.try_value(&counted), delete);
        assert!(
            called.is_ok() && deleted.is_ok(),
            "{call}: {called:?} {deleted:?}"
        );
    }
}

/// As the worker of the earlier implementation does it.
#[tokio::test]
async fn a_post_that_is_deleted_while_staged_scores_are_applied_costs_only_itself() {
    native!();
    let native = Native::migrated().await;
    let (admin, api, other) = (
        native.admin().await,
        native.api().await,
        native.admin().await,
    );
    add_scored_posts(&admin, 20).await;
    admin
        .sql(&format!(
            "insert into background_jobs (id, type, status) values ('{FIRST}', 'recompute_final_scores', 'running');
             insert into post_scores_staging (job_id, post_id, weight_config_id, final_score)
               select '{FIRST}', post_id, active_weight_config(), 1 from llm_scores"
        ))
        .await;
    other
        .sql(&format!(
            "begin; delete from posts where id = '{}'",
            post(7)
        ))
        .await;
    let delete = async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        other.sql("commit").await;
    };
    let apply =
        format!("select apply_post_scores_from_staging('{FIRST}', active_weight_config())::text");
    let (applied, ()) = tokio::join!(api.try_value(&apply), delete);
    assert!(applied.is_ok(), "{applied:?}");
    let scores = "select count(*) from post_scores where final_score = 1";
    assert_eq!(admin.value(scores).await, 19);
}

#[tokio::test]
async fn a_late_worker_does_not_overwrite_what_the_next_one_stored() {
    native!();
    let native = Native::migrated().await;
    let (admin, api) = (native.admin().await, native.api().await);
    add_scored_posts(&admin, 1).await;
    let fingerprint = format!(
        "select fingerprint from llm_scores where post_id = '{}'",
        post(1)
    );
    api.value(&claim(FIRST, 1, 1)).await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let claimed = api.value(&claim(SECOND, 1, 60)).await;
    assert_eq!(claimed["rows"].as_array().unwrap().len(), 1);
    // The second one is at the provider: the row is its own by now.
    assert_eq!(
        api.value(&store(&format!("'{FIRST}'"), &[1], "first"))
            .await,
        0
    );
    assert_eq!(
        api.value(&store(&format!("'{SECOND}'"), &[1], "second"))
            .await,
        1
    );
    assert_eq!(
        api.value(&store(&format!("'{FIRST}'"), &[1], "first"))
            .await,
        0
    );
    assert_eq!(admin.value(&fingerprint).await, "second");
    // The same answer again, as after a lost response, changes nothing.
    assert_eq!(
        api.value(&store(&format!("'{SECOND}'"), &[1], "second"))
            .await,
        0
    );
    assert_eq!(admin.value(&fingerprint).await, "second");
    assert_eq!(admin.value("select count(*) from work_items").await, 0);
}

#[tokio::test]
async fn a_changed_text_stays_due_until_it_is_scored_again() {
    native!();
    let native = Native::migrated().await;
    let (admin, api) = (native.admin().await, native.api().await);
    add_scored_posts(&admin, 1).await;
    let id = post(1);
    let stale = "select stale from llm_scores";
    admin
        .sql(&format!(
            "update posts set text = 'other' where id = '{id}'"
        ))
        .await;
    assert_eq!(admin.value(stale).await, true);
    let merge = format!(
        r#"select store_dimension('{FIRST}', 'joy', '[{{"post_id": "{id}", "score": 3}}]')"#
    );
    assert_eq!(api.value(&merge).await, 1);
    assert_eq!(admin.value(stale).await, true);
    let missing = r#"select count_work('score', null, 100, '{"mode": "missing"}') -> 'due'"#;
    assert_eq!(api.value(missing).await, 1);
    // The app scores it again by itself, without a hash.
    admin
        .sql("update llm_scores set scores = '{\"drama\": 2}', summary = 'new'")
        .await;
    assert_eq!(admin.value(stale).await, false);
}

/// Backfills, re-scores and changes of texts over the same posts, in any order.
#[tokio::test]
async fn no_order_of_writes_ends_in_a_deadlock() {
    native!();
    let native = Native::migrated().await;
    let admin = native.admin().await;
    add_scored_posts(&admin, 40).await;
    let until = Instant::now() + Duration::from_secs(5);
    let run = async |seed: u32| {
        let api = native.api().await;
        let mut number = seed;
        let mut failed = Vec::new();
        while Instant::now() < until {
            number = (number * 7 + 3) % 40;
            let posts = [1 + number, 1 + (number + 13) % 40, 1 + (number + 29) % 40];
            let statement = match seed % 3 {
                0 => {
                    let rows =
                        posts.map(|n| format!(r#"{{"post_id": "{}", "score": 3}}"#, post(n)));
                    format!(
                        "select store_dimension('{FIRST}', 'joy', '[{}]')",
                        rows.join(",")
                    )
                }
                1 => store("null", &posts, "other"),
                _ => format!(
                    "update posts set text = text || '.' where id = '{}'; \
                     update posts set text = left(text, 30) where id = '{}'",
                    post(posts[0]),
                    post(posts[1])
                ),
            };
            // One transaction, so the change of two texts holds one lock while it waits for the other.
            if let Err(error) = api.attempt(&statement).await {
                failed.push(error);
                let _ = api.attempt("rollback").await;
            }
        }
        failed
    };
    let failed = tokio::join!(run(0), run(1), run(3), run(4), run(2));
    let failed = [failed.0, failed.1, failed.2, failed.3, failed.4];
    let failed: Vec<String> = failed.into_iter().flatten().collect();
    assert!(
        failed.iter().all(|error| error.starts_with("55P03")),
        "{failed:?}"
    );
    let deadlocks = "select deadlocks from pg_stat_database where datname = current_database()";
    admin.sql("select pg_stat_force_next_flush()").await;
    assert_eq!(admin.value(deadlocks).await, 0);
}
