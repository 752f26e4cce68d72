//! The questions that an [`Error`] answers, from its kind, status and code.

use http::StatusCode;

use super::{Error, ErrorKind};

impl Error {
    /// Returns the SQLSTATE, if Postgres (and not PostgREST) refused.
    pub fn sqlstate(&self) -> Option<&str> {
        self.code().filter(|code| code.len() == 5)
    }

    /// Returns the `PGRSTnnn` code, if PostgREST itself refused.
    pub fn pgrst_code(&self) -> Option<&str> {
        self.code().filter(|code| code.starts_with("PGRST"))
    }

    /// Whether the unique constraint `name` was violated (SQLSTATE 23505).
    pub fn is_unique_violation(&self, name: &str) -> bool {
        self.code() == Some("23505") && self.constraint() == Some(name)
    }

    /// Whether a foreign key was violated (SQLSTATE 23503).
    pub fn is_foreign_key_violation(&self) -> bool {
        self.code() == Some("23503")
    }

    /// Returns the name of the violated constraint. Postgres names it only in its message.
    pub fn constraint(&self) -> Option<&str> {
        if !self.sqlstate()?.starts_with("23") {
            return None;
        }
        // `… constraint "name"`, and for a foreign key seen from the other side `… on table "t"`.
        let (_, rest) = self.message().split_once("constraint \"")?;
        rest.split_once('"').map(|(name, _)| name)
    }

    /// Whether no row matched, and exactly one was required.
    ///
    /// For a missing table or function see [`is_schema_missing`](Self::is_schema_missing).
    pub fn is_not_found(&self) -> bool {
        self.code() == Some("PGRST116") && self.row_count() == Some(0)
    }

    /// Whether the number of rows was not the required one.
    pub fn is_row_count(&self) -> bool {
        self.kind() == ErrorKind::RowCount || self.code() == Some("PGRST116")
    }

    /// Whether the same call may succeed later.
    ///
    /// This says nothing about safety. A write whose outcome is unknown counts as retryable, but
    /// the client repeats it only if it is idempotent.
    pub fn is_retryable(&self) -> bool {
        match self.kind() {
            ErrorKind::Connect | ErrorKind::Interrupted | ErrorKind::Timeout => true,
            ErrorKind::Gateway => self.status().is_some_and(|status| {
                status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
            }),
            ErrorKind::Api => {
                self.is_unreachable() || self.is_rolled_back() || self.is_statement_timeout()
            }
            ErrorKind::Invalid | ErrorKind::Decode | ErrorKind::RowCount => false,
        }
    }

    /// Whether a table, column, function or relationship does not exist: the migrations are
    /// missing, or PostgREST's schema cache is older than they are.
    pub fn is_schema_missing(&self) -> bool {
        matches!(
            self.code(),
            Some(
                "PGRST200"
                    | "PGRST202"
                    | "PGRST204"
                    | "PGRST205"
                    | "42P01"
                    | "42703"
                    | "42883"
                    | "42704"
                    | "3F000"
                    | "PGRST106"
            )
        )
    }

    /// Whether the database cannot be reached: no connection to the API, or none from the API to
    /// Postgres (PGRST000 to PGRST003, or a 502, 503 or 504).
    pub fn is_unreachable(&self) -> bool {
        self.kind() == ErrorKind::Connect
            || matches!(
                self.code(),
                Some(
                    "PGRST000"
                        | "PGRST001"
                        | "PGRST002"
                        | "PGRST003"
                        | "53300"
                        | "57P01"
                        | "57P02"
                        | "57P03"
                )
            )
            || (self.code().is_none()
                && matches!(self.status().map(|status| status.as_u16()), Some(502..=504)))
    }

    /// Whether Postgres cancelled the statement because it ran too long (SQLSTATE 57014). A smaller
    /// call may succeed.
    pub fn is_statement_timeout(&self) -> bool {
        self.code() == Some("57014")
    }

    /// Whether the request's body was too large for the server or a gateway (413).
    pub fn is_payload_too_large(&self) -> bool {
        self.status() == Some(StatusCode::PAYLOAD_TOO_LARGE)
    }

    /// Whether Postgres rolled the transaction back, so that it can be run again (40001, 40P01).
    pub fn is_rolled_back(&self) -> bool {
        matches!(self.code(), Some("40001" | "40P01"))
    }

    /// Whether the role lacks the right to do this (SQLSTATE 42501).
    pub fn is_permission_denied(&self) -> bool {
        self.code() == Some("42501")
    }

    /// Whether the key or the user's token was refused: malformed, expired or absent.
    pub fn is_unauthorized(&self) -> bool {
        self.pgrst_code()
            .is_some_and(|code| code.starts_with("PGRST3"))
            || (self.code().is_none()
                && matches!(self.status().map(|status| status.as_u16()), Some(401 | 403)))
    }

    /// Whether the data of a row is at fault: a value that does not fit its type, a violated
    /// constraint, a trigger that raised, a row that row-level security refuses.
    pub fn is_data_error(&self) -> bool {
        match self.code() {
            Some("PGRST102" | "21000") => true,
            Some("42501") => self
                .message()
                .starts_with("new row violates row-level security"),
            Some(code) if code.len() == 5 => {
                code.starts_with("22") || code.starts_with("23") || code.starts_with("P0")
            }
            _ => false,
        }
    }

    /// The number of rows that a PGRST116 found.
    fn row_count(&self) -> Option<u64> {
        let (_, rest) = self.details()?.split_once("contains ")?;
        rest.split(' ').next()?.parse().ok()
    }
}
