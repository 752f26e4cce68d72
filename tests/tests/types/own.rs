//! The types that the program uses are those of our migrations, and the command that makes them.

use sluice_runner::bundled::MIGRATIONS;
use sluice_runner::local::{LocalOptions, Server};
use sluice_runner::typegen::{Catalog, TypegenOptions, generate};
use sluice_tests::Program;

use crate::assert_current;

/// The file that the types are in.
const FILE: &str = "../../../runner/src/db/generated.rs";

/// The tables and functions that the program uses.
const ONLY: &[&str] = &[
    "active_weight_config",
    "add_batch_rows",
    "applied_migrations",
    "background_jobs",
    "batch_rows",
    "begin_batch",
    "begin_job",
    "begin_score_pass",
    "cancel_job",
    "change_batch",
    "claim_job",
    "claim_work",
    "complete_recompute_job",
    "count_work",
    "cut_batch",
    "end_batch",
    "end_score_pass",
    "enqueue_job",
    "estimate_work",
    "extend_work",
    "fail_job",
    "fail_work",
    "finish_job",
    "finish_work",
    "forget_batch",
    "heartbeat_job",
    "inspect_project",
    "leave_batch",
    "list_batches",
    "list_weight_configs",
    "neighborhoods",
    "open_score_pass",
    "peek_work",
    "pipeline_status",
    "posts",
    "prune_weight_scores",
    "rank_posts",
    "record_run",
    "record_spending",
    "refresh_topic_frequencies",
    "release_job",
    "release_work",
    "replay_work",
    "reserve_budget",
    "retry_job",
    "run_status",
    "runs",
    "save_and_recompute",
    "search_posts_by_embedding",
    "search_posts_hybrid",
    "stage_post_scores",
    "store_batch",
    "store_dimension",
    "store_embeddings",
    "store_scores",
    "take_batch",
    "weight_configs",
    "work_items",
];

/// Arguments that may be null.
const NULLABLE: &[&str] = &[
    "claim_work.p_after",
    "count_work.p_after",
    "peek_work.p_after",
    "record_run.p_host",
    "release_work.p_post_ids",
    "replay_work.p_kind",
    "replay_work.p_post_ids",
    "reserve_budget.p_day",
    "reserve_budget.p_usd_per_day",
    "reserve_budget.p_usd_per_month",
    "stage_post_scores.p_after",
    "store_batch.p_reason",
    "take_batch.p_id",
    "take_batch.p_kind",
];

/// Results that are never null.
const NOT_NULL: &[&str] = &[
    "begin_job",
    "end_score_pass",
    "enqueue_job",
    "fail_job",
    "finish_job",
    "finish_work",
    "heartbeat_job",
    "rank_posts.categories",
    "rank_posts.final_score",
    "rank_posts.id",
    "rank_posts.text",
    "refresh_topic_frequencies",
    "release_job",
    "release_work",
    "replay_work",
    "store_dimension",
    "store_embeddings",
    "store_scores",
];

#[tokio::test]
async fn committed_types_are_those_of_the_migrations() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let options = TypegenOptions {
        only: names(ONLY),
        nullable: names(NULLABLE),
        not_null: names(NOT_NULL),
        ..TypegenOptions::default()
    };
    let server = Server::start(&LocalOptions {
        migrations: MIGRATIONS,
        ..LocalOptions::default()
    })
    .await
    .unwrap();
    let rows = server.sql(Catalog::query(&options.schemas)).await;
    server.stop().await;
    let catalog = Catalog::from_rows(&rows.unwrap()).unwrap();
    assert_current(FILE, &generate(&catalog, &options).unwrap());
}

#[tokio::test]
async fn file_that_differs_from_the_database_exits_with_one() {
    let program = Program::bare();
    let stored = std::fs::read_to_string(crate::path(FILE)).unwrap();
    let drifted = stored.replacen("    pub slug: String,", "    pub slug: i32,", 1);
    assert_ne!(stored, drifted);
    let drifted = program.file("types.rs", drifted);
    let mut arguments = vec!["gen", "types", "--local", "--output", "json"];
    for (option, names) in [
        ("--only", ONLY),
        ("--nullable", NULLABLE),
        ("--not-null", NOT_NULL),
    ] {
        arguments.extend(names.iter().flat_map(|name| [option, name]));
    }
    arguments.extend(["--check", drifted.to_str().unwrap()]);
    let run = program.run(&arguments).await;
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    let said = run.json();
    assert_eq!(said["drifted"], true);
    assert_eq!(said["drifts"].as_array().unwrap().len(), 1);
    assert_eq!(said["drifts"][0]["item"], "pub struct Neighborhoods");
    assert_eq!(said["drifts"][0]["only_in_file"][0], "pub slug: i32,");
    assert_eq!(
        said["drifts"][0]["only_in_database"][0],
        "pub slug: String,"
    );
}

#[tokio::test]
async fn unreachable_database_exits_with_six_and_bad_url_with_two() {
    let program = Program::bare();
    let url = "postgres://nobody:hunter2@127.0.0.1:9/none";
    let run = program.run(&["gen", "types", "--db-url", url]).await;
    assert_eq!(run.code, Some(6), "{}", run.stderr);
    assert!(!run.stderr.contains("hunter2"), "{}", run.stderr);
    let run = program
        .run(&["gen", "types", "--db-url", "not a url"])
        .await;
    assert_eq!(run.code, Some(2), "{}", run.stderr);
}
