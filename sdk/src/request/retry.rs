//! Which requests are sent again, and when. There is no clock and no sleep here.

use std::time::Duration;

use super::Safety;
use crate::error::{Error, ErrorKind};

/// How often and how soon a request is sent again.
///
/// The wait before retry n is random, between half of `base · 2ⁿ` and all of it, and at most `cap`.
/// So clients that failed together do not return together. A `Retry-After` from the server is the
/// minimum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// How many times a request is sent again at most.
    pub max_retries: u32,
    /// The first wait.
    pub base: Duration,
    /// The longest wait.
    pub cap: Duration,
}

/// Four retries, with waits from 200 ms to 10 s.
impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_retries: 4,
            base: Duration::from_millis(200),
            cap: Duration::from_secs(10),
        }
    }
}

impl RetryPolicy {
    /// Never sends a request again.
    pub const fn never() -> Self {
        Self {
            max_retries: 0,
            base: Duration::ZERO,
            cap: Duration::ZERO,
        }
    }

    /// Sends a request again at most `max_retries` times.
    #[must_use]
    pub const fn max_retries(mut self, max_retries: u32) -> Self {
        self.max_retries = max_retries;
        self
    }

    /// Waits `base` before the first retry, and twice as long before each further one.
    #[must_use]
    pub const fn base(mut self, base: Duration) -> Self {
        self.base = base;
        self
    }

    /// Waits `cap` at most, unless the server asks for more.
    #[must_use]
    pub const fn cap(mut self, cap: Duration) -> Self {
        self.cap = cap;
        self
    }

    /// Decides whether a failed request is sent again, and after how long.
    ///
    /// `retries` counts the retries so far. `random` is a number from 0 to 1.
    #[must_use]
    pub fn wait(
        &self,
        error: &Error,
        safety: Safety,
        retries: u32,
        random: f64,
    ) -> Option<Duration> {
        if retries >= self.max_retries || !may_repeat(error, safety) {
            return None;
        }
        let doubled = self
            .base
            .saturating_mul(2_u32.saturating_pow(retries))
            .min(self.cap);
        let jittered = doubled.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0);
        Some(jittered.max(error.retry_after().unwrap_or_default()))
    }
}

/// Whether the same request may be sent again.
///
/// | failure | read | idempotent write | other write |
/// | --- | --- | --- | --- |
/// | no connection made; PGRST000, 002, 003; 503; rolled back by Postgres (40001, 40P01) | yes | yes | yes |
/// | outcome unknown: connection or deadline lost, PGRST001, 502, 504 | yes | yes | no |
/// | anything else | no | no | no |
pub(crate) fn may_repeat(error: &Error, safety: Safety) -> bool {
    match certainty(error) {
        Some(Outcome::DidNothing) => true,
        Some(Outcome::Unknown) => safety != Safety::Write,
        None => false,
    }
}

/// What happened to the statement of a request that failed.
enum Outcome {
    DidNothing,
    Unknown,
}

/// What happened to the statement, or `None` if the request would fail again.
fn certainty(error: &Error) -> Option<Outcome> {
    match error.kind() {
        ErrorKind::Connect => Some(Outcome::DidNothing),
        ErrorKind::Interrupted | ErrorKind::Timeout => Some(Outcome::Unknown),
        ErrorKind::Invalid | ErrorKind::Decode | ErrorKind::RowCount => None,
        ErrorKind::Api | ErrorKind::Gateway => match (error.code(), error.status()?.as_u16()) {
            (Some("PGRST000" | "PGRST002" | "PGRST003" | "40001" | "40P01" | "53300"), _)
            | (None, 429 | 503) => Some(Outcome::DidNothing),
            (Some("PGRST001" | "57P01" | "57P02" | "57P03"), _) | (None, 502 | 504) => {
                Some(Outcome::Unknown)
            }
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn api(status: u16, code: &str) -> Error {
        let status = StatusCode::from_u16(status).unwrap();
        Error::new(ErrorKind::Api, "x")
            .with_status(status)
            .with_code(code)
    }

    fn gateway(status: u16) -> Error {
        Error::new(ErrorKind::Gateway, "x").with_status(StatusCode::from_u16(status).unwrap())
    }

    /// The table of the documentation, a line a failure: read, idempotent, write.
    #[test]
    fn the_table() {
        let rows = [
            (Error::new(ErrorKind::Connect, "x"), [true, true, true]),
            (api(503, "PGRST000"), [true, true, true]),
            (api(503, "PGRST001"), [true, true, false]),
            (api(503, "PGRST002"), [true, true, true]),
            (api(504, "PGRST003"), [true, true, true]),
            (gateway(503), [true, true, true]),
            (gateway(502), [true, true, false]),
            (gateway(504), [true, true, false]),
            (api(409, "40001"), [true, true, true]),
            (api(409, "40P01"), [true, true, true]),
            (api(500, "57014"), [false, false, false]),
            (gateway(413), [false, false, false]),
            (Error::new(ErrorKind::Interrupted, "x"), [true, true, false]),
            (Error::new(ErrorKind::Timeout, "x"), [true, true, false]),
            (api(409, "23505"), [false, false, false]),
            (gateway(500), [false, false, false]),
            (Error::invalid("x"), [false, false, false]),
        ];
        for (error, expected) in rows {
            let actual = [Safety::Read, Safety::Idempotent, Safety::Write]
                .map(|safety| may_repeat(&error, safety));
            assert_eq!(actual, expected, "{error:?}");
        }
    }

    #[test]
    fn the_wait_doubles_up_to_the_cap() {
        let policy = RetryPolicy::default();
        let error = Error::new(ErrorKind::Connect, "x");
        let wait = |retries, random| policy.wait(&error, Safety::Write, retries, random);
        assert_eq!(wait(0, 0.0), Some(Duration::from_millis(100)));
        assert_eq!(wait(0, 1.0), Some(Duration::from_millis(200)));
        assert_eq!(wait(3, 1.0), Some(Duration::from_millis(1600)));
        assert_eq!(wait(4, 1.0), None);
        let patient = policy.max_retries(100);
        assert_eq!(
            patient.wait(&error, Safety::Read, 60, 1.0),
            Some(Duration::from_secs(10))
        );
    }

    #[test]
    fn retry_after_is_the_minimum_wait() {
        let mut headers = http::HeaderMap::new();
        headers.insert("retry-after", "7".parse().unwrap());
        let body = bytes::Bytes::from_static(br#"{"code":"PGRST002","message":"loading"}"#);
        let error = crate::error::api_error(StatusCode::SERVICE_UNAVAILABLE, &headers, &body);
        let wait = RetryPolicy::default().wait(&error, Safety::Write, 0, 0.5);
        assert_eq!(wait, Some(Duration::from_secs(7)));
    }
}
