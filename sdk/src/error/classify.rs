//! The questions that an [`Error`] answers, from its kind, status and code. Those about what the
//! request did are in `request::outcome`.

use http::StatusCode;

use super::{Error, ErrorKind};

impl Error {
    /// Returns the SQLSTATE, if Postgres (and not PostgREST) refused.
    pub fn sqlstate(&self) -> Option<&str> {
        let is_one = |code: &&str| {
            let of_these = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_uppercase();
            code.len() == 5 && code.bytes().all(of_these)
        };
        self.code().filter(is_one)
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
        self.is_row_count() && self.row_count() == Some(0)
    }

    /// Whether the number of rows was not the required one.
    pub fn is_row_count(&self) -> bool {
        self.kind() == ErrorKind::RowCount || self.code() == Some("PGRST116")
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

    /// Whether the request's body was too large for the server or a gateway (413).
    pub fn is_payload_too_large(&self) -> bool {
        self.status() == Some(StatusCode::PAYLOAD_TOO_LARGE)
    }

    /// Whether the role lacks the right to do this (SQLSTATE 42501).
    pub fn is_permission_denied(&self) -> bool {
        self.code() == Some("42501")
    }

    /// Whether the key or the user's token was refused: malformed, expired or absent.
    pub fn is_unauthorized(&self) -> bool {
        match self.pgrst_code().or(self.sqlstate()) {
            Some(code) => code.starts_with("PGRST3"),
            // A gateway's answer.
            None => matches!(
                self.status(),
                Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
            ),
        }
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

    /// Whether the server did not say how many rows it found instead of one. PostgREST 16 can leave out
    /// the details of its errors.
    pub(crate) fn lacks_row_count(&self) -> bool {
        self.code() == Some("PGRST116") && self.row_count().is_none()
    }

    /// The number of rows that a PGRST116 found.
    fn row_count(&self) -> Option<u64> {
        let said = self.details().and_then(|details| {
            let (_, rest) = details.split_once("contains ")?;
            rest.split(' ').next()?.parse().ok()
        });
        said.or(self.inner.rows_found)
    }
}
