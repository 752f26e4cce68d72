//! A model's limits: who is let through, who has to wait, and what the headers say.

use std::time::Duration;

use super::{Limits, bucket::Bucket};

/// How long a request may be on its way. One that arrives this soon after a Retry-After was sent out
/// was sent before it could be read.
const ON_ITS_WAY: Duration = Duration::from_millis(100);

/// The state of a model's limits. Times are counted from the start of the server.
#[derive(Debug)]
pub(super) struct Meter {
    requests: Option<(u64, Bucket)>,
    tokens: Option<(u64, Bucket)>,
    told: Option<Told>,
}

/// Someone was told to stay away.
#[derive(Clone, Copy, Debug)]
struct Told {
    at: Duration,
    until: Duration,
}

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Admitted,
    Wait {
        what: Measure,
        limit: u64,
        time: Duration,
    },
    /// It can never pass: it has more tokens than a minute allows.
    TooLarge {
        limit: u64,
    },
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    Requests,
    Tokens,
}

impl Meter {
    /// Full allowances.
    pub(super) fn new(limits: &Limits, now: Duration) -> Self {
        let bucket = |limit: Option<u64>| {
            limit.map(|limit| (limit, Bucket::new(limit, limits.burst_seconds, now)))
        };
        Self {
            requests: bucket(limits.requests_per_minute),
            tokens: bucket(limits.tokens_per_minute),
            told: None,
        }
    }

    /// Lets a request with this much input through, or says why not.
    pub(super) fn admit(&mut self, tokens: u64, now: Duration) -> Verdict {
        if let Some(limit) = self.tokens.as_ref().map(|(limit, _)| *limit)
            && tokens > limit
        {
            self.charge_failure(now);
            return Verdict::TooLarge { limit };
        }
        let longest = [
            (Measure::Requests, &mut self.requests, 1),
            (Measure::Tokens, &mut self.tokens, tokens),
        ]
        .into_iter()
        .filter_map(|(what, bucket, cost)| {
            let (limit, bucket) = bucket.as_mut()?;
            Some((what, *limit, bucket.wait(cost, now)))
        })
        .max_by_key(|(_, _, wait)| *wait);
        match longest {
            Some((what, limit, wait)) if !wait.is_zero() => {
                self.charge_failure(now);
                // The refusal itself has cost allowance, so the wait is asked for again.
                let again = self
                    .requests
                    .as_mut()
                    .map(|(_, bucket)| bucket.wait(1, now));
                Verdict::Wait {
                    what,
                    limit,
                    time: wait.max(again.unwrap_or_default()),
                }
            }
            _ => {
                self.charge(1, tokens, now);
                Verdict::Admitted
            }
        }
    }

    /// A request that is refused for what it says counts as one all the same.
    fn charge_failure(&mut self, now: Duration) {
        if let Some((_, bucket)) = &mut self.requests {
            bucket.take_rest(1, now);
        }
    }

    /// Takes the tokens of an answer, which are known only afterwards.
    pub(super) fn charge_output(&mut self, tokens: u64, now: Duration) {
        self.charge(0, tokens, now);
    }

    /// Remembers that someone was told to stay away for this long.
    pub(super) fn tell(&mut self, wait: Duration, now: Duration) {
        let until = now + wait;
        if self.told.is_none_or(|told| told.until < until) {
            self.told = Some(Told { at: now, until });
        }
    }

    /// Whether a request that arrives now was sent by someone who had been told to stay away longer.
    pub(super) fn is_early(&self, now: Duration) -> bool {
        self.told
            .is_some_and(|told| told.at + ON_ITS_WAY < now && now < told.until)
    }

    /// The rate-limit headers, but for those of limits that there are none of.
    pub(super) fn headers(&mut self, now: Duration) -> Vec<(&'static str, String)> {
        let mut headers = Vec::new();
        for (bucket, [limit_name, remaining_name, reset_name]) in [
            (&mut self.requests, REQUEST_HEADERS),
            (&mut self.tokens, TOKEN_HEADERS),
        ] {
            if let Some((limit, bucket)) = bucket {
                headers.push((limit_name, limit.to_string()));
                headers.push((remaining_name, bucket.remaining(now).to_string()));
                headers.push((reset_name, span(bucket.reset(now))));
            }
        }
        headers
    }

    fn charge(&mut self, requests: u64, tokens: u64, now: Duration) {
        for (bucket, cost) in [(&mut self.requests, requests), (&mut self.tokens, tokens)] {
            if let Some((_, bucket)) = bucket {
                bucket.take(cost, now);
            }
        }
    }
}

