//! A recompute on the schema of a role that is no superuser.

use std::time::Duration;

use sluice_tests::{Native, NativeSession, longest_lock};
use tokio::time::Instant;

use crate::fixture::{
    WORKER, add_scored_posts, claim_in_force, claim_recompute, complete, native, post, stage,
    stage_all,
};

/// The row triggers with which the earlier implementation kept `has_scores`.
const ROW_TRIGGERS: &str = "
create function keep_has_scores() returns trigger language plpgsql as $$
begin
  if tg_op = 'INSERT' then
    update weight_configs set has_scores = true where id = new.weight_config_id;
  else
    update weight_configs set has_scores = exists (
      select from post_scores ps where ps.weight_config_id = old.weight_config_id
    ) where id = old.weight_config_id;
  end if;
  return null;
end
$$;
create trigger trigger_update_has_scores_on_insert after insert on post_scores
  for each row execute function keep_has_scores();
create trigger trigger_update_has_scores_on_delete after delete on post_scores
  for each row execute function keep_has_scores();";

/// How often rows of `weight_configs` were updated so far.
async fn config_updates(admin: &NativeSession) -> i64 {
    let count = "select n_tup_upd from pg_stat_user_tables where relname = 'weight_configs'";
    admin.value(count).await.as_i64().unwrap()
}

