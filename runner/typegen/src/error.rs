//! Why types could not be made.

use sluice_postgres::PostgresError;

/// Why types could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TypegenError {
    /// The connection string or the certificate cannot be used.
    #[error("{0}")]
    Settings(String),
    /// The database cannot be reached, or refuses the query.
    #[error("failed to read the database's catalog: {0}")]
    Database(String),
    /// A requested schema does not exist.
    #[error("the database has no schema `{0}`; pass --schema with one that exists")]
    UnknownSchema(String),
    /// An option names something that does not exist.
    #[error("an option names `{0}`, but nothing that would be written has that name")]
    UnknownName(String),
}

impl From<PostgresError> for TypegenError {
    fn from(error: PostgresError) -> Self {
        match error {
            PostgresError::Settings(message) => Self::Settings(message),
            error => Self::Database(error.to_string()),
        }
    }
}
