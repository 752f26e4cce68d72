//! Rubrics, posts and scores to test with, and the flows that score.

use serde_json::Value;
use sluice_runner::engine::Stop;
use sluice_runner::flow::{
    FlowOptions, RecomputeOptions, ScoreScope, Session, backfill, recompute, score,
};
use sluice_runner::report::Outcome;
use sluice_runner::simulator::{Config, Simulator};
use sluice_tests::{Program, Stack};

use super::text_of;

/// A rubric of two dimensions, one run and five posts a call: small enough to count requests by hand.
pub(crate) const TWO: &str = r#"
[scoring]
runs = 1
[[scoring.dimensions]]
name = "drama"
description = "How much conflict is there between people?"
weight = 2
[[scoring.dimensions]]
name = "news_value"
description = "How much does it concern the whole area?"
weight = 1
"#;

/// The dimension that a change of the rubric adds.
const KINDNESS: &str = r#"
[[scoring.dimensions]]
name = "kindness"
description = "How kind are people to each other here?"
weight = 1
"#;

/// The same rubric with one more dimension.
pub(crate) fn three() -> String {
    format!("{TWO}{KINDNESS}")
}

/// A rubric with this many requests in flight at most.
pub(crate) fn paced(rubric: &str, concurrency: u32) -> String {
    format!("[limits]\nconcurrency = {concurrency}\n{rubric}")
}

/// Stores posts number 1 to `count` of two neighborhoods, each with a text of its own.
pub(crate) async fn add_posts(stack: &Stack, count: u32) {
    stack
        .sql(&format!(
            "insert into neighborhoods (id, name, slug) values
               ('00000000-0000-4000-8000-000000000000', 'Elm Park', 'elm-park'),
               ('00000000-0000-4000-8000-000000000001', 'Harbor', 'harbor')
             on conflict do nothing;
             insert into posts (id, neighborhood_id, post_id_ext, text, hash)
               select ('00000000-0000-4000-9000-' || lpad(i::text, 12, '0'))::uuid,
                 ('00000000-0000-4000-8000-' || lpad((i % 2)::text, 12, '0'))::uuid, 'ext' || i,
                 (array[
                   'Has anyone lost a grey cat? It sits on our porch and will not leave.',
                   'A coyote crossed the road by the school this morning.',
                   'Whoever plays the drums at two in the night: please stop!',
                   'The bakery gives away yesterday''s bread after six.',
                   'My car window was broken last night and the police came.'
                 ])[1 + i % 5] || ' Number ' || i || '.', 'hash' || i
               from generate_series(1, {count}) as i"
        ))
        .await;
}

/// The texts of all posts that are not blank, by their ids.
pub(crate) async fn texts(stack: &Stack) -> Vec<String> {
    let rows = stack
        .rows("select text from posts where not is_blank(text) order by id")
        .await;
    rows.iter().map(|row| text_of(row, "text")).collect()
}

/// Every stored score, by post.
pub(crate) async fn scores(stack: &Stack) -> Vec<Value> {
    stack
        .rows(
            "select post_id, scores, scores::text as bytes, categories, summary, why_podcast_worthy, fingerprint,
               model_version, prompt_version, text_hash, stale
             from llm_scores order by post_id",
        )
        .await
}

/// Scores the posts of a scope.
pub(crate) async fn run_score(session: &Session, scope: ScoreScope) -> Outcome {
    run_score_with(session, scope, FlowOptions::default()).await
}

/// Scores the posts of a scope, with these options.
pub(crate) async fn run_score_with(
    session: &Session,
    scope: ScoreScope,
    options: FlowOptions,
) -> Outcome {
    let run = session.begin(options, Stop::new());
    score(session, &run, scope).await.unwrap()
}

/// Fills one dimension.
pub(crate) async fn run_backfill(session: &Session, dimension: &str) -> Outcome {
    let run = session.begin(FlowOptions::default(), Stop::new());
    backfill(session, &run, dimension).await.unwrap()
}

/// Recomputes the final scores.
pub(crate) async fn run_recompute(session: &Session, options: RecomputeOptions) -> Outcome {
    let run = session.begin(FlowOptions::default(), Stop::new());
    recompute(session, &run, options).await.unwrap()
}

/// A stack with this many posts, scored by the rubric of two dimensions.
pub(crate) async fn scored(posts: u32) -> (Stack, Simulator) {
    let stack = Stack::fresh().await;
    add_posts(&stack, posts).await;
    let simulator = stack.simulator(Config::default()).await;
    run_score(&stack.session(&simulator, TWO), ScoreScope::Missing).await;
    simulator.reset();
    (stack, simulator)
}

/// The program on that stack with this rubric, two requests in flight at most.
pub(crate) fn program(stack: &Stack, simulator: &Simulator, rubric: &str) -> Program {
    Program::on(stack, &simulator.base_url()).configured(&paced(rubric, 2))
}

/// How many posts have a score of the dimension that [`three`] adds.
pub(crate) const KIND: &str = "select count(*) from llm_scores where scores ? 'kindness'";

/// Asserts that each text was billed this often.
pub(crate) async fn assert_scored_times(stack: &Stack, simulator: &Simulator, times: u64) {
    let stats = simulator.stats();
    for text in texts(stack).await {
        assert_eq!(stats.scored_times(&text), times, "{text}");
    }
}

/// Inserts scores and final scores for posts 1 to `count`, without the provider.
pub(crate) async fn add_scores(stack: &Stack, count: u32) {
    stack
        .sql(&format!(
            "insert into llm_scores (post_id, scores, categories, summary, fingerprint, created_at, scored_at)
               select ('00000000-0000-4000-9000-' || lpad(i::text, 12, '0'))::uuid,
                 jsonb_build_object('drama', 1 + i % 10, 'news_value', 1 + i % 7),
                 array[(array['noise', 'humor', 'crime'])[1 + i % 3]], 'Summary ' || i, 'made', now(), now()
               from generate_series(1, {count}) as i;
             select refresh_topic_frequencies();
             select write_final_scores(array(select post_id from llm_scores order by post_id))"
        ))
        .await;
}

/// Saves weights that are not active, and returns their id.
pub(crate) async fn add_weights(stack: &Stack, weights: &str) -> uuid::Uuid {
    let insert = format!("insert into weight_configs (weights, name) values ('{weights}', 'test')");
    stack.sql(&insert).await;
    let query =
        "select id from weight_configs where name = 'test' order by created_at desc limit 1";
    id_of(&stack.rows(query).await)
}

/// The id in the first row.
pub(crate) fn id_of(rows: &[Value]) -> uuid::Uuid {
    text_of(rows.first().unwrap(), "id").parse().unwrap()
}
