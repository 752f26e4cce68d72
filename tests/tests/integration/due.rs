//! What a claim costs if nearly everything is done: index look-ups in a window, never a scan of a table.

use serde_json::Value;
use sluice_runner::engine::Stop;
use sluice_runner::flow::{self, FlowOptions, ScoreScope};
use sluice_runner::simulator::Config;
use sluice_tests::Stack;

use crate::support::posts::embed;
use crate::support::scores::{TWO, add_posts};
use crate::support::{rows, text_of};

/// Posts in the table.
const POSTS: u32 = 20_000;
/// Posts that one claim looks at.
const SCAN: i64 = 5_000;

const WORKER: &str = "'00000000-0000-4000-c000-000000000001'";
/// The rule for posts without an embedding of the default model.
const EMBED_RULE: &str = r#"{"model": "text-embedding-3-small", "dimensions": 1536}"#;

/// Inserts posts. One in a hundred has no embedding and no score.
async fn nearly_done(stack: &Stack) {
    add_posts(stack, POSTS).await;
    // The index skips vectors without a direction, so these zeros save the minutes of building it.
    stack
        .sql(
            "insert into post_embeddings (post_id, embedding, model, dimensions)
               select id, array_fill(0, array[1536])::vector, 'text-embedding-3-small', 1536
               from posts where right(post_id_ext, 2) <> '00';
             insert into llm_scores (post_id, scores, fingerprint)
               select id, '{\"drama\": 3}', 'made' from posts where right(post_id_ext, 2) <> '00';
             update llm_scores set scores = '{}' where post_id in (select id from posts where right(post_id_ext, 2) = '01')",
        )
        .await;
}

/// Runs a claim. Returns how many posts it leased and what it read from each table.
async fn measure(stack: &Stack, call: &str) -> (i64, Vec<Value>) {
    let counters = "select relname, seq_scan, idx_tup_fetch from pg_stat_xact_user_tables
        where relname in ('posts', 'llm_scores', 'post_embeddings')";
    // The session keeps its counters for a while, so only the difference counts.
    stack
        .sql(&format!(
            "create table before as {counters};
             create table claimed as select {call} as answer;
             create table after as {counters}"
        ))
        .await;
    let leased = stack
        .count("select jsonb_array_length(answer -> 'rows') from claimed")
        .await;
    let measured = stack
        .rows(
            "select relname, a.seq_scan - coalesce(b.seq_scan, 0) as seq_scan,
               a.idx_tup_fetch - coalesce(b.idx_tup_fetch, 0) as idx_tup_fetch
             from after a left join before b using (relname) order by relname",
        )
        .await;
    stack.sql("drop table before, claimed, after").await;
    (leased, measured)
}

