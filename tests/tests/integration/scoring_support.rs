//! What the tests of scores share: posts that are there already, rubrics, and questions to the database.

use std::time::Duration;

use secrecy::ExposeSecret;
use serde_json::Value;
use sluice_runner::engine::Stop;
use sluice_runner::flow::{
    FlowOptions, RecomputeOptions, ScoreScope, Session, backfill, recompute, score,
};
use sluice_runner::local::{LocalOptions, Server};
use sluice_runner::report::{Counts, Outcome, RowCounts};
use sluice_runner::simulator::Simulator;
use sluice_tests::{Program, Stack};

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

/// The same rubric with a dimension more.
pub(crate) fn three() -> String {
    format!("{TWO}{KINDNESS}")
}

/// A rubric with this many requests at the provider at once.
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

/// What is stored of every score, by post.
pub(crate) async fn scores(stack: &Stack) -> Vec<Value> {
    stack
        .rows(
            "select post_id, scores, scores::text as bytes, categories, summary, why_podcast_worthy, fingerprint,
               model_version, prompt_version, text_hash, stale
             from llm_scores order by post_id",
        )
        .await
}

/// The counts of a flow over rows.
pub(crate) fn rows(outcome: &Outcome) -> RowCounts {
    match outcome.report.counts {
        Counts::Rows(counts) => counts,
        Counts::Store(_) => panic!("a flow over posts counts rows"),
    }
}

/// Scores what a scope holds.
pub(crate) async fn run_score(session: &Session, scope: ScoreScope) -> Outcome {
    run_score_with(session, scope, FlowOptions::default()).await
}

/// Scores what a scope holds, within bounds.
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

/// Asserts that each text was billed this often.
pub(crate) async fn assert_scored_times(stack: &Stack, simulator: &Simulator, times: u64) {
    let stats = simulator.stats();
    for text in texts(stack).await {
        assert_eq!(stats.scored_times(&text), times, "{text}");
    }
}

/// Gives posts 1 to `count` scores of their own without asking anyone, and their final scores.
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

/// Saves weights that are not in force, and answers their id.
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

/// A text of a row.
pub(crate) fn text_of(row: &Value, column: &str) -> String {
    row.get(column).and_then(Value::as_str).unwrap().to_owned()
}

/// Looks again and again until a condition holds; panics after half a minute.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..1_500 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("waited in vain until {what}");
}

/// An embedded Supabase of a test's own, beside the one that all share: for what must not be done to that.
pub(crate) struct OwnStack {
    server: Server,
}

impl OwnStack {
    /// Starts one with these migrations.
    pub(crate) async fn start(migrations: &'static [(&'static str, &'static str)]) -> Self {
        let options = LocalOptions {
            migrations,
            ..LocalOptions::default()
        };
        Self {
            server: Server::start(&options).await.unwrap(),
        }
    }

    /// Runs SQL statements; answers the rows of the last.
    pub(crate) async fn sql(&self, statements: &str) -> Vec<Value> {
        let client = reqwest::Client::builder().build().unwrap();
        let request = client
            .post(format!("{}/sql", self.server.url()))
            .header("apikey", self.server.secret_key().expose_secret())
            .body(statements.to_owned());
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{text}");
        serde_json::from_str(&text).unwrap()
    }

    /// The one number that a query answers; a number given as a text is read as well.
    pub(crate) async fn count(&self, query: &str) -> i64 {
        let rows = self.sql(query).await;
        let row = rows.first().and_then(Value::as_object).unwrap();
        let value = row.values().next().unwrap();
        value
            .as_i64()
            .or_else(|| value.as_str()?.parse().ok())
            .unwrap()
    }

    /// Where its API is.
    pub(crate) fn rest_url(&self) -> String {
        format!("{}/rest/v1", self.server.url())
    }

    /// The key that everybody may have.
    pub(crate) fn publishable_key(&self) -> &str {
        self.server.publishable_key().expose_secret()
    }

    /// The key that may do everything.
    pub(crate) fn secret_key(&self) -> &str {
        self.server.secret_key().expose_secret()
    }

    /// The program on it, and a provider.
    pub(crate) fn program(&self, openai_url: &str) -> Program {
        Program::bare()
            .with("SUPABASE_URL", self.server.url())
            .with("SUPABASE_SERVICE_KEY", self.secret_key())
            .with("OPENAI_BASE_URL", openai_url)
            .with("OPENAI_API_KEY", "test-key")
    }
}

/// Sends a request to PostgREST with a key, as a script would; answers status and body.
pub(crate) async fn ask(
    method: reqwest::Method,
    url: &str,
    key: &str,
    body: &Value,
) -> (u16, Value) {
    let client = reqwest::Client::builder().build().unwrap();
    let mut request = client.request(method, url).header("apikey", key);
    if !body.is_null() {
        request = request
            .header("content-type", "application/json")
            .body(body.to_string());
    }
    let answer = request.send().await.unwrap();
    let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
    (
        status,
        serde_json::from_str(&text).unwrap_or(Value::String(text)),
    )
}