pub(super) const REQUEST_HEADERS: [&str; 3] = [
    "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-requests",
];

pub(super) const TOKEN_HEADERS: [&str; 3] = [
    "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-tokens",
];

/// A time as `OpenAI` writes it: `20ms`, `1.5s`, `6m0s`.
pub(super) fn span(time: Duration) -> String {
    let ms = time.as_micros().div_ceil(1000);
    let (minutes, ms) = (ms / 60_000, ms % 60_000);
    let seconds = match ms % 1000 {
        0 => format!("{}s", ms / 1000),
        rest => format!("{}.{rest:03}s", ms / 1000),
    };
    match (minutes, ms) {
        (0, 1..1000) => format!("{ms}ms"),
        (0, _) => seconds,
        _ => format!("{minutes}m{seconds}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn meter(requests: Option<u64>, tokens: Option<u64>, burst_seconds: f64) -> Meter {
        let limits = Limits {
            requests_per_minute: requests,
            tokens_per_minute: tokens,
            burst_seconds,
        };
        Meter::new(&limits, ms(0))
    }

    #[test]
    fn both_limits_hold() {
        let mut meter = meter(Some(60), Some(6000), 2.0);
        assert_eq!(meter.admit(100, ms(0)), Verdict::Admitted);
        let wait = Verdict::Wait {
            what: Measure::Tokens,
            limit: 6000,
            time: ms(1000),
        };
        assert_eq!(meter.admit(200, ms(0)), wait);
        // The refusal took the second request of the burst.
        let wait = Verdict::Wait {
            what: Measure::Requests,
            limit: 60,
            time: ms(1000),
        };
        assert_eq!(meter.admit(1, ms(0)), wait);
        assert_eq!(meter.admit(1, ms(1000)), Verdict::Admitted);
    }

    #[test]
    fn asking_again_at_once_only_prolongs_the_wait() {
        let mut meter = meter(Some(60), None, 1.0);
        assert_eq!(meter.admit(1, ms(0)), Verdict::Admitted);
        let again = Verdict::Wait {
            what: Measure::Requests,
            limit: 60,
            time: ms(1000),
        };
        for now in (500..10_000).step_by(500).map(ms) {
            assert_eq!(meter.admit(1, now), again, "{now:?}");
        }
    }

    #[test]
    fn more_than_a_minute_allows_never_passes() {
        let mut meter = meter(None, Some(1000), 60.0);
        assert_eq!(meter.admit(1001, ms(0)), Verdict::TooLarge { limit: 1000 });
        assert_eq!(meter.admit(1000, ms(0)), Verdict::Admitted);
    }

    #[test]
    fn output_counts_against_the_next_request() {
        let mut meter = meter(None, Some(600), 1.0);
        assert_eq!(meter.admit(10, ms(0)), Verdict::Admitted);
        meter.charge_output(20, ms(0));
        let wait = Verdict::Wait {
            what: Measure::Tokens,
            limit: 600,
            time: ms(2100),
        };
        assert_eq!(meter.admit(1, ms(0)), wait);
    }

    #[test]
    fn early_is_who_could_have_known() {
        let mut meter = meter(None, None, 60.0);
        assert!(!meter.is_early(ms(0)));
        meter.tell(ms(1000), ms(0));
        meter.tell(ms(200), ms(50));
        let early = [50, 100, 101, 999, 1000].map(|now| meter.is_early(ms(now)));
        assert_eq!(early, [false, false, true, true, false]);
    }

    #[test]
    fn headers_say_what_is_left() {
        let mut both = meter(Some(600), Some(60_000), 60.0);
        both.admit(30_500, ms(0));
        let headers = both.headers(ms(0));
        let values: Vec<&str> = headers.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(values, ["600", "599", "100ms", "60000", "29500", "30.500s"]);
        assert_eq!(meter(None, None, 60.0).headers(ms(0)), []);
    }

    #[test]
    fn spans_are_written_as_they_are_read() {
        for (time, text) in [
            (0, "0s"),
            (20, "20ms"),
            (1000, "1s"),
            (1500, "1.500s"),
            (60_000, "1m0s"),
            (360_000, "6m0s"),
            (61_004, "1m1.004s"),
        ] {
            assert_eq!(span(ms(time)), text);
        }
        // Rounded up: who comes back after it must not be too early.
        assert_eq!(span(Duration::from_micros(1)), "1ms");
    }
}
