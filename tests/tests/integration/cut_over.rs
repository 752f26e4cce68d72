//! The cut-over of a recompute, called from outside: what changed since the staging, weights that go away, and the
//! scores of old weights.

use std::time::Duration;

use serde_json::{Value, json};
use sluice_tests::{Program, Stack};
use uuid::Uuid;

use crate::support::scores::{add_posts, add_scores, add_weights, id_of};
use crate::support::settled;

const JOB: &str = "00000000-0000-4000-b000-000000000001";
const WORKER: &str = "00000000-0000-4000-b000-000000000002";

/// A job of this worker's that has staged nothing yet.
async fn begun(stack: &Stack) {
    stack
        .sql(&format!(
            "insert into background_jobs (id, type, status, worker)
               values ('{JOB}', 'recompute_final_scores', 'running', '{WORKER}')"
        ))
        .await;
}

/// A job that is staged to its end, in chunks of so many posts.
async fn staged(stack: &Stack, config: Uuid, chunk: u32) {
    begun(stack).await;
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

/// A score that was written under the weights in force since the staging is newer than what is staged.
#[tokio::test]
async fn newer_score_under_the_weights_in_force_is_kept() {
    let stack = Stack::fresh().await;
    add_posts(&stack, 10).await;
    add_scores(&stack, 10).await;
    let config = id_of(&stack.rows("select active_weight_config() as id").await);
    staged(&stack, config, 100).await;
    stack
        .sql(&format!(
            "update post_scores set final_score = 9.75, computed_at = clock_timestamp()
               where post_id in (select post_id from llm_scores where summary in ('Summary 3', 'Summary 4'));
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

/// The scores of weights that are not in force are checked row by row as they are staged.
#[tokio::test]
async fn staged_scores_are_checked_as_all_others() {
    let stack = Stack::fresh().await;
    add_posts(&stack, 3_000).await;
    add_scores(&stack, 3_000).await;
    let config = add_weights(&stack, r#"{"drama": 1}"#).await;
    staged(&stack, config, 1_000).await;
    let whole = format!(
        "select count(distinct ps.id) from post_scores ps join posts p on p.id = ps.post_id
         where weight_config_id = '{config}'"
    );
    assert_eq!(stack.count(&whole).await, 3_000);
    stack
        .sql("delete from posts where post_id_ext in ('ext1', 'ext2')")
        .await;
    assert_eq!(completed(&stack).await, 2_998);
    assert_eq!(stack.count(&whole).await, 2_998);
    let tricks = "select count(*) from pg_proc where pronamespace = 'public'::regnamespace
        and (prosecdef and proname <> 'applied_migrations'
          or prosrc ~ 'session_replication_role' or prosrc ~ 'lock table posts')";
    assert_eq!(stack.count(tricks).await, 0);
}

#[tokio::test]
async fn deleted_weights_end_the_job_with_an_error_and_nothing_half_done() {
    let stack = Stack::fresh().await;
    add_posts(&stack, 40).await;
    add_scores(&stack, 40).await;
    let active = "select active_weight_config() as id";
    let before = id_of(&stack.rows(active).await);
    let complete = format!("select complete_recompute_job('{JOB}', '{WORKER}', true)");
    for stage in ["between two chunks", "after the last"] {
        stack.sql("delete from background_jobs").await;
        let config = add_weights(&stack, r#"{"drama": 1}"#).await;
        let refused = if stage == "after the last" {
            staged(&stack, config, 7).await;
            let gone = format!("delete from weight_configs where id = '{config}'");
            stack.sql(&gone).await;
            stack.refusal(&complete).await
        } else {
            begun(&stack).await;
            let chunk = |after: &str| {
                format!("select stage_post_scores('{JOB}', '{WORKER}', '{config}', {after}, 7)")
            };
            stack.sql(&chunk("null")).await;
            stack
                .sql(&format!("delete from weight_configs where id = '{config}'"))
                .await;
            stack
                .refusal(&chunk("'00000000-0000-4000-9000-000000000007'"))
                .await
        };
        assert!(
            refused.contains("there is no weight config") && refused.contains("22023"),
            "{stage}: {refused}"
        );
        let rows = format!("select count(*) from post_scores where weight_config_id <> '{before}'");
        assert_eq!(stack.count(&rows).await, 0, "{stage}");
        assert_eq!(id_of(&stack.rows(active).await), before, "{stage}");
    }
    let unknown = Uuid::from_u128(7);
    let refused = stack
        .refusal(&format!("select activate_weight_config('{unknown}')"))
        .await;
    assert!(refused.contains("there is no weight config"), "{refused}");
    assert_eq!(id_of(&stack.rows(active).await), before);
}

#[tokio::test]
async fn two_jobs_never_write_scores_under_the_same_weights() {
    let stack = Stack::fresh().await;
    add_posts(&stack, 20).await;
    add_scores(&stack, 20).await;
    let config = add_weights(&stack, r#"{"drama": 1}"#).await;
    staged(&stack, config, 7).await;
    let other = JOB.replace("0001", "0009");
    stack
        .sql(&format!(
            "update background_jobs set leased_until = now() + interval '1 minute';
             insert into background_jobs (id, type, status, worker)
               values ('{other}', 'recompute_final_scores', 'running', '{WORKER}')"
        ))
        .await;
    let begin = format!("select stage_post_scores('{other}', '{WORKER}', '{config}', null, 100)");
    let refused = stack.refusal(&begin).await;
    assert!(
        refused.contains("is recomputing weight config") && refused.contains("55006"),
        "{refused}"
    );
    assert_eq!(completed(&stack).await, 20);
    stack.sql(&begin).await;
}

#[tokio::test]
async fn scores_of_old_weights_are_listed_and_pruned() {
    let stack = Stack::fresh().await;
    add_posts(&stack, 30).await;
    add_scores(&stack, 30).await;
    let active = id_of(&stack.rows("select active_weight_config() as id").await);
    let mut configs = Vec::new();
    for drama in 1..=4 {
        let config = add_weights(&stack, &format!("{{\"drama\": {drama}}}")).await;
        staged(&stack, config, 100).await;
        completed(&stack).await;
        stack.sql("delete from background_jobs").await;
        configs.push(config);
    }
    let scores = |list: &[Value]| {
        let list = list[0]["list"].as_array().unwrap().clone();
        list.into_iter()
            .map(|row| {
                (
                    id_of(std::slice::from_ref(&row)),
                    row["scores"].as_u64().unwrap(),
                )
            })
            .collect::<std::collections::BTreeMap<_, _>>()
    };
    let list = "select list_weight_configs() as list";
    assert!(
        scores(&stack.rows(list).await)
            .values()
            .all(|scores| *scores == 30)
    );
    let prune = "select prune_weight_scores(1, 40) as pruned";
    let mut rounds = 0;
    loop {
        rounds += 1;
        let row = stack.rows(prune).await.remove(0);
        if row["pruned"]["more"] == false {
            break;
        }
    }
    assert_eq!(rounds, 3, "90 scores, 40 at a time");
    let left = scores(&stack.rows(list).await);
    let kept: Vec<Uuid> = left
        .iter()
        .filter(|(_, scores)| **scores > 0)
        .map(|(id, _)| *id)
        .collect();
    assert_eq!(kept.len(), 2, "{left:?}");
    assert!(
        kept.contains(&active) && kept.contains(&configs[3]),
        "{left:?}"
    );
    let flags = "select count(*) from weight_configs where has_scores";
    assert_eq!(stack.count(flags).await, 2);

    let program = Program::on(&stack, "http://127.0.0.1:9/v1");
    let run = program
        .run(&["weights", "prune", "--keep", "0", "--output", "json"])
        .await;
    assert_eq!(
        run.json(),
        json!({ "deleted": 30, "weight_config_ids": [configs[3]] })
    );
    let listed = program
        .run(&["weights", "list", "--output", "json"])
        .await
        .json();
    let listed = listed.as_array().unwrap();
    assert_eq!(listed.len(), 5);
    let in_force: Vec<&Value> = listed.iter().filter(|row| row["scores"] == 30).collect();
    assert_eq!((in_force.len(), &in_force[0]["active"]), (1, &json!(true)));
    let shown = program.run(&["weights", "list"]).await;
    assert!(shown.stdout.contains("in force"), "{}", shown.stdout);
}

#[tokio::test]
async fn trigger_of_an_app_still_runs() {
    let stack = Stack::fresh().await;
    add_posts(&stack, 2_000).await;
    add_scores(&stack, 2_000).await;
    let config = add_weights(&stack, r#"{"drama": 1}"#).await;
    stack
        .sql(
            "create table heard (post_id uuid);
             create function for_a_test() returns trigger language plpgsql security definer as $$
               begin insert into public.heard values (new.post_id); return new; end $$;
             create trigger for_a_test after insert on post_scores for each row execute function for_a_test()",
        )
        .await;
    staged(&stack, config, 1_000).await;
    let applied = completed(&stack).await;
    let heard = stack.count("select count(*) from heard").await;
    stack
        .sql("drop function for_a_test cascade; drop table heard")
        .await;
    assert_eq!((applied, heard), (2_000, 2_000));
}

/// Whenever its process dies: every old score is there and in force, or every new one is.
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
               active_weight_config() = '{new}' as active, has_scores
             from weight_configs where id = '{new}'"
        );
        let found = settled(&stack, &look).await;
        let all = json!({ "scores": POSTS, "active": true, "has_scores": true });
        // Scores of weights that are not in force are read by nobody, and the weights say that they are not whole.
        let unseen = found[0]["active"] == false && found[0]["has_scores"] == false;
        assert!(unseen || found == [all], "{delay} ms: {found:?}");
        unfinished += u32::from(unseen);
        assert_eq!(stack.rows(&digest).await, before, "{delay} ms");
    }
    assert!(
        unfinished >= 3,
        "only {unfinished} of them died before the end"
    );
    let run = program.run(&["recompute"]).await;
    assert_eq!(run.code, Some(0), "{}", run.stderr);
}
