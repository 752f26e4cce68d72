//! An allowance that refills continuously. Its functions are pure: the caller passes the time.

use std::time::Duration;

/// An allowance of requests or tokens.
#[derive(Debug)]
pub(super) struct Allowance {
    /// What refills in a minute.
    pub(super) limit: u64,
    capacity: f64,
    per_second: f64,
    level: f64,
    at: Duration,
}

impl Allowance {
    /// A full allowance. It refills by `limit` in a minute, and its capacity is what refills in
    /// `burst_seconds`, but at least one. Times count from any fixed moment.
    pub(super) fn new(limit: u64, burst_seconds: f64, now: Duration) -> Self {
        let per_second = float(limit) / 60.0;
        let capacity = (per_second * burst_seconds).max(1.0);
        Self {
            limit,
            capacity,
            per_second,
            level: capacity,
            at: now,
        }
    }

    /// How long it takes until `cost` can be taken; zero if it can be taken now.
    ///
    /// A cost above the capacity can be taken from a full allowance, and is paid back afterwards: a
    /// short window must not shut out a request that fits into the minute.
    pub(super) fn wait(&mut self, cost: u64, now: Duration) -> Duration {
        self.refill(now);
        self.time_for(float(cost).min(self.capacity) - self.level)
    }

    /// Takes `cost`. The level may become negative.
    pub(super) fn take(&mut self, cost: u64, now: Duration) {
        self.refill(now);
        self.level -= float(cost);
    }

    /// Takes `cost`, or what is left if that is less. A refused request must not run up debt.
    pub(super) fn take_rest(&mut self, cost: u64, now: Duration) {
        self.refill(now);
        self.level -= float(cost).min(self.level.max(0.0));
    }

    /// What can be taken now.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "not negative, and no more than the capacity, which came from a u64"
    )]
    pub(super) fn remaining(&mut self, now: Duration) -> u64 {
        self.refill(now);
        self.level.max(0.0) as u64
    }

    /// How long it takes until the allowance is full.
    pub(super) fn reset(&mut self, now: Duration) -> Duration {
        self.refill(now);
        self.time_for(self.capacity - self.level)
    }

    fn refill(&mut self, now: Duration) {
        let elapsed = now.saturating_sub(self.at);
        self.level = (self.level + self.per_second * elapsed.as_secs_f64()).min(self.capacity);
        self.at = self.at.max(now);
    }

    fn time_for(&self, amount: f64) -> Duration {
        // Less than this is a rounding error.
        if amount <= 1e-6 {
            Duration::ZERO
        } else {
            Duration::from_secs_f64(amount / self.per_second)
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "limits and costs are far below 2^53"
)]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn an_allowance_refills_steadily() {
        let mut allowance = Allowance::new(600, 6.0, ms(0));
        assert_eq!(
            (allowance.remaining(ms(0)), allowance.reset(ms(0))),
            (60, ms(0))
        );
        allowance.take(60, ms(0));
        assert_eq!(allowance.wait(1, ms(0)), ms(100));
        assert_eq!(allowance.wait(1, ms(100)), ms(0));
        assert_eq!(allowance.remaining(ms(1050)), 10);
        assert_eq!(allowance.reset(ms(1000)), ms(4950));
        // It never exceeds its capacity.
        assert_eq!(allowance.remaining(ms(3_600_000)), 60);
    }

    #[test]
    fn a_cost_above_the_capacity_is_paid_back() {
        let mut allowance = Allowance::new(600, 1.0, ms(0));
        assert_eq!(allowance.wait(100, ms(0)), ms(0));
        allowance.take(100, ms(0));
        assert_eq!(allowance.wait(1, ms(0)), ms(9100));
        assert_eq!(allowance.remaining(ms(0)), 0);
    }

    #[test]
    fn a_refused_request_costs_no_more_than_there_is() {
        let mut allowance = Allowance::new(60, 1.0, ms(0));
        allowance.take_rest(1, ms(0));
        allowance.take_rest(1, ms(500));
        // The half that had refilled is gone too.
        assert_eq!(allowance.wait(1, ms(500)), ms(1000));
    }

    #[test]
    fn a_minute_lets_through_its_limit_and_one_burst() {
        let mut allowance = Allowance::new(1000, 2.0, ms(0));
        let mut passed = 0;
        for now in (0..60_000).step_by(7).map(ms) {
            if allowance.wait(13, now).is_zero() {
                allowance.take(13, now);
                passed += 13;
            }
        }
        assert!((1000..=1034).contains(&passed), "{passed}");
    }
}
