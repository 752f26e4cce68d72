//! `sluice schema apply` over a connection to Postgres.

use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sluice_runner::bundled::MIGRATIONS;
use sluice_runner::local::{LocalOptions, Server};
use sluice_tests::{Native, Program, Run};

use crate::earlier::earlier_schema;
use crate::fixture::native;

const PASSWORD: &str = "hunter2-of-the-owner";

async fn apply(native: &Native, more: &[&str]) -> Run {
    let url = native.url_of(&format!("owner:{PASSWORD}"));
    let arguments = [&["schema", "apply", "--json", "-v", "--db-url", &url], more].concat();
    let run = Program::bare().run(&arguments).await;
    assert!(!run.stdout.contains(PASSWORD) && !run.stderr.contains(PASSWORD));
    run
}

#[tokio::test]
async fn migrations_are_applied_and_recorded_once_as_supabases_cli_does() {
    native!();
    let native = Native::project("").await;
    let admin = native.admin().await;
    let all = MIGRATIONS.len();

    let checked = apply(&native, &["--check"]).await;
    assert_eq!(checked.code, Some(6), "{}", checked.stderr);
    assert_eq!(checked.json()["pending"].as_array().unwrap().len(), all);
    let records = "select to_regclass('supabase_migrations.schema_migrations')::text";
    assert_eq!(
        admin.value(records).await,
        json!(null),
        "a check writes nothing"
    );

    // Two at once: each migration is applied by one of them.
    let (one, other) = tokio::join!(apply(&native, &[]), apply(&native, &[]));
    assert_eq!(
        (one.code, other.code),
        (Some(0), Some(0)),
        "{}{}",
        one.stderr,
        other.stderr
    );

    let recorded = "select jsonb_agg(jsonb_build_object('version', version, 'name', name, 'statements', statements)
        order by version) from supabase_migrations.schema_migrations";
    let recorded = admin.value(recorded).await;
    let (file, sql) = MIGRATIONS[0];
    assert_eq!(recorded.as_array().unwrap().len(), all);
    let first = json!({ "version": "20261122000100", "name": "tables", "statements": [sql] });
    assert_eq!(recorded[0], first, "{file}");
    let api = native.api().await;
    assert_eq!(api.value("select pipeline_status() ->> 'posts'").await, "0");

    let again = apply(&native, &[]).await.json();
    assert_eq!(
        again,
        json!({ "applied": [], "pending": [], "earlier": all })
    );
    assert_eq!(apply(&native, &["--check"]).await.code, Some(0));
}

#[tokio::test]
async fn a_project_of_the_earlier_implementation_is_upgraded_and_keeps_its_rows() {
    native!();
    // Supabase's CLI before it recorded statements.
    let records = "create schema supabase_migrations;
        create table supabase_migrations.schema_migrations (version text primary key);
        insert into supabase_migrations.schema_migrations values ('20250101000000');";
    let native = Native::project(&format!("{}\n{records}", earlier_schema())).await;
    let admin = native.admin().await;
    let posts = "select count(*) from posts";
    let before = admin.value(posts).await;
    let run = apply(&native, &[]).await;
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(
        run.json()["applied"].as_array().unwrap().len(),
        MIGRATIONS.len()
    );
    assert_eq!(admin.value(posts).await, before);
    let kept = "select count(*) from supabase_migrations.schema_migrations where version = '20250101000000'";
    assert_eq!(admin.value(kept).await, 1);
}

