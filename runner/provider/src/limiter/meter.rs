//! One limit a minute, metered by governor's GCRA, as a value.

use std::cell::Cell;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};
use governor::{Quota, RateLimiter};

use super::Moment;

const MINUTE: Duration = Duration::from_secs(60);

/// A second's worth may go out at once on top of a request's own size. A timer that fires late then
/// costs nothing, and a limit that is metered over less than a minute is still kept.
const BURSTS_PER_MINUTE: u32 = 60;

/// A limit a minute, and how far ahead of it we are.
///
/// Only governor's arithmetic is used, on a state and a clock that are lent to it for one decision.
/// docs/decisions/0008-governor-decides-on-a-lent-state.md says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RateMeter {
    limit: NonZeroU32,
    quota: Quota,
    /// When all that was taken is paid for (GCRA's theoretical arrival time).
    paid: Moment,
}

impl RateMeter {
    /// A meter that lets `limit` a minute through, less the headroom. Nothing is owed yet.
    pub(super) fn new(limit: NonZeroU32, headroom_permille: u16) -> Self {
        let used_permille = 1000_u128.saturating_sub(headroom_permille.into()).max(1);
        // Rounded up: rounded down, the rate would be a little above the limit.
        let period = (MINUTE.as_nanos() * 1000).div_ceil(u128::from(limit.get()) * used_permille);
        let period = Duration::from_nanos(u64::try_from(period).unwrap_or(u64::MAX));
        let quota = Quota::with_period(period).unwrap_or_else(|| Quota::per_minute(limit));
        Self {
            limit,
            quota,
            paid: Moment::ZERO,
        }
    }

    /// What a minute allows.
    pub(super) fn limit(&self) -> u32 {
        self.limit.get()
    }

    /// The meter after `count` were taken at `now`. A meter is a copy, so a caller can ask several
    /// meters before it keeps any.
    ///
    /// # Errors
    /// The moment at which `count` can be had, if nothing else is taken before. It never comes for a
    /// count above the limit.
    pub(super) fn take(self, now: Moment, count: u32) -> Result<Self, Moment> {
        let Some(count) = NonZeroU32::new(count) else {
            return Ok(self);
        };
        let (clock, paid) = (Lent(Cell::default()), Lent(Cell::new(self.paid.into())));
        let quota = self.quota.allow_burst(self.burst_of(count));
        let limiter: RateLimiter<_, _, _, NoOpMiddleware<Nanos>> =
            RateLimiter::new(quota, &paid, &clock);
        clock.0.set(now.into());
        match limiter.check_n(count) {
            Ok(Ok(())) => Ok(Self {
                paid: paid.0.get().into(),
                ..self
            }),
            Ok(Err(wait)) => Err(wait.earliest_possible().into()),
            Err(_) => Err(Moment::MAX),
        }
    }

    /// The meter with no burst left at `now`: one request may go, the next has to wait.
    pub(super) fn drained(self, now: Moment) -> Self {
        let burst = self.quota.replenish_interval().saturating_mul(self.burst());
        Self {
            paid: self.paid.max(now.saturating_add(burst)),
            ..self
        }
    }

    /// The most that may be owed once a request of `count` is sent: the request itself and a
    /// burst. It is never more than a minute's worth, because the provider's own bucket holds no more.
    fn burst_of(self, count: NonZeroU32) -> NonZeroU32 {
        count.saturating_add(self.burst()).min(self.limit)
    }

    fn burst(self) -> u32 {
        self.limit.get() / BURSTS_PER_MINUTE
    }
}

/// A value that governor reads and writes during one decision: the time, or the state.
struct Lent(Cell<Nanos>);

impl Clock for &Lent {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.0.get()
    }
}

impl StateStore for &Lent {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _key: &NotKeyed, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let (outcome, next) = decide(Some(self.0.get()))?;
        self.0.set(next);
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn meter(limit: u32) -> RateMeter {
        RateMeter::new(NonZeroU32::new(limit).unwrap(), 0)
    }

