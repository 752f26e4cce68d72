//! The limits of a model: which requests pass, which have to wait, and what the headers say.

mod allowance;
mod day;

use std::time::Duration;

use crate::{config::SimulatedLimits, error_response::HeaderPairs};
use allowance::Allowance;
use day::DayAllowance;

/// A client that sends within this time of a `Retry-After` cannot have read it yet.
const TRANSIT: Duration = Duration::from_millis(100);

/// Limit, remaining and reset, for requests and for tokens.
const HEADERS: [[&str; 3]; 2] = [
    [
        "x-ratelimit-limit-requests",
        "x-ratelimit-remaining-requests",
        "x-ratelimit-reset-requests",
    ],
    [
        "x-ratelimit-limit-tokens",
        "x-ratelimit-remaining-tokens",
        "x-ratelimit-reset-tokens",
    ],
];

/// Azure's rate-limit headers, which say nothing.
pub(crate) fn azure_headers() -> HeaderPairs {
    let names = HEADERS.iter().flatten();
    names.map(|name| (*name, "-1".to_owned())).collect()
}

/// What a model still allows. Times count from the start of the server.
#[derive(Debug)]
pub(crate) struct ModelAllowances {
    requests: Option<Allowance>,
    tokens: Option<Allowance>,
    requests_of_day: Option<DayAllowance>,
    tokens_of_day: Option<DayAllowance>,
    /// When the last `Retry-After` was sent, and when it ends.
    retry_after: Option<(Duration, Duration)>,
}

/// Why a request does not pass.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LimitExceeded {
    pub(crate) kind: LimitKind,
    /// What is allowed in a minute, or in a day.
    pub(crate) limit: u64,
    /// When to try again. Without it, the request alone exceeds the limit and can never pass.
    pub(crate) wait: Option<Duration>,
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LimitKind {
    Requests,
    Tokens,
    RequestsOfDay,
    TokensOfDay,
}

impl ModelAllowances {
    /// Full allowances.
    pub(crate) fn new(limits: &SimulatedLimits, now: Duration) -> Self {
        let full = |limit: u64| Allowance::new(limit, limits.burst_seconds, now);
        let day = |limit: u64| DayAllowance::new(limit, now);
        Self {
            requests: limits.requests_per_minute.map(full),
            tokens: limits.tokens_per_minute.map(full),
            requests_of_day: limits.requests_per_day.map(day),
            tokens_of_day: limits.tokens_per_day.map(day),
            retry_after: None,
        }
    }

    /// Lets a request with this many tokens of input pass, or says why not. A refused request counts
    /// as a request too.
    pub(crate) fn admit(&mut self, tokens: u64, now: Duration) -> Result<(), LimitExceeded> {
        let Err(mut exceeded) = self.check(tokens, now) else {
            self.take(1, tokens, now);
            return Ok(());
        };
        if let Some(requests) = &mut self.requests {
            requests.take_rest(1, now);
            // The refusal may have used up the allowance for the next request.
            exceeded.wait = exceeded.wait.map(|wait| wait.max(requests.wait(1, now)));
        }
        if let Some(wait) = exceeded.wait {
            self.send_retry_after(wait, now);
        }
        Err(exceeded)
    }

    /// The limit with the longest wait, if there is one.
    fn check(&mut self, tokens: u64, now: Duration) -> Result<(), LimitExceeded> {
        let limits = [
            (LimitKind::Requests, &mut self.requests, 1),
            (LimitKind::Tokens, &mut self.tokens, tokens),
        ];
        let exceeded = limits.into_iter().filter_map(|(kind, allowance, cost)| {
            let allowance = allowance.as_mut()?;
            excess(kind, allowance.limit, cost, allowance.wait(cost, now))
        });
        let limits_of_day = [
            (LimitKind::RequestsOfDay, &mut self.requests_of_day, 1),
            (LimitKind::TokensOfDay, &mut self.tokens_of_day, tokens),
        ];
        let exceeded_of_day = limits_of_day
            .into_iter()
            .filter_map(|(kind, allowance, cost)| {
                let allowance = allowance.as_mut()?;
                excess(kind, allowance.limit, cost, allowance.wait(cost, now))
            });
        let longest = exceeded
            .chain(exceeded_of_day)
            .max_by_key(|exceeded| exceeded.wait.unwrap_or(Duration::MAX));
        longest.map_or(Ok(()), Err)
    }

    /// Takes the tokens of a response, which are not known before.
    pub(crate) fn take_output(&mut self, tokens: u64, now: Duration) {
        self.take(0, tokens, now);
    }

    /// Records that a client was asked to wait.
    pub(crate) fn send_retry_after(&mut self, wait: Duration, now: Duration) {
        let end = now + wait;
        if self.retry_after.is_none_or(|(_, known)| known < end) {
            self.retry_after = Some((now, end));
        }
    }

    /// Whether a request that arrives now ignores a `Retry-After`.
    pub(crate) fn is_early(&self, now: Duration) -> bool {
        self.retry_after
            .is_some_and(|(sent, end)| sent + TRANSIT < now && now < end)
    }

