//! `sluice doctor` names what is wrong with a set-up, and the cure.

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sluice_runner::simulator::{Config, Fault, Faults, Simulator};
use sluice_tests::{OwnStack, Program, Service, Stack};

use crate::support::faulty;

/// The failed check of a broken set-up. There must be one at least, and the first one decides the exit code.
async fn failed(program: &Program, code: i32) -> Value {
    let run = program.run(&["doctor", "--json"]).await;
    assert_eq!(run.code, Some(code), "{}{}", run.stdout, run.stderr);
    let checks = run.json();
    let failed = checks.as_array().unwrap().iter();
    let mut failed = failed.filter(|check| check["ok"] == false);
    failed
        .next()
        .unwrap_or_else(|| panic!("nothing failed: {checks}"))
        .clone()
}

/// Asserts which check failed and what its cure says.
fn assert_cure(check: &Value, what: &str, cure: &str) {
    assert_eq!(check["what"], what, "{check}");
    assert!(
        check["cure"].as_str().unwrap_or_default().contains(cure),
        "{check}"
    );
}

async fn provider() -> Simulator {
    sluice_runner::simulator::start(Config {
        port: 0,
        ..Config::default()
    })
    .await
    .unwrap()
}

fn at(url: &str, key: &str, provider: &Simulator) -> Program {
    Program::bare()
        .with("SUPABASE_URL", url)
        .with("SUPABASE_SERVICE_KEY", key)
        .with("OPENAI_BASE_URL", &provider.base_url())
        .with("OPENAI_API_KEY", "k")
}

fn token(claims: &Value) -> String {
    let encode = |text: String| BASE64_URL_SAFE_NO_PAD.encode(text);
    format!(
        "{}.{}.c2ln",
        encode(json!({ "alg": "HS256" }).to_string()),
        encode(claims.to_string())
    )
}

