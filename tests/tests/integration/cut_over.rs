//! The cut-over of a recompute, called from outside: what it does about changes after the staging, and which checks it
//! skips if many rows are new.

use std::time::Duration;

use serde_json::{Value, json};
use sluice_tests::{OwnStack, Program, Stack};

use uuid::Uuid;

use crate::support::scores::{add_posts, add_scores, add_weights, id_of};
use crate::support::settled;

const JOB: &str = "00000000-0000-4000-b000-000000000001";
const WORKER: &str = "00000000-0000-4000-b000-000000000002";

/// Stages a job completely, in chunks of this many posts.
async fn staged(stack: &Stack, config: Uuid, chunk: u32) {
    stack
        .sql(&format!(
            "insert into background_jobs (id, type, status, worker)
               values ('{JOB}', 'recompute_final_scores', 'running', '{WORKER}')"
        ))
        .await;
    let mut after = "null".to_owned();
    loop {
        let stage = format!(
            "select stage_post_scores('{JOB}', '{WORKER}', '{config}', {after}, {chunk}) as staged"
        );
        let row = stack.rows(&stage).await.remove(0);
        match row.pointer("/staged/next_after") {
            Some(Value::String(next)) => after = format!("'{next}'"),
            _ => return,
        }
    }
}

/// Cuts over. Returns how many scores it applied.
async fn completed(stack: &Stack) -> i64 {
    let complete = format!(
        "select (complete_recompute_job('{JOB}', '{WORKER}', false) ->> 'applied')::integer as applied"
    );
    stack.count(&complete).await
}

/// How many posts have the right score under these weights, on the basis that the job froze.
async fn right(stack: &Stack, config: Uuid) -> i64 {
    stack
        .count(&format!(
            "select count(*) from llm_scores s join post_scores ps using (post_id), frozen
             where ps.weight_config_id = '{config}'
               and abs(ps.final_score - compute_final_score_runtime(s.scores, s.categories, b -> 'weights',
                 b -> 'novelty', b -> 'frequencies', (b ->> 'total_scored')::integer)) < 1e-9"
        ))
        .await
}

