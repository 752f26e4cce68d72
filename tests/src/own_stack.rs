//! An embedded Supabase for one test, beside the shared one.

use secrecy::ExposeSecret;
use serde_json::Value;
use sluice_runner::bundled::MIGRATIONS;
use sluice_runner::local::{LocalOptions, Server};

use crate::Program;

/// A server that only one test uses: for what must not happen to the shared one.
pub struct OwnStack {
    server: Server,
}

impl OwnStack {
    /// Starts a server with the migrations applied.
    pub async fn migrated() -> Self {
        let options = LocalOptions {
            migrations: MIGRATIONS,
            ..LocalOptions::default()
        };
        Self {
            server: Server::start(&options).await.unwrap(),
        }
    }

    /// Starts a server with the migrations applied. It returns at most this many rows a request.
    pub async fn capped(max_rows: u32) -> Self {
        let options = LocalOptions {
            migrations: MIGRATIONS,
            max_rows: Some(max_rows),
            ..LocalOptions::default()
        };
        Self {
            server: Server::start(&options).await.unwrap(),
        }
    }

    /// Starts a server with an empty database.
    pub async fn empty() -> Self {
        Self {
            server: Server::start(&LocalOptions::default()).await.unwrap(),
        }
    }

    /// Runs SQL statements and returns the rows of the last one.
    pub async fn sql(&self, statements: &str) -> Vec<Value> {
        self.server.sql(statements).await.unwrap()
    }

    /// The one number that a query returns, also if it comes as a text.
    pub async fn count(&self, query: &str) -> i64 {
        let rows = self.sql(query).await;
        let row = rows.first().and_then(Value::as_object).unwrap();
        let value = row.values().next().unwrap();
        let number = value.as_i64().or_else(|| value.as_str()?.parse().ok());
        number.unwrap()
    }

    /// The address of its PostgREST API.
    pub fn rest_url(&self) -> String {
        format!("{}/rest/v1", self.server.url())
    }

    /// The key that a site gives to everybody.
    pub fn publishable_key(&self) -> &str {
        self.server.publishable_key().expose_secret()
    }

    /// The key that may do everything.
    pub fn secret_key(&self) -> &str {
        self.server.secret_key().expose_secret()
    }

    /// The program on this server, with a provider at this address.
    pub fn program(&self, openai_url: &str) -> Program {
        Program::bare()
            .with("SUPABASE_URL", self.server.url())
            .with("SUPABASE_SERVICE_KEY", self.secret_key())
            .with("OPENAI_BASE_URL", openai_url)
            .with("OPENAI_API_KEY", "test-key")
    }
}
