//! Failed requests to the database: what to tell the operator, and what the engine does about them.

use crate::engine::StorageError;

/// A request to the database that failed.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.advice())]
pub struct DatabaseError {
    source: sluice_sdk::Error,
}

impl From<sluice_sdk::Error> for DatabaseError {
    fn from(source: sluice_sdk::Error) -> Self {
        Self { source }
    }
}

impl DatabaseError {
    /// Whether a background job no longer belongs to this worker.
    pub fn is_job_lost(&self) -> bool {
        self.source.sqlstate() == Some("55000")
    }

    /// Whether the database refuses the arguments.
    pub fn is_refused(&self) -> bool {
        self.source.sqlstate() == Some("22023")
    }

    /// The error, with what to do about it if that is known.
    fn advice(&self) -> String {
        let error = &self.source;
        if error.is_schema_missing() {
            return format!(
                "the database lacks what this version of sluice needs ({error}); \
                 apply the migrations: `sluice schema migrations && supabase db push`"
            );
        }
        if error.is_unreachable() {
            return format!("the database cannot be reached: {error}");
        }
        if error.is_unauthorized() {
            return format!(
                "the database refuses the key: {error}; \
                 SUPABASE_SERVICE_KEY must be the project's secret (service role) key"
            );
        }
        error.to_string()
    }
}

impl From<DatabaseError> for StorageError {
    fn from(error: DatabaseError) -> Self {
        let source = &error.source;
        if source.is_statement_timeout() || source.is_payload_too_large() {
            Self::TooLarge(error.to_string())
        } else if source.is_unreachable() || source.is_retryable() {
            Self::Outage(error.to_string())
        } else if source.is_schema_missing() || source.is_unauthorized() {
            Self::Refused(error.to_string())
        } else if source.is_data_error() {
            Self::Row(error.to_string())
        } else {
            Self::Refused(error.to_string())
        }
    }
}