/// Only posts 10, 20, …, 400 are scored and staged, so there are posts before, between and after them.
#[tokio::test]
async fn every_change_after_the_staging_is_in_the_ranking() {
    let changes = [
        ("nothing", "select 1"),
        (
            "the last post of a chunk",
            "update llm_scores set scores = '{\"drama\": 2}' where post_id = post(70)",
        ),
        (
            "the first post of a chunk",
            "update llm_scores set scores = '{\"drama\": 2}' where post_id = post(80)",
        ),
        (
            "categories",
            "update llm_scores set categories = '{owls}' where post_id = post(150)",
        ),
        ("a post is gone", "delete from posts where id = post(200)"),
        (
            "the last post of a chunk is gone",
            "delete from posts where id = post(140)",
        ),
        (
            "the last post of all is gone",
            "delete from posts where id = post(400)",
        ),
        (
            "a chunk is gone",
            "delete from posts where id between post(80) and post(140)",
        ),
        ("all posts are gone", "delete from posts"),
        (
            "one gone and one new",
            "delete from posts where id = post(100); call score_post(101)",
        ),
        ("one scored before the first", "call score_post(5)"),
        ("one scored within a chunk", "call score_post(95)"),
        ("one scored between two chunks", "call score_post(75)"),
        ("one scored after the last", "call score_post(500)"),
    ];
    let stack = Stack::fresh().await;
    stack
        .sql(
            "create function post(i integer) returns uuid immutable language sql as $$
               select ('00000000-0000-4000-9000-' || lpad(i::text, 12, '0'))::uuid $$;
             create procedure score_post(i integer) language sql as $$
               insert into llm_scores (post_id, scores, categories)
                 values (post(i), jsonb_build_object('drama', i % 10), '{noise}') $$",
        )
        .await;
    for (what, change) in changes {
        stack
            .sql("truncate posts, llm_scores, post_scores, background_jobs, post_score_chunks cascade")
            .await;
        add_posts(&stack, 500).await;
        stack
            .sql("do $$ begin for i in 1..40 loop call score_post(10 * i); end loop; end $$")
            .await;
        let config = add_weights(&stack, r#"{"drama": 2, "news_value": 1}"#).await;
        staged(&stack, config, 7).await;
        stack
            .sql("create table frozen as select basis as b from background_jobs")
            .await;
        stack.sql(change).await;
        let scored = stack.count("select count(*) from llm_scores").await;
        let applied = completed(&stack).await;
        let rows = format!("select count(*) from post_scores where weight_config_id = '{config}'");
        let found = (
            applied,
            stack.count(&rows).await,
            right(&stack, config).await,
        );
        stack.sql("drop table frozen").await;
        assert_eq!(found, (scored, scored, scored), "{what}");
    }
    stack
        .sql("drop procedure score_post; drop function post")
        .await;
}

/// Another recompute of the same weights wrote a score after this one staged its own.
#[tokio::test]
async fn a_newer_score_of_the_same_weights_is_kept() {
    let stack = Stack::fresh().await;
    add_posts(&stack, 10).await;
    add_scores(&stack, 10).await;
    let config = add_weights(&stack, r#"{"drama": 1}"#).await;
    staged(&stack, config, 100).await;
    stack
        .sql(&format!(
            "insert into post_scores (post_id, weight_config_id, final_score)
               select post_id, '{config}', 9.75 from llm_scores where summary in ('Summary 3', 'Summary 4');
             update post_scores set computed_at = null
               where weight_config_id = '{config}' and post_id in (select post_id from llm_scores where summary = 'Summary 4')"
        ))
        .await;
    assert_eq!(completed(&stack).await, 10);
    let kept = format!(
        "select s.summary from post_scores ps join llm_scores s using (post_id)
         where ps.weight_config_id = '{config}' and ps.final_score = 9.75"
    );
    assert_eq!(stack.rows(&kept).await, [json!({ "summary": "Summary 3" })]);
    let all = format!("select count(*) from post_scores where weight_config_id = '{config}'");
    assert_eq!(stack.count(&all).await, 10);
}

/// The cut-over checks three thousand new rows at once. Later rows are checked one by one again.
#[tokio::test]
async fn many_new_rows_of_a_cut_over_are_checked_at_once_and_later_rows_one_by_one() {
    let stack = Stack::fresh().await;
    add_posts(&stack, 3_000).await;
    add_scores(&stack, 3_000).await;
    let config = add_weights(&stack, r#"{"drama": 1}"#).await;
    staged(&stack, config, 1_000).await;
    // In one transaction: the checks that the cut-over skips must work again after it.
    let orphan = format!(
        "do $$ begin
           perform complete_recompute_job('{JOB}', '{WORKER}', false);
           insert into post_scores (post_id, weight_config_id, final_score) values (gen_random_uuid(), '{config}', 1);
           raise 'an orphan was taken';
         exception when foreign_key_violation then
           null;
         end $$"
    );
    stack.sql(&orphan).await;
    assert_eq!(completed(&stack).await, 3_000);
    let whole = format!(
        "select count(distinct ps.id) from post_scores ps join posts p on p.id = ps.post_id
         where weight_config_id = '{config}'"
    );
    assert_eq!(stack.count(&whole).await, 3_000);
    stack
        .sql("delete from posts where post_id_ext = 'ext1'")
        .await;
    assert_eq!(stack.count(&whole).await, 2_999);
}

#[tokio::test]
async fn trigger_of_an_app_still_runs() {
    let stack = Stack::fresh().await;
    add_posts(&stack, 2_000).await;
    add_scores(&stack, 2_000).await;
    let config = add_weights(&stack, r#"{"drama": 1}"#).await;
    staged(&stack, config, 1_000).await;
    stack
        .sql(
            "create table heard (post_id uuid);
             create function for_a_test() returns trigger language plpgsql security definer as $$
               begin insert into public.heard values (new.post_id); return new; end $$;
             create trigger for_a_test after insert on post_scores for each row execute function for_a_test()",
        )
        .await;
    let applied = completed(&stack).await;
    let heard = stack.count("select count(*) from heard").await;
    stack
        .sql("drop function for_a_test cascade; drop table heard")
        .await;
    assert_eq!((applied, heard), (2_000, 2_000));
}

/// On hosted Supabase the owner of the schema is not a superuser.
#[tokio::test]
async fn owner_that_may_not_skip_checks_checks_row_by_row() {
    let stack = OwnStack::migrated().await;
    stack
        .sql(&format!(
            "insert into neighborhoods (name, slug) values ('Elm', 'elm');
             insert into posts (neighborhood_id, post_id_ext, text, hash)
               select n.id, i::text, 'post ' || i, i::text from neighborhoods n, generate_series(1, 2000) as i;
             insert into llm_scores (post_id, scores) select id, '{{\"drama\": 3}}' from posts;
             insert into background_jobs (id, type, status, worker)
               values ('{JOB}', 'recompute_final_scores', 'running', '{WORKER}');
             create role plain nologin bypassrls;
             grant usage, create on schema public to plain;
             grant all on all tables in schema public to plain;
             alter function apply_chunks(uuid, jsonb) owner to plain;
             grant execute on all functions in schema public to plain"
        ))
        .await;
    stack
        .sql(&format!(
            "select stage_post_scores('{JOB}', '{WORKER}', active_weight_config(), null, 5000);
             select complete_recompute_job('{JOB}', '{WORKER}', false)"
        ))
        .await;
    assert_eq!(stack.count("select count(*) from post_scores").await, 2_000);
}

/// After the kill, either all old scores are there and active, or all new ones.
#[tokio::test]
async fn recompute_killed_at_any_point_leaves_one_complete_set_of_scores() {
    const POSTS: i64 = 30_000;
    let stack = Stack::fresh().await;
    add_posts(&stack, 30_000).await;
    add_scores(&stack, 30_000).await;
    let old = id_of(&stack.rows("select active_weight_config() as id").await);
    let digest = format!(
        "select md5(string_agg(post_id::text || final_score, '' order by post_id)) as digest
         from post_scores where weight_config_id = '{old}'"
    );
    let before = stack.rows(&digest).await;
    let program = Program::on(&stack, "http://127.0.0.1:9/v1");
    let mut unfinished = 0;
    for delay in [20, 60, 120, 200, 300, 450] {
        let new = add_weights(&stack, r#"{"news_value": 1}"#).await;
        let id = new.to_string();
        let mut child = program.spawn(&["recompute", "--weights", &id, "--activate"]);
        tokio::time::sleep(Duration::from_millis(delay)).await;
        child.kill().await.unwrap();
        let look = format!(
            "select (select count(*) from post_scores where weight_config_id = '{new}') as scores,
               active_weight_config() = '{new}' as active"
        );
        let found = settled(&stack, &look).await;
        let (none, all) = (
            json!({ "scores": 0, "active": false }),
            json!({ "scores": POSTS, "active": true }),
        );
        assert!(
            found == [none.clone()] || found == [all],
            "{delay} ms: {found:?}"
        );
        unfinished += u32::from(found == [none]);
        assert_eq!(stack.rows(&digest).await, before, "{delay} ms");
    }
    assert!(
        unfinished >= 3,
        "only {unfinished} of them died before the end"
    );
    let run = program.run(&["recompute"]).await;
    assert_eq!(run.code, Some(0), "{}", run.stderr);
}
