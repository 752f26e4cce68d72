//! Which requests are sent again, and when. There is no clock and no sleep here.

use std::time::Duration;

use super::Safety;
use crate::error::Error;

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

    /// Decides whether a failed request is sent again, and after how long. Its
    /// [`outcome`](Error::outcome) decides whether it may be.
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
        if retries >= self.max_retries || !error.outcome().may_repeat(safety) {
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

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::error::ErrorKind;

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
