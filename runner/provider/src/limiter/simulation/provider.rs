//! A provider made of numbers.

use std::time::Duration;

use super::MINUTE;
use crate::limiter::Moment;
use crate::rate::RateHeaders;

/// A provider with an allowance for each limit. Each allowance holds a minute's worth and refills steadily. Refused
/// requests count against the requests, as the real ones do.
#[derive(Debug, Clone)]
pub(super) struct Provider {
    requests: Allowance,
    tokens: Allowance,
    /// Whether its responses carry the rate-limit headers.
    pub(super) has_headers: bool,
}

impl Provider {
    /// One that counts by the clock's minutes: each begins with a full allowance.
    pub(super) fn by_the_minute(self) -> Self {
        let whole = |allowance: Allowance| Allowance {
            is_window: true,
            ..allowance
        };
        Self {
            requests: whole(self.requests),
            tokens: whole(self.tokens),
            ..self
        }
    }
}

#[derive(Debug, Clone)]
struct Allowance {
    limit: u32,
    level: f64,
    refilled: Moment,
    /// How fast the provider's clock runs by ours.
    pace: f64,
    /// Whether it is filled at once, each minute, and not steadily.
    is_window: bool,
}

impl Allowance {
    fn full(limit: u32, pace: f64) -> Self {
        Self {
            limit,
            level: f64::from(limit),
            refilled: Moment::ZERO,
            pace,
            is_window: false,
        }
    }

    fn window_end(&self) -> Duration {
        Duration::from_secs((self.refilled.as_secs() / 60 + 1) * 60).saturating_sub(self.refilled)
    }

    fn per_second(&self) -> f64 {
        f64::from(self.limit) * self.pace / MINUTE.as_secs_f64()
    }

    fn refill(&mut self, now: Moment) {
        if self.is_window {
            if now.as_secs() / 60 > self.refilled.as_secs() / 60 {
                self.level = f64::from(self.limit);
            }
            self.refilled = now;
            return;
        }
        let refill = now.saturating_sub(self.refilled).as_secs_f64() * self.per_second();
        self.level = (self.level + refill).min(f64::from(self.limit));
        self.refilled = now;
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at most a u32"
    )]
    fn remaining(&self) -> u32 {
        self.level.max(0.0) as u32
    }

    fn reset(&self) -> Duration {
        if self.is_window {
            return self.window_end();
        }
        Duration::from_secs_f64((f64::from(self.limit) - self.level) / self.per_second())
    }

    /// The whole seconds until a request of that size is served.
    fn retry_after(&self, count: u32) -> Duration {
        if self.is_window {
            return Duration::from_secs(self.window_end().as_secs() + 1);
        }
        let missing = (f64::from(count) - self.level).max(0.0);
        Duration::from_secs_f64((missing / self.per_second()).ceil())
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Outcome {
    Served(RateHeaders),
    Refused(Duration),
}

impl Provider {
    pub(super) fn new(requests: u32, tokens: u32, pace: f64) -> Self {
        Self {
            requests: Allowance::full(requests, pace),
            tokens: Allowance::full(tokens, pace),
            has_headers: true,
        }
    }

    pub(super) fn receive(&mut self, now: Moment, tokens: u32) -> Outcome {
        self.requests.refill(now);
        self.tokens.refill(now);
        let has_requests = self.requests.level >= 1.0;
        let has_tokens = self.tokens.level >= f64::from(tokens);
        self.requests.level = (self.requests.level - 1.0).max(0.0);
        if !(has_requests && has_tokens) {
            let requests = self.requests.retry_after(1);
            return Outcome::Refused(requests.max(self.tokens.retry_after(tokens)));
        }
        self.tokens.level -= f64::from(tokens);
        Outcome::Served(if self.has_headers {
            self.headers()
        } else {
            RateHeaders::default()
        })
    }

    fn headers(&self) -> RateHeaders {
        RateHeaders {
            limit_requests: Some(self.requests.limit),
            remaining_requests: Some(self.requests.remaining()),
            reset_requests: Some(self.requests.reset()),
            limit_tokens: Some(self.tokens.limit),
            remaining_tokens: Some(self.tokens.remaining()),
            reset_tokens: Some(self.tokens.reset()),
        }
    }
}