    fn seconds(seconds: f64) -> Moment {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn the_burst_is_one_request_and_a_second_then_the_rate_is_kept() {
        // 60,000 a minute is one a millisecond: 5,000, then what a second's worth covers.
        let meter = meter(60_000).take(Moment::ZERO, 5000).unwrap();
        assert_eq!(meter.take(Moment::ZERO, 5000), Err(seconds(4.0)));
        let meter = meter.take(seconds(4.0), 5000).unwrap();
        assert_eq!(meter.take(seconds(8.9), 1), Err(seconds(9.0)));
        assert!(meter.take(seconds(9.0), 1).is_ok());
    }

    #[test]
    fn a_refused_request_takes_nothing() {
        let before = meter(60_000);
        let after = before.take(Moment::ZERO, 5000).unwrap();
        assert_eq!(before.take(Moment::ZERO, 5000), Ok(after));
        assert_eq!(after.take(Moment::ZERO, 0), Ok(after));
    }

    #[test]
    fn a_large_request_waits_no_longer_than_a_small_one() {
        let busy = meter(60_000).take(Moment::ZERO, 10_000).unwrap();
        assert_eq!(busy.take(Moment::ZERO, 1), Err(seconds(9.0)));
        assert_eq!(busy.take(Moment::ZERO, 40_000), Err(seconds(9.0)));
    }

    #[test]
    fn a_minute_is_the_most_that_one_request_may_take() {
        assert!(meter(1000).take(Moment::ZERO, 1000).is_ok());
        assert_eq!(meter(1000).take(Moment::ZERO, 1001), Err(Moment::MAX));
    }

    #[test]
    fn an_idle_hour_saves_up_no_more_than_a_burst() {
        let hour = seconds(3600.0);
        let meter = meter(60_000).take(Moment::ZERO, 1).unwrap();
        let meter = (0..1001).fold(meter, |meter, _| meter.take(hour, 1).unwrap());
        assert!(meter.take(hour, 1).is_err());
    }

    #[test]
    fn a_drained_meter_lets_one_through() {
        let now = seconds(100.0);
        let meter = meter(60_000).drained(now).take(now, 500).unwrap();
        assert_eq!(meter.take(now, 1), Err(seconds(100.5)));
        let owing = self::meter(60_000)
            .take(Moment::ZERO, 50_000)
            .unwrap()
            .drained(seconds(1.0));
        assert_eq!(owing.take(seconds(1.0), 1), Err(seconds(49.0)));
        let slow = self::meter(3).drained(now).take(now, 1).unwrap();
        assert_eq!(slow.take(now, 1), Err(seconds(120.0)));
    }

    #[test]
    fn the_headroom_is_left_unused() {
        let limit = NonZeroU32::new(1000).unwrap();
        let meter = RateMeter::new(limit, 200).take(Moment::ZERO, 900).unwrap();
        // 900 at 800 a minute are paid after 67.5 s; a burst of 16 is 1.2 s.
        assert_eq!(meter.take(Moment::ZERO, 1), Err(seconds(66.3)));
        assert!(
            RateMeter::new(limit, u16::MAX)
                .take(Moment::ZERO, 1)
                .is_ok()
        );
    }

    proptest! {
        #[test]
        fn no_window_holds_more_than_its_share_and_a_burst(
            limit in 1_u32..100_000_000,
            steps in proptest::collection::vec((0_u64..3_000, 0.0_f64..=1.0), 1..40),
        ) {
            let (mut meter, mut now, mut sent) = (meter(limit), Moment::ZERO, Vec::new());
            for (wait_ms, size) in steps {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss,
                    reason = "a share of a u32 is one")]
                let count = (f64::from(limit) * size * size * 0.3) as u32;
                now += Duration::from_millis(wait_ms);
                if let Err(due) = meter.take(now, count) {
                    prop_assert!(due > now);
                    now = due;
                }
                meter = meter.take(now, count).expect("a refused request may go at the moment that it got");
                sent.push((now, count));
            }
            for (first, (start, _)) in sent.iter().enumerate() {
                let (mut total, mut largest) = (0.0, 0_u32);
                for (end, count) in &sent[first..] {
                    total += f64::from(*count);
                    largest = largest.max(*count);
                    let window = end.saturating_sub(*start);
                    let share = f64::from(limit) * window.div_duration_f64(MINUTE);
                    let burst = f64::from(largest) + f64::from(limit / BURSTS_PER_MINUTE);
                    prop_assert!(total <= share + burst + 1.0, "{total} in {window:?}");
                }
            }
        }
    }
}
