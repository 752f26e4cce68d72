//! Failed requests to the database: what to tell the operator, and what the engine does about them.

use std::error::Error as StdError;
use std::fmt;

use sluice_sdk::error::ErrorKind;
use sluice_sdk::query::Outcome;

use crate::engine::{GaveUp, Setback, StopReason, StorageError, Wait};

/// A request to the database that failed.
#[derive(Debug)]
pub struct DatabaseError {
    source: sluice_sdk::Error,
    /// Why a caller did not wait any longer.
    gave_up: Option<GaveUp>,
}

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.advice())
    }
}

impl StdError for DatabaseError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        // The message says already why there is no connection.
        let is_said = self.source.kind() == ErrorKind::Connect;
        if is_said { None } else { Some(&self.source) }
    }
}

impl From<sluice_sdk::Error> for DatabaseError {
    fn from(source: sluice_sdk::Error) -> Self {
        Self {
            source,
            gave_up: None,
        }
    }
}

impl DatabaseError {
    /// Whether a background job no longer belongs to this worker.
    pub fn is_job_lost(&self) -> bool {
        self.source.sqlstate() == Some("55000")
    }

    /// Whether the call may have been done although it failed.
    pub fn is_unknown(&self) -> bool {
        self.source.outcome() == Outcome::Unknown
    }

    /// Why the database was not waited for any longer, if that ended the request.
    pub fn gave_up(&self) -> Option<&GaveUp> {
        let inside = || self.source.gave_up()?.downcast_ref();
        self.gave_up.as_ref().or_else(inside)
    }

    /// Whether the statement ran too long, or waited too long for a lock.
    pub fn is_too_slow(&self) -> bool {
        self.source.is_statement_timeout()
    }

    /// Waits before the call is made again, as one of its callers decides.
    pub(crate) async fn outlast(self, wait: &mut Wait) -> Result<(), Self> {
        let setback = Setback {
            why: &self.source,
            asked: self.source.retry_after(),
            is_limit: false,
        };
        let paused = wait.pause(setback).await;
        paused.map_err(|gave_up| Self {
            gave_up: Some(gave_up),
            ..self
        })
    }

    /// The reason to stop a run that cannot go on after this error.
    pub fn into_reason(self) -> StopReason {
        match self.gave_up() {
            Some(GaveUp::ComeBack(why)) => StopReason::Outage(why.clone()),
            _ => StopReason::Database(self.to_string()),
        }
    }

    /// Whether a table or function does not exist.
    pub fn is_schema_missing(&self) -> bool {
        self.source.is_schema_missing()
    }

    /// Whether the database refuses the arguments.
    pub fn is_refused(&self) -> bool {
        self.source.sqlstate() == Some("22023")
    }

    /// Whether the run was stopped while it waited for the database.
    pub fn is_stopped(&self) -> bool {
        matches!(self.gave_up(), Some(GaveUp::Stopped(_)))
    }

    /// Whether the database asks for a longer pause than the patience.
    pub fn is_to_come_back(&self) -> bool {
        matches!(self.gave_up(), Some(GaveUp::ComeBack(_)))
    }

    /// Whether the key may not do this. The secret key may do everything, so this is no row's fault.
    pub fn is_key_refused(&self) -> bool {
        self.source.is_permission_denied() || self.source.is_unauthorized()
    }

    /// The error, with what to do about it if that is known.
    fn advice(&self) -> String {
        let error = &self.source;
        match self.gave_up() {
            Some(gave_up @ (GaveUp::Over(_) | GaveUp::Stopped(_))) if error.is_unreachable() => {
                return format!("the database cannot be reached: {gave_up}");
            }
            Some(gave_up) => return gave_up.to_string(),
            None => {}
        }
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
        let is_coded = error.pgrst_code().is_some() || error.sqlstate().is_some();
        if error.status().is_some_and(|status| status == 404) && !is_coded {
            return format!(
                "something else than the project's API answers at this address ({error}); check SUPABASE_URL \
                 (`sluice doctor` says what answers)"
            );
        }
        error.to_string()
    }
}

impl From<DatabaseError> for StorageError {
    fn from(error: DatabaseError) -> Self {
        let (source, text) = (&error.source, error.to_string());
        if error.gave_up().is_some() {
            Self::GaveUp(error.into_reason())
        } else if error.is_key_refused() {
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
