//! A connection to Postgres itself, for what PostgREST cannot do: read the catalog, apply migrations, listen.
//!
//! It speaks the simple protocol alone, which works through every pooler, because it prepares no statement.

mod connect;
mod error;

use std::path::Path;
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, SimpleQueryMessage};

pub use error::{PostgresError, Refusal};

/// A connection. It closes when it is dropped, which undoes an open transaction.
#[derive(Debug)]
pub struct Connection {
    client: Client,
    task: JoinHandle<()>,
    /// Holds one notice at most. It closes with the connection.
    notices: Receiver<()>,
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
        let (client, task, notices) = tokio::time::timeout(within, connecting)
            .await
            .map_err(late)??;
        Ok(Self {
            client,
            task,
            notices,
        })
    }

    /// Listens to a channel, which must be a plain name. It works in a session of its own, so not through a pooler of
    /// transactions.
    ///
    /// # Errors
    /// [`PostgresError::Refused`] and [`PostgresError::Connection`].
    pub async fn listen(&self, channel: &str) -> Result<(), PostgresError> {
        self.execute(&format!("listen {channel}")).await
    }

    /// Waits until a channel that this connection listens to is notified. Several notifications may count as one.
    ///
    /// # Errors
    /// [`PostgresError::Connection`] if the connection has ended.
    pub async fn notified(&mut self) -> Result<(), PostgresError> {
        let ended = || PostgresError::Connection("the connection has ended".to_owned());
        self.notices.recv().await.ok_or_else(ended)
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
