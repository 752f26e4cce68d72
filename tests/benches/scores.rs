//! Three thousand posts are scored, scored again under a longer rubric, and backfilled, with the simulator:
//! `cargo bench -p sluice-tests --bench scores -- [POSTS.jsonl]` (without a file, made-up posts).
//!
//! It counts the requests to the provider, compares every stored row with the rubric, and fails at the first error.
//! docs/benchmarks.md has the figures of one machine.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has failed")]
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::collections::BTreeSet;
use std::time::Instant;

use serde_json::Value;
use sluice_runner::engine::Stop;
use sluice_runner::exit::Exit;
use sluice_runner::flow::{self, FlowOptions, Run, ScoreScope, Session};
use sluice_runner::report::{Counts, Outcome};
use sluice_runner::scoring::{Dimension, Rubric};
use sluice_runner::simulator::{Config, Simulator};
use sluice_tests::{Program, Recorder, Stack};

/// How many posts are made up without a file.
const MADE: u32 = 3_000;

#[tokio::main]
async fn main() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(Config::default()).await;
    match std::env::args().skip(1).find(|word| !word.starts_with('-')) {
        Some(file) => store(&stack, &simulator, &file).await,
        None => make(&stack).await,
    }
    let posts = stack
        .count("select count(*) from posts where not is_blank(text)")
        .await;
    let bench = Bench {
        stack,
        simulator,
        posts: u64::try_from(posts).unwrap(),
    };
    println!("{posts} posts");
    bench.score().await;
    bench.rescore().await;
    bench.backfill().await;
}

struct Bench {
    stack: Stack,
    simulator: Simulator,
    posts: u64,
}

impl Bench {
    /// Each post gets exactly the dimensions of the rubric, with as few calls as possible.
    async fn score(&self) {
        let rubric = Rubric::default();
        let session = self.session(&rubric, &self.simulator.base_url());
        let (outcome, seconds) = timed(&session, async |run: &Run| {
            flow::score(&session, run, ScoreScope::Missing)
                .await
                .unwrap()
        })
        .await;
        self.assert_written(&outcome);
        self.assert_asked(&rubric, 2);
        self.assert_dimensions(&rubric).await;
        print("score", &outcome, seconds);
    }

    /// A longer rubric changes each post once.
    async fn rescore(&self) {
        let rubric = with(Rubric::default(), "kindness");
        let session = self.session(&rubric, &self.simulator.base_url());
        self.simulator.reset();
        let (outcome, seconds) = timed(&session, async |run: &Run| {
            flow::score(&session, run, ScoreScope::Stale).await.unwrap()
        })
        .await;
        self.assert_written(&outcome);
        self.assert_asked(&rubric, 2);
        self.assert_dimensions(&rubric).await;
        print("rescore with a dimension more", &outcome, seconds);
    }

