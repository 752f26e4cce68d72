//! What a failed request did. Retries, bulk writes and callers all decide by this one table.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::Safety;
use crate::error::{Error, ErrorKind, api_error};

/// What a failed request did to the database, and so whether it may be sent again.
///
/// | failure | outcome |
/// | --- | --- |
/// | no connection made; PGRST000, 002, 003; 53300 | did nothing |
/// | rolled back by Postgres, so that it can run again: 40001, 40P01, 55P03 | did nothing |
/// | 521, 523, 525, 526, 530 without a code: the gateway made no connection | did nothing |
/// | 429 without a code, with `Retry-After` | did nothing |
/// | connection or deadline lost; PGRST001; 57P01 to 57P03; SQLSTATE 08xxx | unknown |
/// | 502, 503, 504, 520, 522, 524 and other 5xx without a code; 408 and 429 without a code | unknown |
/// | everything else, 540 (project paused) and 57014 (statement timeout) too | refused |
///
/// A code is one of PostgREST's or a SQLSTATE. Without it, a gateway responded in place of
/// PostgREST. It may say 503 *after* the statement ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The statement did not run, or it was rolled back. The request may be sent again, writes too.
    DidNothing,
    /// The statement may have run. Only a read or an idempotent write may be sent again.
    Unknown,
    /// The request would fail again. It changed nothing, unless it succeeded and only its response
    /// could not be read ([`ErrorKind::Decode`]).
    Refused,
}

impl Outcome {
    /// Whether the same request may be sent again.
    pub fn may_repeat(self, safety: Safety) -> bool {
        match self {
            Self::DidNothing => true,
            Self::Unknown => safety.is_repeatable(),
            Self::Refused => false,
        }
    }
}

/// Why a request failed, as far as somebody who may send it again must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The request did not reach a database that is ready.
    Unreached,
    /// A gateway refused it for now, and says when to come back.
    Throttled,
    /// Postgres rolled it back because of another transaction.
    RolledBack,
    /// The response was lost on its way.
    Lost,
    /// A gateway waited for the response, and gave up. A smaller request may be fast enough.
    GaveUp,
    /// The statement ran too long, or waited too long for a lock.
    Slow,
    /// The project is paused.
    Paused,
    /// Anything else.
    Refused,
}

impl Cause {
    /// The table.
    pub(crate) fn of(
        kind: ErrorKind,
        status: Option<u16>,
        code: Option<&str>,
        retry_after: Option<Duration>,
    ) -> Self {
        match kind {
            ErrorKind::Connect | ErrorKind::Token => return Self::Unreached,
            ErrorKind::Interrupted | ErrorKind::Timeout => return Self::Lost,
            ErrorKind::Invalid | ErrorKind::Decode | ErrorKind::RowCount | ErrorKind::Truncated => {
                return Self::Refused;
            }
            ErrorKind::Api | ErrorKind::Gateway => {}
        }
        match (code, status.unwrap_or_default()) {
            (Some("PGRST000" | "PGRST002" | "PGRST003" | "53300"), _)
            | (None, 521 | 523 | 525 | 526 | 530) => Self::Unreached,
            (Some("40001" | "40P01" | "55P03"), _) => Self::RolledBack,
            (Some("57014"), _) => Self::Slow,
            (Some("PGRST001" | "57P01" | "57P02" | "57P03"), _) => Self::Lost,
            (Some(code), _) if code.len() == 5 && code.starts_with("08") => Self::Lost,
            (Some(_), _) | (None, 501 | 505) => Self::Refused,
            (None, 429) if retry_after.is_some() => Self::Throttled,
            (None, 502 | 504 | 520 | 524) => Self::GaveUp,
            (None, 540) => Self::Paused,
            (None, 408 | 429 | 500..=599) => Self::Lost,
            (None, _) => Self::Refused,
        }
    }

    fn outcome(self) -> Outcome {
        match self {
            Self::Unreached | Self::Throttled | Self::RolledBack => Outcome::DidNothing,
            Self::Lost | Self::GaveUp => Outcome::Unknown,
            Self::Slow | Self::Paused | Self::Refused => Outcome::Refused,
        }
    }
}

/// The questions whose answer depends on the table.
impl Error {
    pub(crate) fn cause(&self) -> Cause {
        let status = self.status().map(|status| status.as_u16());
        let code = self.pgrst_code().or(self.sqlstate());
        Cause::of(self.kind(), status, code, self.retry_after())
    }

    /// What the request did.
    pub fn outcome(&self) -> Outcome {
        self.cause().outcome()
    }

    /// Whether the same call may succeed later, and may be made again.
    ///
    /// A call whose [`outcome`](Self::outcome) is unknown may be made again if it reads or is
    /// idempotent. If the error names no call, it counts as a write that is not: see
    /// [`Call::failed`](crate::query::Call::failed). A statement timeout is retryable, because the
    /// statement may have waited for a lock.
    pub fn is_retryable(&self) -> bool {
        match self.outcome() {
            Outcome::DidNothing => true,
            Outcome::Unknown => self.is_repeatable(),
            Outcome::Refused => self.is_statement_timeout(),
        }
    }

