//! A connection to Postgres itself, for what PostgREST cannot do: read the catalog, apply migrations.
//!
//! It speaks the simple protocol alone, which works through every pooler, because it prepares no statement.

mod connect;
mod error;

use std::path::Path;
use std::time::Duration;

use secrecy::SecretString;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, SimpleQueryMessage};

pub use error::{PostgresError, Refusal};

/// A connection. It closes when it is dropped, which undoes an open transaction.
#[derive(Debug)]
pub struct Connection {
    client: Client,
    task: JoinHandle<()>,
}

impl Connection {
    /// Connects to the Postgres at this URL (`postgres://…`), within this time.
    ///
    /// If `authority` is a file with PEM certificates, one of them must have signed the database's
    /// certificate. Otherwise the system must trust that certificate.
    ///
    /// # Errors
    /// [`PostgresError::Settings`] and [`PostgresError::Connection`].
    pub async fn open(
        url: &SecretString,
        authority: Option<&Path>,
        within: Duration,
    ) -> Result<Self, PostgresError> {
        let late = |_| PostgresError::Connection(format!("no response in {} s", within.as_secs()));
        let connecting = connect::connect(url, authority);
        let (client, task) = tokio::time::timeout(within, connecting)
            .await
            .map_err(late)??;
        Ok(Self { client, task })
    }

    /// Runs statements, without their results.
    ///
    /// # Errors
    /// [`PostgresError::Refused`] and [`PostgresError::Connection`].
    pub async fn execute(&self, statements: &str) -> Result<(), PostgresError> {
        Ok(self.client.batch_execute(statements).await?)
    }

    /// The first column of every row of a query, as text.
    ///
    /// # Errors
    /// [`PostgresError::Refused`] and [`PostgresError::Connection`].
    pub async fn texts(&self, query: &str) -> Result<Vec<String>, PostgresError> {
        let messages = self.client.simple_query(query).await?;
        let texts = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        Ok(texts.collect())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A text as an SQL literal that does not depend on `standard_conforming_strings`.
#[must_use]
pub fn literal(text: &str) -> String {
    let doubled = text.replace('\\', r"\\").replace('\'', "''");
    format!("e'{doubled}'")
}
