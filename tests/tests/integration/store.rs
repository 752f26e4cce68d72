//! The store flow: every good line once, at most three requests a batch, bad lines by their number.

use serde_json::json;
use sluice_runner::db::Database;
use sluice_runner::engine::Stop;
use sluice_runner::report::{Counts, Report, StoreCounts};
use sluice_runner::store::{StoreOptions, store_text};
use sluice_tests::{Program, Recorder, Stack};

/// A line of input.
fn line(neighborhood: &str, content: &str) -> String {
    json!({ "author_id": "a", "content": content, "neighborhood": neighborhood }).to_string()
}

async fn store(database: &Database, text: &str) -> Report {
    let now = "2026-05-01T12:00:00Z".parse().unwrap();
    let options = StoreOptions {
        now,
        limit: None,
        dry_run: false,
    };
    store_text(database, text, options, &Stop::new())
        .await
        .unwrap()
        .report
}

fn counts(report: &Report) -> StoreCounts {
    match report.counts {
        Counts::Store(counts) => counts,
        Counts::Rows(_) => panic!("a store report counts lines"),
    }
}

#[tokio::test]
async fn several_new_neighborhoods_cost_one_select_and_one_insert() {
    let stack = Stack::fresh().await;
    let recorder = Recorder::start(stack.postgrest_url()).await;
    let database = Database::new(&stack.database_settings(recorder.url())).unwrap();
    let names = ["Elm Park", "Oak Hill", "Elm Park", "Harbor"];
    let lines: Vec<String> = names
        .iter()
        .enumerate()
        .map(|(at, name)| line(name, &format!("post {at}")))
        .collect();
    let report = store(&database, &lines.join("\n")).await;
    assert_eq!(counts(&report).inserted, 4);
    assert_eq!(counts(&report).neighborhoods_created, 3);
    assert_eq!(report.requests.supabase, 3);
    insta::assert_json_snapshot!("store_several_new_neighborhoods", recorder.snapshot());
}

#[tokio::test]
async fn the_program_reports_bad_lines_and_stores_the_rest() {
    let stack = Stack::fresh().await;
    let program = Program::on(&stack, "http://127.0.0.1:9/v1");
    let input = format!(
        "{}\nnot json\n\n{{\"author_id\":\"a\"}}",
        line("Elm", "one")
    );
    let run = program
        .run_with_input(&["store", "-", "--output", "json"], input.as_bytes())
        .await;
    assert_eq!(run.code, Some(4), "{}", run.stderr);
    let report = run.json();
    assert_eq!(report["counts"]["inserted"], 1);
    assert_eq!(report["failures"][0]["line"], 2);
    assert_eq!(report["failures"][1]["line"], 4);
    assert_eq!(stack.count("select count(*) from posts").await, 1);
}