    /// Whether the database cannot be reached: no connection to the API or from the API to
    /// Postgres, no response, or one from a gateway that had none.
    pub fn is_unreachable(&self) -> bool {
        matches!(self.cause(), Cause::Unreached | Cause::Lost | Cause::GaveUp)
    }

    /// Whether Postgres cancelled the statement because it ran too long (SQLSTATE 57014). It did
    /// too much work, and a smaller call may succeed. Or it waited for a lock, and the same call may
    /// succeed later.
    pub fn is_statement_timeout(&self) -> bool {
        self.cause() == Cause::Slow
    }

    /// Whether Postgres rolled the transaction back because of another one, so that it can be run
    /// again: a conflict (40001), a deadlock (40P01) or a lock that was not available (55P03).
    pub fn is_rolled_back(&self) -> bool {
        self.cause() == Cause::RolledBack
    }

    /// Whether the Supabase project is paused (540). Its owner restores it in the dashboard.
    pub fn is_paused(&self) -> bool {
        self.cause() == Cause::Paused
    }
}

/// Reads a response whose status is not a success, and adds the way out if there is one.
pub(crate) fn read_error(status: StatusCode, headers: &HeaderMap, body: &Bytes) -> Error {
    let error = api_error(status, headers, body);
    if error.is_paused() {
        error.with_message("the Supabase project is paused; restore it in the dashboard")
    } else if status == StatusCode::URI_TOO_LONG {
        error.with_hint(LONG_LIST)
    } else {
        error
    }
}

/// The way out of a URL that is too long.
pub(crate) const LONG_LIST: &str = "use `filter_in` for a long list: it splits the list";

#[cfg(test)]
mod tests {
    use super::*;

    use ErrorKind::{Api, Connect, Decode, Gateway, Interrupted, Invalid, RowCount, Timeout};
    use Outcome::{DidNothing, Refused, Unknown};

    fn of(kind: ErrorKind, status: u16, code: Option<&str>) -> Outcome {
        Cause::of(kind, Some(status), code, None).outcome()
    }

    /// Every answer of "Who answered, and what that tells", and its neighbors.
    #[test]
    fn the_table() {
        let coded = [
            (503, "PGRST000", DidNothing),
            (503, "PGRST001", Unknown),
            (503, "PGRST002", DidNothing),
            (504, "PGRST003", DidNothing),
            (500, "53300", DidNothing),
            (409, "40001", DidNothing),
            (500, "40P01", DidNothing),
            (500, "55P03", DidNothing),
            (503, "57P01", Unknown),
            (503, "57P02", Unknown),
            (503, "57P03", Unknown),
            (503, "08000", Unknown),
            (503, "08006", Unknown),
            (500, "57014", Refused),
            (401, "42501", Refused),
            (401, "PGRST301", Refused),
            (409, "23505", Refused),
            (400, "22P02", Refused),
            (404, "PGRST205", Refused),
            (404, "42P01", Refused),
            (503, "XX000", Refused),
            (416, "PGRST103", Refused),
        ];
        for (status, code, expected) in coded {
            assert_eq!(of(Api, status, Some(code)), expected, "{status} {code}");
        }
        for (expected, statuses) in [
            (DidNothing, &[521, 523, 525, 526, 530][..]),
            (Unknown, &[500, 502, 503, 504, 520, 522, 524, 408, 429, 599]),
            (Refused, &[540, 501, 505, 400, 401, 403, 404, 413, 414, 302]),
        ] {
            for &status in statuses {
                // A gateway may send an empty body, a page, or JSON of its own.
                assert_eq!(of(Gateway, status, None), expected, "{status}");
                assert_eq!(of(Api, status, None), expected, "{status}");
            }
        }
        let with_a_wait = Some(Duration::from_secs(1));
        let throttled = Cause::of(Gateway, Some(429), None, with_a_wait);
        assert_eq!(throttled.outcome(), DidNothing);
        let unavailable = Cause::of(Gateway, Some(503), None, with_a_wait);
        assert_eq!(unavailable.outcome(), Unknown);
        for (kind, expected) in [
            (Connect, DidNothing),
            (Interrupted, Unknown),
            (Timeout, Unknown),
            (Invalid, Refused),
            (Decode, Refused),
            (RowCount, Refused),
        ] {
            assert_eq!(Cause::of(kind, None, None, None).outcome(), expected);
        }
    }

    #[test]
    fn only_an_unknown_outcome_depends_on_the_request() {
        for (outcome, expected) in [
            (DidNothing, [true, true, true]),
            (Unknown, [true, true, false]),
            (Refused, [false, false, false]),
        ] {
            let all = [Safety::Read, Safety::Idempotent, Safety::Write];
            assert_eq!(all.map(|safety| outcome.may_repeat(safety)), expected);
        }
    }

    /// A gateway's JSON may have a code of its own.
    #[test]
    fn a_code_of_neither_postgrest_nor_postgres_says_nothing() {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        for code in ["SERVICE_UNAVAILABLE", "oops!", "abcde"] {
            let error = Error::new(Api, "x").with_status(status).with_code(code);
            assert_eq!(error.outcome(), Unknown, "{code}");
        }
    }
}
