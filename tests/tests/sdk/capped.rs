//! One server for all tests of this binary, without the migrations. Each test makes its own table.

use serde_json::json;
use sluice_runner::local::{LocalOptions, Server};
use sluice_sdk::{Client, client::ClientBuilder};
use sluice_tests::Outside;
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

/// The server's row limit.
pub(crate) const MAX_ROWS: u32 = 1_000;

/// A second schema that the API serves. A test that needs it creates it.
pub(crate) const SCHEMA: &str = "attic";

/// A client of the server, after it has run these statements.
pub(crate) async fn client(statements: &str) -> Client {
    run(statements).await;
    let builder = Client::builder().supabase_url(url().await);
    with_key(builder).await.build().unwrap()
}

/// Runs statements.
pub(crate) async fn run(statements: &str) {
    match server().await {
        Capped::Embedded(server) => drop(server.sql(statements).await.unwrap()),
        Capped::Outside(outside) => outside.prepare(statements).await,
    }
}

/// Where the server is.
pub(crate) async fn url() -> &'static str {
    match server().await {
        Capped::Embedded(server) => server.url(),
        Capped::Outside(outside) => outside.project_url(),
    }
}

/// Whether it is a server that the environment names.
pub(crate) async fn is_outside() -> bool {
    matches!(server().await, Capped::Outside(_))
}

/// The same client with the server's key.
pub(crate) async fn with_key(builder: ClientBuilder) -> ClientBuilder {
    builder.key(match server().await {
        Capped::Embedded(server) => server.secret_key().clone(),
        Capped::Outside(outside) => outside.key.clone(),
    })
}

/// The embedded server, or the one that the environment names. That has the same limit, serves both schemas, allows
/// aggregates, and has an empty database.
enum Capped {
    Embedded(Box<Server>),
    Outside(Outside),
}

/// Starts the server once, on a runtime that outlives the first test.
async fn server() -> &'static Capped {
    static RUNTIME: std::sync::OnceLock<Runtime> = std::sync::OnceLock::new();
    static SERVER: OnceCell<Capped> = OnceCell::const_new();
    let start = || async {
        if let Some(outside) = Outside::named() {
            return Capped::Outside(outside);
        }
        let api = json!({"aggregates_enabled": true, "schemas": ["public", SCHEMA]});
        let options = LocalOptions {
            max_rows: Some(MAX_ROWS),
            api: api.as_object().cloned().unwrap(),
            ..LocalOptions::default()
        };
        let starting = async move { Server::start(&options).await.unwrap() };
        let runtime = RUNTIME.get_or_init(|| Runtime::new().unwrap());
        Capped::Embedded(Box::new(runtime.spawn(starting).await.unwrap()))
    };
    SERVER.get_or_init(start).await
}
