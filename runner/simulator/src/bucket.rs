//! An allowance that flows back all the time: a pure bucket, to which the time is told.

use std::time::Duration;

/// An allowance of requests or tokens.
#[derive(Debug)]
pub(super) struct Bucket {
    capacity: f64,
    per_second: f64,
    level: f64,
    at: Duration,
}

impl Bucket {
    /// A full bucket that regains `per_minute` in a minute and holds what it regains in
    /// `burst_seconds`, or one if that is less. Times are counted from any fixed moment.
    pub(super) fn new(per_minute: u64, burst_seconds: f64, now: Duration) -> Self {
        let per_second = float(per_minute) / 60.0;
        let capacity = (per_second * burst_seconds).max(1.0);
        Self {
            capacity,
            per_second,
            level: capacity,
            at: now,
        }
    }

    /// How long it takes until `cost` can be taken; nothing where it can be now.
    ///
    /// More than the bucket holds can be taken once it is full, and is paid back afterwards: a short
    /// window must not shut out a request that fits the minute.
    pub(super) fn wait(&mut self, cost: u64, now: Duration) -> Duration {
        self.refill(now);
        self.time_for(float(cost).min(self.capacity) - self.level)
    }

    /// Takes `cost`, into debt where it must.
    pub(super) fn take(&mut self, cost: u64, now: Duration) {
        self.refill(now);
        self.level -= float(cost);
    }

    /// Takes `cost`, but no more than there is: a refused request may cost the rest, not run up debt.
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

    /// How long it takes until the bucket is full.
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
        // A hair's breadth of rounding is no lack.
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
    fn allowance_flows_back_steadily() {
        let mut bucket = Bucket::new(600, 6.0, ms(0));
        assert_eq!((bucket.remaining(ms(0)), bucket.reset(ms(0))), (60, ms(0)));
        bucket.take(60, ms(0));
        assert_eq!(bucket.wait(1, ms(0)), ms(100));
        assert_eq!(bucket.wait(1, ms(100)), ms(0));
        assert_eq!(bucket.remaining(ms(1050)), 10);
        assert_eq!(bucket.reset(ms(1000)), ms(4950));
        // It holds no more than its capacity, however long it rests.
        assert_eq!(bucket.remaining(ms(3_600_000)), 60);
    }

    #[test]
    fn more_than_the_capacity_goes_through_a_full_bucket_and_is_paid_back() {
        let mut bucket = Bucket::new(600, 1.0, ms(0));
        assert_eq!(bucket.wait(100, ms(0)), ms(0));
        bucket.take(100, ms(0));
        assert_eq!(bucket.wait(1, ms(0)), ms(9100));
        assert_eq!(bucket.remaining(ms(0)), 0);
    }

    #[test]
    fn a_refused_request_costs_no_more_than_there_is() {
        let mut bucket = Bucket::new(60, 1.0, ms(0));
        bucket.take_rest(1, ms(0));
        bucket.take_rest(1, ms(500));
        // The half that had flowed back is gone too.
        assert_eq!(bucket.wait(1, ms(500)), ms(1000));
    }

    #[test]
    fn no_minute_lets_through_more_than_its_limit_and_one_burst() {
        let mut bucket = Bucket::new(1000, 2.0, ms(0));
        let mut passed = 0;
        for now in (0..60_000).step_by(7).map(ms) {
            if bucket.wait(13, now).is_zero() {
                bucket.take(13, now);
                passed += 13;
            }
        }
        assert!((1000..=1034).contains(&passed), "{passed}");
    }
}
