//! Posts to test with, the store and embed flows, and what must be true after them.

use serde_json::{Value, json};
use sluice_runner::db::Database;
use sluice_runner::engine::Stop;
use sluice_runner::flow::store::{StoreOptions, store_text};
use sluice_runner::flow::{self, FlowOptions, Session};
use sluice_runner::provider::{Client, ClientConfig, Deadlines, EmbeddingRequest, http_client};
use sluice_runner::report::{Counts, Outcome, Report, StoreCounts};
use sluice_runner::simulator::{Simulator, Stats};
use sluice_tests::Stack;

/// A line of input for the store flow.
pub(crate) fn line(neighborhood: &str, content: &str) -> String {
    json!({ "author_id": "a", "content": content, "neighborhood": neighborhood }).to_string()
}

/// Distinct texts, as people might write them.
pub(crate) fn texts(count: usize) -> Vec<String> {
    let things = ["gnome", "grey cat", "bicycle", "street light", "raccoon"];
    let things = things.iter().cycle().take(count).enumerate();
    things
        .map(|(number, thing)| format!("Has anybody seen the {thing} near house number {number}?"))
        .collect()
}

/// Inserts posts with these texts without the store flow. Their ids ascend, so a flow claims post 0 first.
pub(crate) async fn seed(stack: &Stack, texts: &[String]) {
    let list = Value::from(texts.to_vec());
    let insert = format!(
        "insert into neighborhoods (name, slug) values ('Elm Park', 'elm-park');
         insert into posts (id, neighborhood_id, post_id_ext, text, hash)
           select ('00000000-0000-4000-8000-' || lpad(to_hex(place - 1), 12, '0'))::uuid,
             n.id, 'p' || place, given.text, 'h' || place
           from neighborhoods n, jsonb_array_elements_text($texts${list}$texts$::jsonb)
             with ordinality as given (text, place);"
    );
    stack.sql(&insert).await;
}

/// The id of a seeded post, in SQL.
pub(crate) fn id(place: usize) -> String {
    format!("00000000-0000-4000-8000-{place:012x}")
}

/// Stores lines of input and returns the report.
pub(crate) async fn store(database: &Database, text: &str) -> Report {
    let options = StoreOptions {
        now: "2026-05-01T12:00:00Z".parse().unwrap(),
        limit: None,
        dry_run: false,
    };
    let outcome = store_text(database, text, options, &Stop::new()).await;
    outcome.report
}

/// Embeds what is due.
pub(crate) async fn embed(session: &Session) -> Outcome {
    embed_with(session, FlowOptions::default()).await
}

/// Embeds what is due, with these options.
pub(crate) async fn embed_with(session: &Session, options: FlowOptions) -> Outcome {
    let run = session.begin(options, Stop::new());
    flow::embed(session, &run, false).await.unwrap()
}

/// The line counts of a store run.
pub(crate) fn lines(report: &Report) -> StoreCounts {
    match report.counts {
        Counts::Store(counts) => counts,
        Counts::Rows(_) => panic!("a store report counts lines"),
    }
}

/// How many posts have an embedding of their present text.
pub(crate) async fn embedded(stack: &Stack) -> u64 {
    let current = "select count(*) from post_embeddings e join posts p on p.id = e.post_id
        where e.text_hash = encode(sha256(convert_to(p.text, 'UTF8')), 'hex')
          and not e.stale and e.dimensions = vector_dims(e.embedding)";
    stack.count(current).await.try_into().unwrap()
}

/// The vectors that the provider gives for these texts.
pub(crate) async fn vectors(simulator: &Simulator, texts: &[String]) -> Vec<Vec<f32>> {
    let mut settings = ClientConfig::new("any".into());
    settings.base_url = simulator.base_url();
    let client = Client::new(http_client(&Deadlines::default()).unwrap(), settings).unwrap();
    let inputs: Vec<&str> = texts.iter().map(String::as_str).collect();
    let request = EmbeddingRequest {
        model: "text-embedding-3-small",
        inputs: &inputs,
        dimensions: Some(1_536),
    };
    client.embed(&request).await.unwrap().value.vectors
}

/// The stored vector of a seeded post.
pub(crate) async fn stored_vector(stack: &Stack, place: usize) -> Vec<f32> {
    let query = format!(
        "select embedding::text as vector from post_embeddings where post_id = '{}'",
        id(place)
    );
    let rows = stack.rows(&query).await;
    let vector = rows.first().and_then(|row| row["vector"].as_str());
    serde_json::from_str(vector.unwrap()).unwrap()
}

/// Asserts that every text was billed exactly once.
pub(crate) fn assert_billed_once(stats: &Stats, texts: &[String]) {
    assert_eq!(stats.embedded.len(), texts.len(), "texts billed");
    for text in texts {
        assert_eq!(stats.embedded_times(text), 1, "{text}");
    }
}
