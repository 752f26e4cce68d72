//! One embedded server for all tests of this binary, without the migrations: each test makes a table of
//! its own.

use secrecy::ExposeSecret;
use sluice_runner::local::{Options, Server};
use sluice_sdk::Client;
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

/// What the server returns at most, whatever is asked for.
pub(crate) const MAX_ROWS: u32 = 1_000;

/// A client of the server, after it has run these statements.
pub(crate) async fn client(statements: &str) -> Client {
    let server = server().await;
    let answer = reqwest::Client::builder()
        .build()
        .unwrap()
        .post(format!("{}/sql", server.url()))
        .header("apikey", server.secret_key().expose_secret())
        .body(statements.to_owned())
        .send()
        .await
        .unwrap();
    let succeeded = answer.status().is_success();
    assert!(succeeded, "{}", answer.text().await.unwrap());
    Client::builder()
        .supabase_url(server.url())
        .key(server.secret_key().clone())
        .build()
        .unwrap()
}

/// Starts the server once, on a runtime that outlives the test that came first.
async fn server() -> &'static Server {
    static RUNTIME: std::sync::OnceLock<Runtime> = std::sync::OnceLock::new();
    static SERVER: OnceCell<Server> = OnceCell::const_new();
    let start = || async {
        let options = Options {
            max_rows: Some(MAX_ROWS),
            skip_migrations: true,
            ..Options::default()
        };
        let starting = async move { Server::start(&options).await.unwrap() };
        let runtime = RUNTIME.get_or_init(|| Runtime::new().unwrap());
        runtime.spawn(starting).await.unwrap()
    };
    SERVER.get_or_init(start).await
}
