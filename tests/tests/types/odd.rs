//! A schema of everything that is hard to name, to type or to lay out.

#[allow(
    dead_code,
    unreachable_pub,
    clippy::pedantic,
    reason = "what is compiled here is what the generator gives, used or not"
)]
mod generated;

use secrecy::ExposeSecret;
use sluice_runner::local::{self, Server};
use sluice_runner::typegen::source::from_server;
use sluice_runner::typegen::{Options, generate};

use crate::assert_current;

const SCHEMA: &str = include_str!("odd/schema.sql");

fn options() -> Options {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Options {
        schemas: vec!["public".to_owned(), "Odd schema".to_owned()],
        exclude: names(&["excluded"]),
        nullable: names(&["cheered.feeling"]),
        not_null: names(&["titles.id", "add", "spread.n", "address.street"]),
    }
}

async fn server() -> Server {
    let options = local::Options {
        skip_migrations: true,
        ..local::Options::default()
    };
    let server = Server::start(&options).await.unwrap();
    let answer = reqwest::Client::builder()
        .build()
        .unwrap()
        .post(format!("{}/sql", server.url()))
        .header("apikey", server.secret_key().expose_secret())
        .body(format!("create extension vector; {SCHEMA}"))
        .send()
        .await
        .unwrap();
    let succeeded = answer.status().is_success();
    assert!(succeeded, "{}", answer.text().await.unwrap());
    server
}

#[tokio::test]
async fn whatever_is_odd_becomes_code_that_compiles() {
    let server = server().await;
    let catalog = from_server(&server, &options()).await.unwrap();
    assert_current("odd/generated.rs", &generate(&catalog, &options()).unwrap());
    server.stop().await;
}
