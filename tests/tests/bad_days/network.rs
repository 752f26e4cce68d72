//! No connection: the message names the cause, and says how long the program goes on trying.

use axum::Router;
use axum::http::StatusCode;
use sluice_runner::simulator::Config;
use sluice_tests::{Program, Service, Stack};

const IMPATIENT: &str = "[supabase]\npatience_seconds = 2\n[openai]\npatience_seconds = 2\n";
/// No name below `invalid` resolves (RFC 6761).
const NOWHERE: &str = "https://project-of-nobody.invalid";
const UNRESOLVED: &str = "the name `project-of-nobody.invalid` does not resolve";

fn with_database(url: &str) -> Program {
    Program::bare()
        .with("SUPABASE_URL", url)
        .with("SUPABASE_SERVICE_KEY", "sb_secret_x")
        .with("OPENAI_API_KEY", "k")
        .configured(IMPATIENT)
}

/// The cause is in the line that says until when the program waits, and in the error at the end.
#[tokio::test]
async fn a_database_that_cannot_be_reached_is_named_with_the_cause() {
    let refuses = Service::start(Router::new().fallback(|| async { StatusCode::FORBIDDEN })).await;
    let behind_a_proxy = with_database("https://project.test").with("HTTPS_PROXY", refuses.url());
    for (program, cause) in [
        (with_database(NOWHERE), UNRESOLVED),
        (
            with_database("http://127.0.0.1:9"),
            "127.0.0.1: Connection refused",
        ),
        (
            behind_a_proxy,
            "the proxy makes no connection to project.test",
        ),
    ] {
        let run = program.run(&["status"]).await;
        assert_eq!(run.code, Some(6), "{}", run.stderr);
        let lines: Vec<&str> = run.stderr.lines().collect();
        let [waiting, error] = lines[..] else {
            panic!("not two lines: {}", run.stderr)
        };
        assert!(
            waiting.contains("waiting for the database until"),
            "{waiting}"
        );
        assert!(waiting.contains(cause), "{waiting}");
        assert!(error.contains(cause), "{error}");
        assert!(error.contains("supabase.patience_seconds"), "{error}");
    }
}

#[tokio::test]
async fn a_provider_that_cannot_be_reached_is_named_with_the_cause() {
    let stack = Stack::fresh().await;
    let insert = "insert into neighborhoods (name, slug) values ('Elm', 'elm');
        insert into posts (neighborhood_id, post_id_ext, text, hash)
          select id, 'p', 'text', 'h' from neighborhoods";
    stack.sql(insert).await;
    for (url, cause) in [
        (format!("{NOWHERE}/v1"), UNRESOLVED),
        (
            "http://127.0.0.1:9/v1".to_owned(),
            "127.0.0.1: Connection refused",
        ),
    ] {
        let run = Program::on(&stack, &url)
            .configured(IMPATIENT)
            .run(&["embed", "--json"])
            .await;
        assert_eq!(run.code, Some(3), "{}", run.stderr);
        assert!(
            run.stderr.contains("waiting for the provider until"),
            "{}",
            run.stderr
        );
        assert!(run.stderr.contains(cause), "{}", run.stderr);
        let reason = run.json()["reason"].as_str().unwrap().to_owned();
        let expected = format!(
            "waited 2 s for the provider (openai.patience_seconds): the provider cannot be reached: {cause}"
        );
        assert!(reason.starts_with(&expected), "{reason}");
    }
}

#[tokio::test]
async fn doctor_names_an_address_that_does_not_resolve() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(Config::default()).await;
    let program = with_database(NOWHERE).with("OPENAI_BASE_URL", &simulator.base_url());
    let run = program.run(&["doctor"]).await;
    assert_eq!(run.code, Some(6), "{}", run.stdout);
    let line = run
        .stdout
        .lines()
        .find(|line| line.starts_with("✗ address"));
    assert!(line.unwrap().contains(UNRESOLVED), "{}", run.stdout);
}