#[tokio::test]
async fn something_else_at_the_address_is_named() {
    let provider = provider().await;
    let site = Service::start(Router::new().fallback(async || Html("<html>welcome</html>"))).await;
    let check = failed(&at(site.url(), "sb_secret_x", &provider), 2).await;
    assert_cure(&check, "address", "the project's API URL");
    assert!(
        check["found"].as_str().unwrap().contains("web page"),
        "{check}"
    );

    let moved =
        Service::start(Router::new().fallback(async || Redirect::permanent("https://new.test/")))
            .await;
    let check = failed(&at(moved.url(), "sb_secret_x", &provider), 2).await;
    assert_cure(&check, "address", "the address that answers");
    assert!(
        check["found"]
            .as_str()
            .unwrap()
            .contains("https://new.test/"),
        "{check}"
    );

    let paused = Service::start(
        Router::new().fallback(async || (StatusCode::from_u16(540).unwrap(), "paused")),
    )
    .await;
    assert_cure(
        &failed(&at(paused.url(), "sb_secret_x", &provider), 6).await,
        "address",
        "restore the project",
    );

    let other = Service::start(
        Router::new().fallback(async || (StatusCode::NOT_FOUND, r#"{"detail":"Not Found"}"#)),
    )
    .await;
    assert_cure(
        &failed(&at(other.url(), "sb_secret_x", &provider), 2).await,
        "address",
        "POSTGREST_URL",
    );

    assert_cure(
        &failed(&at("http://127.0.0.1:9", "sb_secret_x", &provider), 6).await,
        "address",
        "paused",
    );
}

#[tokio::test]
async fn a_wrong_key_is_named_by_its_kind() {
    let provider = provider().await;
    let stack = OwnStack::migrated().await;
    let url = stack.rest_url();
    let url = url.trim_end_matches("/rest/v1");
    let check = failed(&at(url, stack.publishable_key(), &provider), 6).await;
    assert_cure(&check, "key", "the secret key");
    assert!(
        check["found"].as_str().unwrap().contains("publishable"),
        "{check}"
    );

    let rows = Service::start(Router::new().fallback(async || "[]")).await;
    let anon = token(&json!({ "role": "anon", "exp": 2_000_000_000 }));
    assert_cure(
        &failed(&at(rows.url(), &anon, &provider), 6).await,
        "key",
        "the secret key",
    );
    let expired = token(&json!({ "role": "service_role", "exp": 1_700_000_000 }));
    let check = failed(&at(rows.url(), &expired, &provider), 6).await;
    assert!(
        check["found"]
            .as_str()
            .unwrap()
            .contains("expired on 2023-11-14"),
        "{check}"
    );
    assert!(
        !check.to_string().contains(&expired),
        "the key is not shown"
    );

    let refuse = async || {
        (
            StatusCode::UNAUTHORIZED,
            r#"{"code":"PGRST301","message":"JWSError"}"#,
        )
    };
    let refuses = Service::start(Router::new().fallback(refuse)).await;
    let check = failed(&at(refuses.url(), "sb_secret_x", &provider), 6).await;
    assert_cure(&check, "key", "another project");
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_named() {
    let provider = provider().await;
    let late = async || ([(header::DATE, "Tue, 25 Nov 2025 12:00:00 GMT")], "[]").into_response();
    let server = Service::start(Router::new().fallback(late)).await;
    let check = failed(&at(server.url(), "sb_secret_x", &provider), 2).await;
    assert_cure(&check, "clock", "timedatectl");
}

#[tokio::test]
async fn what_is_missing_in_the_database_is_named() {
    let provider = provider().await;
    let empty = OwnStack::empty().await;
    let program = empty.program(&provider.base_url());
    assert_cure(
        &failed(&program, 6).await,
        "migrations",
        "sluice schema apply",
    );

    let stack = OwnStack::migrated().await;
    let program = stack.program(&provider.base_url());
    program.complete(&["doctor"]).await;
    let broken: [(&str, &str, &str, &str); 5] = [
        (
            "alter function fail_job rename to fail_job_away",
            "alter function fail_job_away rename to fail_job",
            "migrations",
            "sluice schema apply",
        ),
        (
            "revoke execute on function retry_job(uuid) from service_role",
            "grant execute on function retry_job(uuid) to service_role",
            "rights",
            "grant execute",
        ),
        (
            "alter table posts disable row level security",
            "alter table posts enable row level security",
            "row-level security",
            "alter table public.posts enable row level security",
        ),
        (
            "alter table work_items rename to work_items_away",
            "alter table work_items_away rename to work_items",
            "migrations",
            "sluice schema apply",
        ),
        (
            "alter database postgres set statement_timeout = '1s'; set statement_timeout = '1s'",
            "reset statement_timeout",
            "statement timeout",
            "alter role service_role set statement_timeout",
        ),
    ];
    for (harm, mend, what, cure) in broken {
        stack.sql(harm).await;
        let check = failed(&program, 6).await;
        stack.sql(mend).await;
        assert_cure(&check, what, cure);
    }
    let large = stack
        .program(&provider.base_url())
        .configured("[embedding]\ndimensions = 3072\n");
    assert_cure(&failed(&large, 2).await, "pgvector", "--dimensions 3072");
}

#[tokio::test]
async fn every_check_of_a_good_set_up_is_on_a_line_with_its_mark() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(faulty(Faults::default())).await;
    let program = Program::on(&stack, &simulator.base_url());
    let said = program.complete(&["doctor"]).await.stdout;
    for what in [
        "address",
        "key",
        "clock",
        "migrations",
        "rights",
        "row-level security",
        "pgvector",
        "statement timeout",
        "provider",
    ] {
        assert!(
            said.lines()
                .any(|line| line.starts_with("✓ ") && line.contains(what)),
            "{what}: {said}"
        );
    }
    simulator
        .change(sluice_runner::simulator::ConfigChange {
            faults: Some(Faults::only(Fault::BadKey, 1.0)),
            ..Default::default()
        })
        .unwrap();
    let said = program.run(&["doctor"]).await.stdout;
    assert!(said.contains("✗ provider"), "{said}");
}
