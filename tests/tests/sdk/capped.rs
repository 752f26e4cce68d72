//! One embedded server for all tests of this binary, without the migrations. Each test makes its
//! own table.

use serde_json::json;
use sluice_runner::local::{LocalOptions, Server};
use sluice_sdk::{Client, client::ClientBuilder};
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
    server().await.sql(statements).await.unwrap();
}

/// Where the server is.
pub(crate) async fn url() -> &'static str {
    server().await.url()
}

/// The same client with the server's key.
pub(crate) async fn with_key(builder: ClientBuilder) -> ClientBuilder {
    builder.key(server().await.secret_key().clone())
}

/// Starts the server once, on a runtime that outlives the first test.
async fn server() -> &'static Server {
    static RUNTIME: std::sync::OnceLock<Runtime> = std::sync::OnceLock::new();
    static SERVER: OnceCell<Server> = OnceCell::const_new();
    let start = || async {
        let api = json!({"aggregates_enabled": true, "schemas": ["public", SCHEMA]});
        let options = LocalOptions {
            max_rows: Some(MAX_ROWS),
            api: api.as_object().cloned().unwrap(),
            ..LocalOptions::default()
        };
        let starting = async move { Server::start(&options).await.unwrap() };
        let runtime = RUNTIME.get_or_init(|| Runtime::new().unwrap());
        runtime.spawn(starting).await.unwrap()
    };
    SERVER.get_or_init(start).await
}
