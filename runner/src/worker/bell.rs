//! Hears of new jobs through a connection to Postgres itself, so that an idle worker need not ask.

use std::future::pending;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use crate::postgres::{Connection, PostgresError};

/// The channel that the database announces jobs on.
const CHANNEL: &str = "sluice_jobs";
/// A database that has not answered by then is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Rings if a job is announced. It connects again if the connection breaks.
#[derive(Debug)]
pub struct Bell {
    url: SecretString,
    authority: Option<PathBuf>,
    connection: Option<Connection>,
}

impl Bell {
    /// Connects to the Postgres at this URL. `authority` is as for [`Connection::open`].
    ///
    /// # Errors
    /// As [`Connection::open`].
    pub async fn hang(
        url: SecretString,
        authority: Option<PathBuf>,
    ) -> Result<Self, PostgresError> {
        let mut bell = Self {
            url,
            authority,
            connection: None,
        };
        bell.connect().await?;
        Ok(bell)
    }

    async fn connect(&mut self) -> Result<(), PostgresError> {
        let authority = self.authority.as_deref();
        let connection = Connection::open(&self.url, authority, CONNECT_TIMEOUT).await?;
        connection.listen(CHANNEL).await?;
        self.connection = Some(connection);
        Ok(())
    }

    /// Whether announcements are heard.
    pub(super) fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Waits until there may be a job: one was announced, or the connection broke or was made again. It may be dropped
    /// at any time. While there is no connection, each call tries once.
    pub(super) async fn rung(&mut self) {
        if let Some(connection) = &mut self.connection {
            if let Err(error) = connection.notified().await {
                tracing::warn!(
                    "jobs are not announced any more, so the worker asks for them: {error}"
                );
                self.connection = None;
            }
            return;
        }
        // The next wait tries again.
        if let Err(error) = self.connect().await {
            tracing::debug!(%error, "failed to connect to Postgres");
            return pending().await;
        }
        tracing::info!("jobs are announced again");
    }
}