    /// The rate-limit headers of the limits that are set.
    pub(crate) fn headers(&mut self, now: Duration) -> HeaderPairs {
        let allowances = [&mut self.requests, &mut self.tokens];
        let set = allowances.into_iter().zip(HEADERS);
        let set = set.filter_map(|(allowance, names)| Some((allowance.as_mut()?, names)));
        set.flat_map(|(allowance, [limit, remaining, reset])| {
            [
                (limit, allowance.limit.to_string()),
                (remaining, allowance.remaining(now).to_string()),
                (reset, span(allowance.reset(now))),
            ]
        })
        .collect()
    }

    fn take(&mut self, requests: u64, tokens: u64, now: Duration) {
        for (allowance, cost) in [(&mut self.requests, requests), (&mut self.tokens, tokens)] {
            if let Some(allowance) = allowance {
                allowance.take(cost, now);
            }
        }
        let of_day = [
            (&mut self.requests_of_day, requests),
            (&mut self.tokens_of_day, tokens),
        ];
        for (allowance, cost) in of_day {
            if let Some(allowance) = allowance {
                allowance.take(cost, now);
            }
        }
    }
}

/// Why a request does not pass that costs more than the limit or has to wait.
fn excess(kind: LimitKind, limit: u64, cost: u64, wait: Duration) -> Option<LimitExceeded> {
    let wait = (cost <= limit).then_some(wait);
    (wait != Some(Duration::ZERO)).then_some(LimitExceeded { kind, limit, wait })
}

/// A time as `OpenAI` writes it: `20ms`, `1.5s`, `6m0s`.
fn span(time: Duration) -> String {
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

    fn exceeded(kind: LimitKind, limit: u64, wait: Option<u64>) -> Result<(), LimitExceeded> {
        let wait = wait.map(ms);
        Err(LimitExceeded { kind, limit, wait })
    }

    fn model(requests: Option<u64>, tokens: Option<u64>, burst_seconds: f64) -> ModelAllowances {
        let limits = SimulatedLimits {
            requests_per_minute: requests,
            tokens_per_minute: tokens,
            burst_seconds,
            ..SimulatedLimits::default()
        };
        ModelAllowances::new(&limits, ms(0))
    }

    #[test]
    fn both_limits_hold() {
        let mut model = model(Some(60), Some(6000), 2.0);
        assert_eq!(model.admit(100, ms(0)), Ok(()));
        let wait = exceeded(LimitKind::Tokens, 6000, Some(1000));
        assert_eq!(model.admit(200, ms(0)), wait);
        // The refusal took the second request of the burst.
        let wait = exceeded(LimitKind::Requests, 60, Some(1000));
        assert_eq!(model.admit(1, ms(0)), wait);
        assert_eq!(model.admit(1, ms(1000)), Ok(()));
    }

    #[test]
    fn a_request_during_the_wait_prolongs_it() {
        let mut model = model(Some(60), None, 1.0);
        assert_eq!(model.admit(1, ms(0)), Ok(()));
        let again = exceeded(LimitKind::Requests, 60, Some(1000));
        for now in (500..10_000).step_by(500).map(ms) {
            assert_eq!(model.admit(1, now), again, "{now:?}");
        }
    }

    #[test]
    fn a_request_above_the_limit_of_a_minute_never_passes() {
        let mut model = model(None, Some(1000), 60.0);
        assert_eq!(
            model.admit(1001, ms(0)),
            exceeded(LimitKind::Tokens, 1000, None)
        );
        assert_eq!(model.admit(1000, ms(0)), Ok(()));
    }

    #[test]
    fn output_counts_against_the_next_request() {
        let mut model = model(None, Some(600), 1.0);
        assert_eq!(model.admit(10, ms(0)), Ok(()));
        model.take_output(20, ms(0));
        let wait = exceeded(LimitKind::Tokens, 600, Some(2100));
        assert_eq!(model.admit(1, ms(0)), wait);
    }

    #[test]
    fn a_request_is_early_if_its_client_could_have_known() {
        let mut model = model(None, None, 60.0);
        assert!(!model.is_early(ms(0)));
        model.send_retry_after(ms(1000), ms(0));
        model.send_retry_after(ms(200), ms(50));
        let early = [50, 100, 101, 999, 1000].map(|now| model.is_early(ms(now)));
        assert_eq!(early, [false, false, true, true, false]);
    }

    #[test]
    fn headers_say_what_is_left() {
        let mut both = model(Some(600), Some(60_000), 60.0);
        assert_eq!(both.admit(30_500, ms(0)), Ok(()));
        let headers = both.headers(ms(0));
        let values: Vec<&str> = headers.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(values, ["600", "599", "100ms", "60000", "29500", "30.500s"]);
        assert_eq!(model(None, None, 60.0).headers(ms(0)), []);
    }

    #[test]
    fn spans_have_the_form_that_openai_writes() {
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
        // Rounded up, so that a client which waits as long is not too early.
        assert_eq!(span(Duration::from_micros(1)), "1ms");
    }
}
