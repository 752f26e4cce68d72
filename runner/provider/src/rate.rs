//! What a response's headers say about the limits: what is left, when it is whole again, how long to
//! wait.

use std::time::Duration;

use jiff::{Timestamp, fmt::rfc2822};
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

/// The state of the limits when the provider responded. Each part may be absent: some servers send
/// none of these headers, others send `-1`.
///
/// Source: "Rate limits", "Rate limits in headers".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateHeaders {
    /// Requests allowed a minute.
    pub limit_requests: Option<u32>,
    /// Requests that may still be sent now.
    pub remaining_requests: Option<u32>,
    /// Time until the full number of requests may be sent again.
    pub reset_requests: Option<Duration>,
    /// Tokens allowed a minute.
    pub limit_tokens: Option<u32>,
    /// Tokens that may still be sent now.
    pub remaining_tokens: Option<u32>,
    /// Time until the full number of tokens may be sent again.
    pub reset_tokens: Option<Duration>,
}

impl RateHeaders {
    /// Reads `x-ratelimit-{limit,remaining,reset}-{requests,tokens}`. What is absent or unreadable is
    /// `None`.
    pub fn read(headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        // `-1` means "unknown", and it does not parse as an unsigned number.
        let count = |name: &str| {
            let count: u64 = text(name)?.trim().parse().ok()?;
            Some(u32::try_from(count).unwrap_or(u32::MAX))
        };
        let span = |name: &str| text(name).and_then(parse_span);
        Self {
            limit_requests: count("x-ratelimit-limit-requests"),
            remaining_requests: count("x-ratelimit-remaining-requests"),
            reset_requests: span("x-ratelimit-reset-requests"),
            limit_tokens: count("x-ratelimit-limit-tokens"),
            remaining_tokens: count("x-ratelimit-remaining-tokens"),
            reset_tokens: span("x-ratelimit-reset-tokens"),
        }
    }
}

/// How long the server asks to wait: `retry-after-ms`, else `Retry-After` in seconds or as a date.
///
/// A date counts from the server's own `Date`, so that a wrong clock here cannot stretch it. It counts
/// from `now` only if there is no such header.
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    if let Some(wait) = text("retry-after-ms").and_then(|ms| milliseconds(ms.parse().ok()?)) {
        return Some(wait);
    }
    let value = text(RETRY_AFTER.as_str())?;
    if let Ok(seconds) = value.parse::<f64>() {
        return milliseconds(seconds * 1000.0);
    }
    let now = text(DATE.as_str()).and_then(timestamp).unwrap_or(now);
    let wait = timestamp(value)?.duration_since(now);
    // A date in the past means no wait at all.
    Some(wait.try_into().unwrap_or(Duration::ZERO))
}

/// Reads spans such as `1s`, `6m0s`, `20ms`, `1h2m` and `1m26.4s`.
fn parse_span(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail
            .find(|c: char| !c.is_alphabetic())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let seconds = number.parse::<f64>().ok()? * unit_seconds(unit)?;
        total = total.checked_add(Duration::try_from_secs_f64(seconds).ok()?)?;
        rest = tail;
    }
    Some(total)
}

fn unit_seconds(unit: &str) -> Option<f64> {
    Some(match unit {
        "d" => 86_400.0,
        "h" => 3_600.0,
        "m" => 60.0,
        "s" => 1.0,
        "ms" => 1e-3,
        "us" | "µs" => 1e-6,
        "ns" => 1e-9,
        _ => return None,
    })
}

fn milliseconds(ms: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(ms / 1000.0).ok()
}

fn timestamp(date: &str) -> Option<Timestamp> {
    rfc2822::parse(date).ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn spans_of_all_shapes_are_read() {
        for (text, ms) in [
            ("1s", 1000),
            ("6m0s", 360_000),
            ("20ms", 20),
            ("1h2m", 3_720_000),
            ("1m26.4s", 86_400),
            ("0s", 0),
            ("1d", 86_400_000),
            (" 7.66s ", 7660),
        ] {
            assert_eq!(parse_span(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for text in [
            "",
            "-1",
            "s",
            "5",
            "1.2.3s",
            "1 s",
            "3 weeks",
            "99999999999999999999s",
            "1sm",
        ] {
            assert_eq!(parse_span(text), None, "{text}");
        }
    }

    #[test]
    fn absent_and_minus_one_are_unknown() {
        assert_eq!(RateHeaders::read(&HeaderMap::new()), RateHeaders::default());
        let azure = headers(&[
            ("x-ratelimit-limit-requests", "-1"),
            ("x-ratelimit-remaining-tokens", "-1"),
            ("x-ratelimit-reset-tokens", "-1"),
        ]);
        assert_eq!(RateHeaders::read(&azure), RateHeaders::default());
    }

    #[test]
    fn every_header_reaches_its_field() {
        let read = RateHeaders::read(&headers(&[
            ("x-ratelimit-limit-requests", "3000"),
            ("x-ratelimit-limit-tokens", "1000000"),
            ("x-ratelimit-remaining-requests", "2999"),
            ("x-ratelimit-remaining-tokens", "999990"),
            ("x-ratelimit-reset-requests", "20ms"),
            ("x-ratelimit-reset-tokens", "6m0s"),
        ]));
        let expected = RateHeaders {
            limit_requests: Some(3000),
            remaining_requests: Some(2999),
            reset_requests: Some(Duration::from_millis(20)),
            limit_tokens: Some(1_000_000),
            remaining_tokens: Some(999_990),
            reset_tokens: Some(Duration::from_mins(6)),
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn milliseconds_win_over_whole_seconds() {
        let now = Timestamp::UNIX_EPOCH;
        let both = headers(&[("retry-after", "1"), ("retry-after-ms", "350")]);
        assert_eq!(retry_after(&both, now), Some(Duration::from_millis(350)));
        let seconds = headers(&[("retry-after", "20")]);
        assert_eq!(retry_after(&seconds, now), Some(Duration::from_secs(20)));
        for unreadable in ["-3", "NaN", "soon", "inf"] {
            assert_eq!(
                retry_after(&headers(&[("retry-after", unreadable)]), now),
                None
            );
        }
    }

    #[test]
    fn a_date_counts_from_the_servers_own_clock() {
        let now = Timestamp::UNIX_EPOCH;
        let dated = headers(&[
            ("date", "Wed, 21 Oct 2015 07:28:00 GMT"),
            ("retry-after", "Wed, 21 Oct 2015 07:28:30 GMT"),
        ]);
        assert_eq!(retry_after(&dated, now), Some(Duration::from_secs(30)));
        let undated = headers(&[("retry-after", "Thu, 01 Jan 1970 00:01:00 GMT")]);
        assert_eq!(retry_after(&undated, now), Some(Duration::from_mins(1)));
        let passed = headers(&[("retry-after", "Wed, 31 Dec 1969 23:59:00 GMT")]);
        assert_eq!(retry_after(&passed, now), Some(Duration::ZERO));
    }
}