    /// A backfill asks only for its dimension and keeps every other byte.
    async fn backfill(&self) {
        const OTHERS: &str = "select md5(string_agg(concat_ws('|', post_id, scores - 'patience', categories, summary,
               why_podcast_worthy, fingerprint, model_version, created_at, scored_at), '' order by post_id)) as digest
             from llm_scores";
        let rubric = with(with(Rubric::default(), "kindness"), "patience");
        let recorder = Recorder::start(self.simulator.base_url().trim_end_matches("/v1")).await;
        let session = self.session(&rubric, &format!("{}/v1", recorder.url()));
        self.simulator.reset();
        let before = self.stack.rows(OTHERS).await;
        let (outcome, seconds) = timed(&session, async |run: &Run| {
            flow::backfill(&session, run, "patience").await.unwrap()
        })
        .await;
        self.assert_written(&outcome);
        self.assert_asked(&rubric, 1);
        self.assert_dimensions(&rubric).await;
        assert_eq!(self.stack.rows(OTHERS).await, before, "another key changed");
        let asked = recorder.seen();
        assert_eq!(asked.len() as u64, self.calls(&rubric, 1));
        for exchange in &asked {
            let item = exchange
                .body
                .pointer("/response_format/json_schema/schema/properties/posts/items/properties");
            let keys: Vec<&String> = item.and_then(Value::as_object).unwrap().keys().collect();
            assert_eq!(keys, ["index", "reason", "patience"]);
        }
        print("backfill of another dimension", &outcome, seconds);
    }

    fn session(&self, rubric: &Rubric, openai_url: &str) -> Session {
        let stack = &self.stack;
        let mut settings = stack.settings(stack.postgrest_url(), openai_url, "");
        settings.rubric = rubric.clone();
        Session::new(settings).unwrap()
    }

    /// Full requests, so many for each batch: one for the run that writes the texts, and one for all others.
    fn calls(&self, rubric: &Rubric, each: u64) -> u64 {
        self.posts.div_ceil(rubric.posts_per_call as u64) * each
    }

    fn assert_written(&self, outcome: &Outcome) {
        assert_eq!(outcome.exit, Exit::Complete, "{:?}", outcome.report);
        match outcome.report.counts {
            Counts::Rows(rows) => {
                assert_eq!((rows.selected, rows.written), (self.posts, self.posts));
            }
            Counts::Store(_) => panic!("a flow over posts counts rows"),
        }
    }

    /// Each post was sent once a run, in full calls except the last.
    fn assert_asked(&self, rubric: &Rubric, each: u64) {
        let stats = self.simulator.stats();
        assert_eq!(stats.chat_requests, self.calls(rubric, each));
        assert_eq!(
            stats.scored.values().sum::<u64>(),
            self.posts * rubric.runs as u64
        );
    }

    async fn assert_dimensions(&self, rubric: &Rubric) {
        let names: BTreeSet<&str> = rubric
            .dimensions
            .iter()
            .map(|dimension| dimension.name.as_str())
            .collect();
        let rows = self.stack.rows("select scores from llm_scores").await;
        assert_eq!(rows.len() as u64, self.posts);
        for row in rows {
            let scores = row.get("scores").and_then(Value::as_object).unwrap();
            let found: BTreeSet<&str> = scores.keys().map(String::as_str).collect();
            assert_eq!(found, names);
            let in_range = |score: &Value| (1.0..=10.0).contains(&score.as_f64().unwrap());
            assert!(scores.values().all(in_range), "{row}");
        }
    }
}

fn print(what: &str, outcome: &Outcome, seconds: f64) {
    let requests = outcome.report.requests;
    println!(
        "{what}: {seconds:.1} s; {} calls of the provider, {} requests to the database; every post asked about once a run",
        requests.openai, requests.supabase
    );
}

async fn timed(session: &Session, work: impl AsyncFnOnce(&Run) -> Outcome) -> (Outcome, f64) {
    let run = session.begin(FlowOptions::default(), Stop::new());
    let started = Instant::now();
    let outcome = work(&run).await;
    (outcome, started.elapsed().as_secs_f64())
}

fn with(mut rubric: Rubric, name: &str) -> Rubric {
    rubric.dimensions.push(Dimension {
        name: name.to_owned(),
        description: format!("How much {name} is there between people?"),
        anchors: None,
        weight: 1.0,
    });
    rubric
}

async fn store(stack: &Stack, simulator: &Simulator, file: &str) {
    let path = std::fs::canonicalize(file).unwrap();
    let run = Program::on(stack, &simulator.base_url())
        .run(&["store", path.to_str().unwrap()])
        .await;
    assert_eq!(run.code, Some(0), "{}", run.stderr);
}

async fn make(stack: &Stack) {
    stack
        .sql(&format!(
            "insert into neighborhoods (name, slug) values ('Elm', 'elm');
             insert into posts (neighborhood_id, post_id_ext, text, hash)
               select n.id, i::text, 'Post number ' || i || repeat(': has anyone seen a grey cat', 1 + i % 90), i::text
               from neighborhoods n, generate_series(1, {MADE}) i"
        ))
        .await;
}
