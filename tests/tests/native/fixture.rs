//! Posts, scores and jobs to test with.

use serde_json::Value;
use sluice_tests::NativeSession;

/// The worker that runs the jobs.
pub(crate) const WORKER: &str = "00000000-0000-4000-b000-000000000002";

/// Skips a test unless a native Postgres is wanted.
macro_rules! native {
    () => {
        if !sluice_tests::native_wanted() {
            return;
        }
    };
}
pub(crate) use native;

/// Stores posts number 1 to `count`, all scored, without final scores.
pub(crate) async fn add_scored_posts(admin: &NativeSession, count: u32) {
    admin
        .sql(&format!(
            "insert into neighborhoods (name, slug) values ('Elm', 'elm') on conflict do nothing;
             insert into posts (id, neighborhood_id, post_id_ext, text, hash)
               select ('00000000-0000-4000-9000-' || lpad(i::text, 12, '0'))::uuid, n.id, i::text,
                 'Has anyone lost a grey cat? Number ' || i, i::text
               from neighborhoods n, generate_series(1, {count}) as i where n.slug = 'elm';
             insert into llm_scores (post_id, scores, categories, fingerprint)
               select id, jsonb_build_object('drama', 1 + hash::integer % 10, 'news_value', 1 + hash::integer % 7),
                 array[(array['noise', 'humor', 'crime'])[1 + hash::integer % 3]], 'made'
               from posts;
             select refresh_topic_frequencies();
             analyze posts, llm_scores"
        ))
        .await;
}

/// The id of a post, in SQL.
pub(crate) fn post(number: u32) -> String {
    format!("00000000-0000-4000-9000-{number:012}")
}

/// A job for new weights, claimed by [`WORKER`]: the ids of the job and of the weights.
pub(crate) async fn claim_recompute(api: &NativeSession, weights: &str) -> (String, String) {
    let saved = api
        .value(&format!(
            "select save_and_recompute('{weights}', 'new', true)"
        ))
        .await;
    let (job, config) = (text(&saved, "job_id"), text(&saved, "weight_config_id"));
    api.sql(&format!(
        "select claim_job('{WORKER}', array['recompute_final_scores'], 60, '{job}')"
    ))
    .await;
    (job, config)
}

/// A job for the weights in force, if there are any, claimed by [`WORKER`]: the ids of the job and of the weights.
pub(crate) async fn claim_in_force(api: &NativeSession) -> Option<(String, String)> {
    let in_force = api.value("select active_weight_config()").await;
    let config = in_force.as_str()?.to_owned();
    // Somebody may delete the weights just now.
    let enqueued = api.try_value("select enqueue_job('recompute_final_scores')");
    let job = enqueued.await.ok()?.as_str()?.to_owned();
    api.sql(&format!(
        "select claim_job('{WORKER}', array['recompute_final_scores'], 60, '{job}')"
    ))
    .await;
    Some((job, config))
}

/// Stages the next chunk of a job: the cursor of the one after it.
pub(crate) async fn stage(
    api: &NativeSession,
    job: (&str, &str),
    after: Option<&str>,
    limit: u32,
) -> Result<Option<String>, String> {
    stage_part(api, job, (after, None), limit).await
}

/// As [`stage`], of the posts after one and up to another.
pub(crate) async fn stage_part(
    api: &NativeSession,
    (job, config): (&str, &str),
    (after, until): (Option<&str>, Option<&str>),
    limit: u32,
) -> Result<Option<String>, String> {
    let id = |id: Option<&str>| id.map_or("null".to_owned(), |id| format!("'{id}'"));
    let (after, until) = (id(after), id(until));
    let staged = api
        .try_value(&format!(
            "select stage_post_scores('{job}', '{WORKER}', '{config}', {after}, {limit}, {until})"
        ))
        .await?;
    let next = staged.get("next_after").and_then(Value::as_str);
    Ok(next.map(str::to_owned))
}

/// Stages all scores of a job.
pub(crate) async fn stage_all(
    api: &NativeSession,
    job: (&str, &str),
    limit: u32,
) -> Result<(), String> {
    let mut after = None;
    loop {
        after = stage(api, job, after.as_deref(), limit).await?;
        if after.is_none() {
            return Ok(());
        }
    }
}

/// The cut-over.
pub(crate) async fn complete(api: &NativeSession, job: &str) -> Result<Value, String> {
    api.try_value(&format!(
        "select complete_recompute_job('{job}', '{WORKER}', true)"
    ))
    .await
}

/// A text of an object.
pub(crate) fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap().to_owned()
}
