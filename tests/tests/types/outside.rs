//! `--db-url` against a real Postgres: the program connects, reads the catalogs, and finds the
//! committed types true.
//!
//! The embedded Postgres has no port of its own, so a few lines that speak the protocol pass the query
//! on to it. Where `SLUICE_TEST_DATABASE_URL` is set, the program also reads that server, in a database
//! made for it.

use std::sync::Arc;

use sluice_runner::local::Server;
use sluice_tests::Program;
use tokio_postgres::NoTls;

use crate::odd::{self, SCHEMA};
use crate::path;
use crate::wire::postgres_that;

/// The options that `odd/generated.rs` was made with, which its first line names.
const OPTIONS: [&str; 18] = [
    "--schema",
    "public",
    "--schema",
    "Odd schema",
    "--exclude",
    "excluded",
    "--nullable",
    "cheered.feeling",
    "--not-null",
    "moods.times",
    "--not-null",
    "add",
    "--not-null",
    "spread.n",
    "--feature",
    "bytes",
    "--feature",
    "pgvector",
];

/// The database that is made on a server from outside.
const NAME: &str = "sluice_types_test";

/// `sluice gen types --check` of the committed types against a database: nothing has drifted.
async fn assert_fits(url: &str) {
    let file = path("odd/generated.rs");
    let mut arguments = vec!["gen", "types", "--db-url", url];
    arguments.extend(OPTIONS);
    arguments.extend(["--not-null", "address.street"]);
    arguments.extend(["--check", file.to_str().unwrap()]);
    let run = Program::bare().run(&arguments).await;
    assert_eq!(run.code, Some(0), "{}{}", run.stdout, run.stderr);
}

#[tokio::test]
async fn the_embedded_postgres_has_the_committed_types() {
    let server: Arc<Server> = Arc::new(odd::server().await);
    let behind = Arc::clone(&server);
    let (url, asked) =
        postgres_that(|query| async move { odd::catalog(&behind, &query).await }).await;
    assert_fits(&url).await;
    assert!(asked.await.unwrap().unwrap().contains("pg_catalog"));
}

#[tokio::test]
async fn a_postgres_from_outside_has_them_too() {
    #[expect(
        clippy::disallowed_methods,
        reason = "the outside server is named by the environment"
    )]
    let Ok(url) = std::env::var("SLUICE_TEST_DATABASE_URL") else {
        return;
    };
    let drop = format!("drop database if exists {NAME}");
    run(&url, &drop).await.unwrap();
    run(&url, &format!("create database {NAME}")).await.unwrap();
    let (server, options) = url.rsplit_once('/').unwrap();
    let options = options.split_once('?').map_or("", |(_, options)| options);
    let own = format!("{server}/{NAME}?{options}");
    // A vector is text in Rust, as it is where the server has no vectors.
    let schema = match run(&own, "create extension vector").await {
        Ok(()) => SCHEMA.to_owned(),
        Err(_) => SCHEMA.replace("near vector(3)", "near text"),
    };
    run(&own, &schema).await.unwrap();
    assert_fits(&own).await;
    run(&url, &drop).await.unwrap();
}

/// Runs statements on a server.
async fn run(url: &str, statements: &str) -> Result<(), String> {
    let (client, connection) = tokio_postgres::connect(url, NoTls)
        .await
        .map_err(|error| error.to_string())?;
    let connection = tokio::spawn(connection);
    let result = client.batch_execute(statements).await;
    connection.abort();
    result.map_err(|error| format!("{error:?}"))
}

#[tokio::test]
async fn a_snapshot_stands_in_for_the_database() {
    let server: Arc<Server> = Arc::new(odd::server().await);
    let (url, _) = postgres_that(|query| async move { odd::catalog(&server, &query).await }).await;
    let folder = tempfile::tempdir().unwrap();
    let snapshot = folder.path().join("schema.json");
    let snapshot_name = snapshot.to_str().unwrap();
    let mut arguments = vec![
        "gen",
        "types",
        "--db-url",
        &url,
        "--snapshot",
        snapshot_name,
    ];
    arguments.extend(OPTIONS);
    let written = Program::bare().run(&arguments).await;
    assert_eq!(written.code, Some(0), "{}", written.stderr);

    // From here on there is no database.
    let from = async |more: &[&str]| {
        let mut arguments = vec!["gen", "types", "--from", snapshot_name];
        arguments.extend(OPTIONS);
        arguments.extend(more);
        Program::bare().run(&arguments).await
    };
    let file = path("odd/generated.rs");
    let check = [
        "--not-null",
        "address.street",
        "--check",
        file.to_str().unwrap(),
    ];
    let fits = from(&check).await;
    assert_eq!(fits.code, Some(0), "{}{}", fits.stdout, fits.stderr);
    let chrono = from(&["--time", "chrono"]).await;
    assert!(
        chrono.stdout.contains("chrono::DateTime<chrono::Utc>"),
        "{}",
        chrono.stdout
    );
    assert!(chrono.stdout.contains("--time chrono") && !chrono.stdout.contains("jiff::"));
    let text = std::fs::read_to_string(&snapshot).unwrap();
    std::fs::write(&snapshot, text.replace("\"street\"", "\"road\"")).unwrap();
    assert_eq!(
        from(&check).await.code,
        Some(2),
        "an option names what is gone"
    );
    std::fs::write(&snapshot, "{}").unwrap();
    let broken = from(&[]).await;
    assert!(
        broken.code == Some(2) && broken.stderr.contains("--snapshot"),
        "{}",
        broken.stderr
    );
}