#[tokio::test]
async fn claim_reads_a_window_by_index_and_scans_no_table() {
    let stack = Stack::fresh().await;
    nearly_done(&stack).await;
    let head = "null, 5000";
    for (kind, window, rule, due) in [
        ("embed", head, EMBED_RULE, 50),
        ("score", head, r#"{"mode": "missing"}"#, 50),
        (
            "score",
            "'00000000-0000-4000-9000-000000005000', 5000",
            r#"{"mode": "stale", "fingerprint": "made"}"#,
            50,
        ),
        ("backfill:drama", head, "{}", 49),
        // A window in which everything is done.
        (
            "backfill:drama",
            "'00000000-0000-4000-9000-000000010001', 50",
            "{}",
            0,
        ),
    ] {
        let call = format!("claim_work('{kind}', {WORKER}, 500, 60, {window}, '{rule}')");
        for statistics in [false, true] {
            stack.sql("delete from work_items").await;
            if statistics {
                stack
                    .sql("analyze posts, llm_scores, post_embeddings, work_items")
                    .await;
            }
            let (leased, tables) = measure(&stack, &call).await;
            assert_eq!(leased, due, "{call}");
            for table in tables {
                let name = text_of(&table, "relname");
                assert_eq!(table["seq_scan"], 0, "{call}: {table}");
                let most = if name == "posts" {
                    3 * SCAN
                } else {
                    SCAN + 1_000
                };
                let fetched = table["idx_tup_fetch"].as_i64().unwrap();
                assert!(fetched <= most, "{call}: {table}");
            }
        }
    }
}

#[tokio::test]
async fn functions_of_the_previous_release_lease_the_same_posts() {
    let stack = Stack::fresh().await;
    nearly_done(&stack).await;
    let answer = async |call: &str| {
        stack.sql("delete from work_items").await;
        let rows = stack.rows(&format!("select {call} as answer")).await;
        rows.first().unwrap()["answer"].clone()
    };
    let score = r#"{"mode": "stale", "fingerprint": "other"}"#;
    for (kind, rule, before, arguments) in [
        (
            "embed",
            EMBED_RULE,
            "embed",
            "'text-embedding-3-small', 1536, false",
        ),
        ("score", score, "score", "'stale', 'other', null"),
        ("backfill:drama", "{}", "backfill", "'drama'"),
    ] {
        let claim = format!("claim_work('{kind}', {WORKER}, 40, 60, null, 5000, '{rule}')");
        let mut claimed = answer(&claim).await;
        assert_eq!(claimed["rows"].as_array().unwrap().len(), 40, "{kind}");
        let copied = claimed.as_object_mut().unwrap().remove("copied").unwrap();
        if kind == "embed" {
            claimed["adopted"] = copied;
        }
        let call = format!("claim_{before}_work({WORKER}, 40, 60, null, 5000, {arguments})");
        assert_eq!(answer(&call).await, claimed, "{call}");
        let peeked = answer(&format!("peek_work('{kind}', null, 5000, '{rule}')")).await;
        let call = format!("peek_{before}_work(null, 5000, {arguments})");
        assert_eq!(answer(&call).await, peeked, "{call}");
        let counted = answer(&format!("count_work('{kind}', null, 5000, '{rule}')")).await;
        assert_eq!(counted["due"], peeked["rows"].as_array().unwrap().len());
    }
}

#[tokio::test]
async fn claim_without_a_rule_leases_nothing() {
    let stack = Stack::fresh().await;
    add_posts(&stack, 3).await;
    for (kind, rule) in [
        ("embed", "{}"),
        (
            "embed",
            r#"{"modle": "text-embedding-3-small", "dimensions": 1536}"#,
        ),
        ("score", r#"{"mode": "some"}"#),
        ("score", r#"{"mode": "stale"}"#),
        ("backfill:", "{}"),
        ("backfil:drama", "{}"),
    ] {
        let claim = format!("select claim_work('{kind}', {WORKER}, 9, 60, null, 9, '{rule}')");
        let refused = stack.refusal(&claim).await;
        assert!(refused.contains("22023"), "{kind} {rule}: {refused}");
    }
    assert_eq!(stack.count("select count(*) from work_items").await, 0);
}

#[tokio::test]
async fn scattered_due_rows_fill_whole_requests() {
    let stack = Stack::fresh().await;
    nearly_done(&stack).await;
    let simulator = stack.simulator(Config::default()).await;
    // Four windows have fifty due posts each. Neither batch size divides fifty.
    let toml = format!("[embedding]\nbatch_size = 30\n{TWO}")
        .replace("runs = 1", "runs = 2\nposts_per_call = 7");
    let session = stack.session(&simulator, &toml);
    let outcome = embed(&session).await;
    assert_eq!(rows(&outcome).written, 200);
    assert_eq!(simulator.stats().embedding_requests, 7);
    let run = session.begin(FlowOptions::default(), Stop::new());
    let outcome = flow::score(&session, &run, ScoreScope::Missing)
        .await
        .unwrap();
    assert_eq!(rows(&outcome).written, 200);
    assert_eq!(simulator.stats().chat_requests, 2 * 29);
}