#[tokio::test]
async fn earlier_schema_is_recomputed_without_an_update_of_the_config_for_each_score() {
    native!();
    let native = Native::earlier(ROW_TRIGGERS).await;
    let (admin, api) = (native.admin().await, native.api().await);
    admin
        .sql("delete from post_scores; delete from posts")
        .await;
    add_scored_posts(&admin, 50_000).await;
    let before = config_updates(&admin).await;
    let started = Instant::now();
    let (job, config) = claim_recompute(&api, r#"{"drama": 2, "news_value": 1}"#).await;
    stage_all(&api, (&job, &config), 10_000).await.unwrap();
    let seen = "select has_scores from weight_configs where name = 'new'";
    assert_eq!(admin.value(seen).await, false, "scores that are not whole");
    assert_eq!(complete(&api, &job).await.unwrap()["applied"], 50_000);
    assert_eq!(admin.value(seen).await, true);
    println!(
        "50,000 posts on the earlier schema: {:?}",
        started.elapsed()
    );
    api.sql("select pg_stat_force_next_flush()").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let updates = config_updates(&admin).await - before;
    assert!(updates < 20, "{updates} updates of weight_configs");
    admin
        .sql(&format!(
            "delete from weight_configs where id <> '{config}'"
        ))
        .await;
    admin.sql("delete from post_scores").await;
    assert_eq!(admin.value(seen).await, false, "the last score was deleted");
}

#[tokio::test]
async fn writers_of_scores_wait_for_a_moment_and_writers_of_posts_not_at_all() {
    native!();
    let native = Native::migrated().await;
    let (admin, api, watcher) = (
        native.admin().await,
        native.api().await,
        native.admin().await,
    );
    add_scored_posts(&admin, 50_000).await;
    admin
        .sql("select write_final_scores(array(select post_id from llm_scores))")
        .await;
    for weights in ["in force", "new"] {
        let recompute = async {
            let (job, config) = if weights == "new" {
                claim_recompute(&api, r#"{"drama": 2, "news_value": 1}"#).await
            } else {
                let (job, config) = claim_in_force(&api).await.unwrap();
                api.sql(&format!(
                    "update weight_configs set weights = '{{\"drama\": 1}}' where id = '{config}'"
                ))
                .await;
                (job, config)
            };
            stage_all(&api, (&job, &config), 10_000).await.unwrap();
            complete(&api, &job).await.unwrap();
        };
        let ((), longest) = longest_lock(&watcher, recompute).await;
        println!("{weights}: the longest lock was {longest:?}");
        assert!(longest < Duration::from_secs(1), "{weights}: {longest:?}");
    }
}

/// Two weight configs take turns, and readers see one whole set of scores after the other.
#[tokio::test]
async fn very_many_scores_in_force_are_replaced_under_a_second_config() {
    native!();
    let native = Native::migrated().await;
    let (admin, api) = (native.admin().await, native.api().await);
    add_scored_posts(&admin, 100).await;
    admin
        .sql(
            "create or replace function most_posts_in_place() returns integer language sql immutable as 'select 50';
             select write_final_scores(array(select post_id from llm_scores))",
        )
        .await;
    let right = "select count(*) from llm_scores s join post_scores ps using (post_id)
          join weight_configs c on c.id = ps.weight_config_id, score_basis(c.weights) as b
        where c.id = active_weight_config() and c.has_scores and c.is_active
          and abs(ps.final_score - compute_final_score_runtime(s.scores, s.categories, b -> 'weights', b -> 'novelty',
            b -> 'frequencies', (b ->> 'total_scored')::integer)) < 1e-9";
    let mut in_force = Vec::new();
    for round in 1..=4 {
        let change = format!(
            "update weight_configs set weights = '{{\"drama\": {round}, \"news_value\": 1}}', name = 'round {round}'
               where id = active_weight_config();
             delete from llm_scores where post_id = '{}'; delete from posts where id = '{}'",
            post(90 + round),
            post(80 + round)
        );
        admin.sql(&change).await;
        let (job, config) = claim_in_force(&api).await.unwrap();
        stage_all(&api, (&job, &config), 30).await.unwrap();
        let still = admin.value("select active_weight_config()::text").await;
        assert_eq!(
            still,
            config.as_str(),
            "nothing is in force before its cut-over"
        );
        admin
            .sql(&format!(
                "update llm_scores set scores = '{{\"drama\": 7, \"news_value\": 2}}' where post_id = '{}'",
                post(round)
            ))
            .await;
        complete(&api, &job).await.unwrap();
        let left = 100 - 2 * i64::from(round);
        assert_eq!(admin.value(right).await, left, "round {round}");
        let name = "select name from weight_configs where id = active_weight_config()";
        assert_eq!(admin.value(name).await, format!("round {round}"));
        in_force.push(config);
    }
    let [first, second, ..] = in_force.as_slice() else {
        panic!("{in_force:?}")
    };
    assert_eq!(in_force, [first, second, first, second].map(Clone::clone));
    assert_ne!(first, second);
    // Who names the one that rests means the weights in force.
    let (job, _) = claim_in_force(&api).await.unwrap();
    stage_all(&api, (&job, second), 30).await.unwrap();
    let complete = format!("select complete_recompute_job('{job}', '{WORKER}', false)");
    api.value(&complete).await;
    let now = admin.value("select active_weight_config()::text").await;
    assert_eq!(now, second.as_str());
    assert_eq!(admin.value("select count(*) from weight_configs").await, 2);
}

#[tokio::test]
async fn weights_deleted_at_any_moment_end_the_job_and_leave_nothing() {
    native!();
    let native = Native::migrated().await;
    let (admin, api, other) = (
        native.admin().await,
        native.api().await,
        native.admin().await,
    );
    add_scored_posts(&admin, 1_000).await;
    let active = admin.value("select active_weight_config()").await;
    for moment in [
        "before the second chunk",
        "during the last chunk",
        "before the cut-over",
        "during it",
    ] {
        let (job, config) = claim_recompute(&api, r#"{"drama": 2}"#).await;
        let job_of = (job.as_str(), config.as_str());
        let delete = format!("delete from weight_configs where id = '{config}'");
        let refused = match moment {
            "before the second chunk" => {
                let after = stage(&api, job_of, None, 400).await.unwrap();
                other.sql(&delete).await;
                stage(&api, job_of, after.as_deref(), 400)
                    .await
                    .unwrap_err()
            }
            "during the last chunk" => {
                let after = stage(&api, job_of, None, 600).await.unwrap();
                other.sql(&format!("begin; {delete}")).await;
                let waited = stage(&api, job_of, after.as_deref(), 600)
                    .await
                    .unwrap_err();
                assert!(waited.starts_with("55P03"), "{moment}: {waited}");
                other.sql("commit").await;
                stage(&api, job_of, after.as_deref(), 600)
                    .await
                    .unwrap_err()
            }
            "before the cut-over" => {
                stage_all(&api, job_of, 400).await.unwrap();
                other.sql(&delete).await;
                complete(&api, &job).await.unwrap_err()
            }
            _ => {
                stage_all(&api, job_of, 400).await.unwrap();
                other.sql(&format!("begin; {delete}")).await;
                let waited = complete(&api, &job).await.unwrap_err();
                assert!(waited.starts_with("55P03"), "{moment}: {waited}");
                other.sql("commit").await;
                complete(&api, &job).await.unwrap_err()
            }
        };
        assert!(
            refused.starts_with("22023") && refused.contains("there is no weight config"),
            "{moment}: {refused}"
        );
        let rows = admin.value("select count(*) from post_scores").await;
        assert_eq!(rows, 0, "{moment}");
        assert_eq!(admin.value("select active_weight_config()").await, active);
    }
}

/// A post that somebody is deleting is waited for outside the cut-over, and never while writers of scores wait.
#[tokio::test]
async fn a_cut_over_gives_up_at_once_if_a_changed_post_is_locked() {
    native!();
    let native = Native::migrated().await;
    let (admin, api, other) = (
        native.admin().await,
        native.api().await,
        native.admin().await,
    );
    add_scored_posts(&admin, 100).await;
    let (job, config) = claim_recompute(&api, r#"{"drama": 2}"#).await;
    stage_all(&api, (&job, &config), 1_000).await.unwrap();
    let (first, second) = (post(1), post(2));
    admin
        .sql(&format!("update llm_scores set scores = '{{\"drama\": 9}}' where post_id in ('{first}', '{second}')"))
        .await;
    other
        .sql(&format!(
            "begin; select from posts where id = '{first}' for update"
        ))
        .await;
    let started = Instant::now();
    let refused = complete(&api, &job).await.unwrap_err();
    assert!(refused.starts_with("55P03"), "{refused}");
    assert!(
        started.elapsed() < Duration::from_secs(1),
        "{:?}",
        started.elapsed()
    );
    other.sql("rollback").await;
    assert_eq!(complete(&api, &job).await.unwrap()["applied"], 100);
}