#[tokio::test]
async fn a_migration_that_fails_leaves_nothing_and_the_next_run_goes_on() {
    native!();
    let native = Native::project("").await;
    let (admin, other) = (native.admin().await, native.admin().await);
    // The first ten are applied. Then a session holds a table that the next ones change.
    admin.sql("create schema supabase_migrations; create table supabase_migrations.schema_migrations (version text primary key, name text, statements text[])").await;
    let owner = native.owner().await;
    for (file, sql) in &MIGRATIONS[..10] {
        owner.sql(sql).await;
        let version = file.split('_').next().unwrap();
        admin
            .sql(&format!(
                "insert into supabase_migrations.schema_migrations (version) values ('{version}')"
            ))
            .await;
    }
    admin.sql("alter table supabase_migrations.schema_migrations owner to owner; grant usage, create on schema supabase_migrations to owner").await;
    other
        .sql("begin; lock table posts, background_jobs, llm_scores, post_embeddings, work_items")
        .await;
    let failed = apply(&native, &[]).await;
    assert_eq!(failed.code, Some(6), "{}", failed.stderr);
    for part in [
        "55P03",
        ", line ",
        "Nothing of this file",
        "holds a lock",
        "run the same command again",
    ] {
        assert!(
            failed.stderr.contains(part),
            "{part} is missing in {}",
            failed.stderr
        );
    }
    other.sql("rollback").await;
    let run = apply(&native, &[]).await;
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let earlier = run.json()["earlier"].as_u64().unwrap();
    assert!(earlier >= 10, "{earlier}");
    let recorded = "select count(*) from supabase_migrations.schema_migrations";
    assert_eq!(admin.value(recorded).await, MIGRATIONS.len());
}

#[tokio::test]
async fn a_user_without_rights_and_a_wrong_address_are_told_what_to_do() {
    native!();
    let native = Native::project("").await;
    let url = native.url_of("authenticator:hunter2");
    let refused = Program::bare()
        .run(&["schema", "apply", "--db-url", &url])
        .await;
    assert_eq!(refused.code, Some(6));
    assert!(
        refused.stderr.contains("connect as the owner"),
        "{}",
        refused.stderr
    );
    for url in ["postgres://u:hunter2@127.0.0.1:9/d", "nonsense hunter2"] {
        let run = Program::bare()
            .run(&["schema", "apply", "--db-url", url])
            .await;
        assert!(matches!(run.code, Some(2 | 6)), "{}", run.stderr);
        assert!(!run.stderr.contains("hunter2"), "{}", run.stderr);
    }
}

/// A migration that only changes a function leaves no other trace than its record.
#[tokio::test]
async fn doctor_names_a_migration_that_is_not_recorded_and_the_cure_works() {
    native!();
    let native = Native::project("").await;
    assert_eq!(apply(&native, &[]).await.code, Some(0));
    let admin = native.admin().await;
    let options = LocalOptions {
        database_url: Some(native.url().into()),
        ..LocalOptions::default()
    };
    let server = Server::start(&options).await.unwrap();
    let program = Program::bare()
        .with("SUPABASE_URL", server.url())
        .with("SUPABASE_SERVICE_KEY", server.secret_key().expose_secret());
    let check = async || {
        let checks = program.run(&["doctor", "--json"]).await.json();
        let checks = checks.as_array().unwrap();
        let is_it = |check: &&Value| check["what"] == "recorded migrations";
        checks.iter().find(is_it).unwrap().clone()
    };
    assert_eq!(check().await["ok"], true);

    let (file, _) = MIGRATIONS[MIGRATIONS.len() - 1];
    let (version, _) = file.split_once('_').unwrap();
    let forget = "delete from supabase_migrations.schema_migrations where version =";
    admin.sql(&format!("{forget} '{version}'")).await;
    let wrong = check().await;
    assert_eq!(
        (&wrong["ok"], &wrong["found"]),
        (&json!(false), &json!(format!("not applied: {file}")))
    );
    assert!(
        wrong["cure"]
            .as_str()
            .unwrap()
            .contains("sluice schema apply"),
        "{wrong}"
    );
    assert_eq!(apply(&native, &[]).await.code, Some(0));
    assert_eq!(check().await["ok"], true);

    admin.sql("drop schema supabase_migrations cascade").await;
    assert_eq!(
        check().await["ok"],
        true,
        "nothing is recorded, so nothing is wrong"
    );
    server.stop().await;
}
