//! The types of our own migrations, and the command.

use sluice_runner::bundled::MIGRATIONS;
use sluice_runner::local::{LocalOptions, Server};
use sluice_runner::typegen::{Catalog, TypegenOptions, generate};
use sluice_tests::Program;

use crate::{assert_current, path};

#[tokio::test]
async fn committed_types_are_those_of_the_migrations() {
    let options = TypegenOptions::default();
    let server = Server::start(&LocalOptions {
        migrations: MIGRATIONS,
        ..LocalOptions::default()
    })
    .await
    .unwrap();
    let rows = server.sql(Catalog::query(&options.schemas)).await;
    server.stop().await;
    let catalog = Catalog::from_rows(&rows.unwrap()).unwrap();
    assert_current("generated.rs", &generate(&catalog, &options).unwrap());
}

#[tokio::test]
async fn file_that_differs_from_the_database_exits_with_one() {
    let program = Program::bare();
    let stored = std::fs::read_to_string(path("generated.rs")).unwrap();
    let drifted = stored.replacen("    pub slug: String,", "    pub slug: i32,", 1);
    assert_ne!(stored, drifted);
    let drifted = program.file("types.rs", drifted);
    let arguments = [
        "gen",
        "types",
        "--local",
        "--output",
        "json",
        "--check",
        drifted.to_str().unwrap(),
    ];
    let run = program.run(&arguments).await;
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    let said = run.json();
    assert_eq!(said["drifted"], true);
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
