//! Why a statement or a connection failed. No message has the URL, which contains the password.

use std::error::Error;
use std::fmt;

use tokio_postgres::error::ErrorPosition;

/// Why something failed.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// The connection string or the certificate cannot be used.
    #[error("{0}")]
    Settings(String),
    /// The database cannot be reached, or the connection broke.
    #[error("{0}")]
    Connection(String),
    /// The database refused a statement.
    #[error("{0}")]
    Refused(Refusal),
}

/// What the database said about a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The SQLSTATE.
    pub code: String,
    /// The message.
    pub message: String,
    /// More about it.
    pub detail: Option<String>,
    /// What the database advises.
    pub hint: Option<String>,
    /// At which character of the statements it is, counted from 1.
    pub position: Option<usize>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.code, self.message)?;
        for more in [&self.detail, &self.hint].into_iter().flatten() {
            write!(formatter, " ({more})")?;
        }
        Ok(())
    }
}

impl From<tokio_postgres::Error> for PostgresError {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(said) = error.as_db_error() else {
            return Self::Connection(described(&error));
        };
        let position = said.position().and_then(|position| match position {
            ErrorPosition::Original(at) => usize::try_from(*at).ok(),
            ErrorPosition::Internal { .. } => None,
        });
        Self::Refused(Refusal {
            code: said.code().code().to_owned(),
            message: said.message().to_owned(),
            detail: said.detail().map(str::to_owned),
            hint: said.hint().map(str::to_owned),
            position,
        })
    }
}

/// An error with its sources, each once.
pub(crate) fn described(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
