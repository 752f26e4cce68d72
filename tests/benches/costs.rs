//! Posts are scored in each way that costs less, on `gpt-6-luna`, with the simulator:
//! `cargo bench -p sluice-tests --bench costs -- [POSTS.jsonl]` (without a file, made-up posts).
//!
//! Each way must store the same scores. The bill is the simulator's.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has failed")]
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use serde_json::Value;
use sluice_runner::engine::Stop;
use sluice_runner::exit::Exit;
use sluice_runner::flow::{self, Batching, FlowOptions, ScoreScope};
use sluice_runner::report::Report;
use sluice_runner::simulator::{Config, Simulator};
use sluice_tests::{Program, Stack};

/// How many posts are made up without a file.
const MADE: u32 = 3_000;

/// As each run was asked before: all at once, each with its whole input and all texts, and nothing said about the
/// provider's cache. An answer has the same form in all ways.
const THREE_RUNS: &str = "texts = 'every_run'\n[models.gpt-6-luna]\nn = false\nprompt_cache = false\n\
                          price = { input = 0.10, cache_write = 0.125, output = 0.50 }";

/// A way to score: its name, its configuration below `[scoring]`, and the most that it may take of what three whole
/// runs take: tokens of input that the cache does not have, and dollars. A name that ends in "batch" is scored by
/// batches.
const WAYS: [(&str, &str, f64, f64); 8] = [
    ("three whole runs", THREE_RUNS, 1.0, 1.0),
    ("one input", "texts = 'every_run'", 0.4, 0.85),
    ("one input, texts of one run", "texts = 'one_run'", 0.4, 0.6),
    (
        "one input, texts of one run, ten posts a request",
        "texts = 'one_run'\nposts_per_call = 10",
        0.4,
        0.6,
    ),
    (
        "one input, flex",
        "texts = 'every_run'\n[openai]\nservice_tier = 'flex'",
        0.4,
        0.43,
    ),
    (
        "one input, texts of one run, flex",
        "texts = 'one_run'\n[openai]\nservice_tier = 'flex'",
        0.4,
        0.3,
    ),
    ("one input, batch", "texts = 'every_run'", 0.4, 0.43),
    (
        "one input, texts of one run, batch",
        "texts = 'one_run'",
        0.4,
        0.3,
    ),
];

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
    println!("{posts} posts");
    println!("| way | requests | input | cached | written | output | bill | of three runs' |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    let mut first: Option<(u64, f64, Vec<Value>)> = None;
    let mut missed = Vec::new();
    for (name, toml, input_most, bill_most) in WAYS {
        let options = FlowOptions {
            batch: name.ends_with("batch").then_some(Batching::Wait),
            ..FlowOptions::default()
        };
        let (report, scores) = scored(&stack, &simulator, toml, options).await;
        let input = report.tokens - report.output_tokens;
        let paid = input - report.cached_tokens;
        let bill = simulator.ledger().usd;
        let (whole_input, whole_bill, whole_scores) =
            first.get_or_insert_with(|| (paid, bill, scores.clone()));
        assert!(scores == *whole_scores, "{name}: other scores");
        let (of_input, of_bill) = (paid as f64 / *whole_input as f64, bill / *whole_bill);
        println!(
            "| {name} | {} | {input} | {} | {} | {} | ${bill:.4} | {of_bill:.2} |",
            report.requests.openai + simulator.stats().batches.lines_answered,
            report.cached_tokens,
            report.cache_write_tokens,
            report.output_tokens
        );
        let within = of_input <= input_most && of_bill <= bill_most;
        missed.extend(
            (!within)
                .then(|| format!("{name}: {of_input:.2} of the input, {of_bill:.2} of the bill")),
        );
    }
    assert!(missed.is_empty(), "above what is wanted: {missed:?}");
}

/// Scores all posts, and returns the report and the stored scores.
async fn scored(
    stack: &Stack,
    simulator: &Simulator,
    toml: &str,
    options: FlowOptions,
) -> (Report, Vec<Value>) {
    const SCORES: &str = "select post_id, scores, categories from llm_scores order by post_id";
    stack
        .sql("delete from llm_scores; delete from work_items")
        .await;
    simulator.reset();
    let toml = format!("[scoring]\nmodel = 'gpt-6-luna'\nreasoning_effort = 'none'\n{toml}");
    let session = stack.session(simulator, &toml);
    let run = session.begin(options, Stop::new());
    let outcome = flow::score(&session, &run, ScoreScope::Missing)
        .await
        .unwrap();
    assert_eq!(outcome.exit, Exit::Complete, "{:?}", outcome.report);
    (outcome.report, stack.rows(SCORES).await)
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
