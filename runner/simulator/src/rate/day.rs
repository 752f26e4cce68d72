//! An allowance of a day, which begins again as a whole.

use std::time::Duration;

/// From the first request of a day to the first of the next.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// An allowance of requests or tokens a day.
#[derive(Debug)]
pub(super) struct DayAllowance {
    pub(super) limit: u64,
    left: u64,
    ends: Duration,
}

impl DayAllowance {
    pub(super) fn new(limit: u64, now: Duration) -> Self {
        Self {
            limit,
            left: limit,
            ends: now + DAY,
        }
    }

    /// How long it takes until `cost` can be taken; zero if it can be taken now.
    pub(super) fn wait(&mut self, cost: u64, now: Duration) -> Duration {
        self.begin_again(now);
        if cost <= self.left {
            Duration::ZERO
        } else {
            self.ends.saturating_sub(now)
        }
    }

    /// Takes `cost`, or what is left if that is less.
    pub(super) fn take(&mut self, cost: u64, now: Duration) {
        self.begin_again(now);
        self.left = self.left.saturating_sub(cost);
    }

    fn begin_again(&mut self, now: Duration) {
        if now >= self.ends {
            *self = Self::new(self.limit, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_again_as_a_whole() {
        let hours = |hours: u64| Duration::from_secs(hours * 3_600);
        let mut day = DayAllowance::new(10, hours(1));
        assert_eq!(day.wait(10, hours(1)), hours(0));
        day.take(7, hours(2));
        assert_eq!(
            (day.wait(3, hours(3)), day.wait(4, hours(3))),
            (hours(0), hours(22))
        );
        day.take(7, hours(3));
        assert_eq!(
            (day.wait(1, hours(24)), day.wait(10, hours(25))),
            (hours(1), hours(0))
        );
    }
}
