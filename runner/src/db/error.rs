//! Failed requests to the database: what to tell the operator, and what the engine does about them.

use sluice_sdk::{Outcome, WriteReport};

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
    /// Fails if the key may not write. The secret key may write every row, so no row is at fault.
    pub(crate) fn check_key(report: &WriteReport) -> Result<(), Self> {
        let errors = report.failed.iter().map(|failure| failure.error.clone());
        let mut errors = errors.map(Self::from);
        errors.find(Self::is_key_refused).map_or(Ok(()), Err)
    }

    /// Whether a background job no longer belongs to this worker.
    pub fn is_job_lost(&self) -> bool {
        self.source.sqlstate() == Some("55000")
    }

    /// Whether the same call may succeed later, or has succeeded without our knowing: an outage, a lost response, or a
    /// lock that was waited for too long.
    pub fn is_passing(&self) -> bool {
        self.source.is_retryable() && !self.source.is_statement_timeout()
    }

    /// Whether a table or function does not exist.
    pub fn is_schema_missing(&self) -> bool {
        self.source.is_schema_missing()
    }

    /// Whether the database refuses the arguments.
    pub fn is_refused(&self) -> bool {
        self.source.sqlstate() == Some("22023")
    }

    /// Whether the key may not do this. The secret key may do everything, so this is no row's fault.
    pub fn is_key_refused(&self) -> bool {
        self.source.is_permission_denied() || self.source.is_unauthorized()
    }

    /// The error, with what to do about it if that is known.
    fn advice(&self) -> String {
        let error = &self.source;
        if error.is_schema_missing() {
            return format!(
                "the database lacks what this version of sluice needs ({error}); \
                 apply the migrations: `sluice schema apply --db-url URL`, or `sluice schema migrations && supabase db \
                 push`"
            );
        }
        if error.is_unreachable() {
            return format!("the database cannot be reached: {error}");
        }
        if self.is_key_refused() {
            let cure = match error.pgrst_code() {
                Some("PGRST301") => {
                    "the key is not whole, or that of another project; copy it again into \
                     SUPABASE_SERVICE_KEY"
                }
                Some("PGRST303") => "the key has expired, or the clock of this machine is wrong",
                _ => {
                    "this is not the secret key: SUPABASE_SERVICE_KEY must be the project's secret (service role) key"
                }
            };
            return format!(
                "the database refuses the key: {error}; {cure} (`sluice doctor` says more)"
            );
        }
        error.to_string()
    }
}

impl From<DatabaseError> for StorageError {
    fn from(error: DatabaseError) -> Self {
        let (source, text) = (&error.source, error.to_string());
        if error.is_key_refused() {
            Self::Refused(text)
        } else if source.is_statement_timeout() {
            Self::TooSlow(text)
        } else if source.is_payload_too_large() {
            Self::TooLarge(text)
        } else if source.outcome() != Outcome::Refused {
            Self::Outage(text)
        } else if source.is_data_error() {
            Self::Row(text)
        } else {
            Self::Refused(text)
        }
    }
}
