//! The waiting: a line in front of the decisions, and the permits that it hands out.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::limit::{NotSent, RateLimits, TooLarge};
use super::state::{Admit, State};
use super::{Moment, Serial};
use crate::openai::MAX_INPUT_TOKENS;
use crate::rate::RateHeaders;

/// Lets requests out as fast as the limits allow, in the order in which they came. Clones share
/// one line and one set of limits.
#[derive(Debug, Clone)]
pub struct Limiter {
    queue: Arc<Queue>,
}

#[derive(Debug)]
struct Queue {
    start: Instant,
    /// Held by the request at the head of the line. tokio's mutex is fair: the lock passes on in
    /// the order of the calls.
    line: tokio::sync::Mutex<()>,
    /// Wakes the head of the line, the only one that waits for it.
    changed: Notify,
    state: Mutex<State>,
}

/// The right to have one request in flight. Dropping it frees the place for the next. The tokens stay
/// booked, because the provider may have counted them.
#[derive(Debug)]
#[must_use = "a permit that is dropped at once lets the next request out"]
pub struct Permit {
    queue: Arc<Queue>,
    serial: Serial,
}

impl Limiter {
    /// A limiter that starts now, with nothing used yet.
    pub fn new(limits: RateLimits) -> Self {
        let queue = Queue {
            start: Instant::now(),
            line: tokio::sync::Mutex::default(),
            changed: Notify::new(),
            state: Mutex::new(State::new(limits)),
        };
        Self {
            queue: Arc::new(queue),
        }
    }

    /// Waits until a request of that many tokens may be sent.
    ///
    /// Requests go in the order in which they called: small ones never pass a large one. A call
    /// that is dropped leaves the line and has used nothing. If a limit is not configured, the first
    /// request goes alone, because its response may state it.
    ///
    /// # Errors
    /// [`TooLarge`] if the request alone is above the limit of a minute.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), sluice_provider::limiter::TooLarge> {
    /// use sluice_provider::RateHeaders;
    /// use sluice_provider::limiter::{Limiter, RateLimits};
    ///
    /// let limits = RateLimits { tokens_per_minute: Some(1_000_000), ..RateLimits::default() };
    /// let limiter = Limiter::new(limits);
    /// let permit = limiter.acquire(9_000).await?;
    /// // Send the request, then report how it went.
    /// permit.success(&RateHeaders::default());
    /// assert_eq!(limiter.tokens_per_minute(), Some(1_000_000));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn acquire(&self, tokens: u32) -> Result<Permit, TooLarge> {
        match self.acquire_within(tokens, Duration::MAX).await {
            Ok(permit) => Ok(permit),
            Err(NotSent::TooLarge(error)) => Err(error),
            Err(NotSent::Closed(_)) => unreachable!("no pause is longer than all time"),
        }
    }

    /// Does the same, but does not wait if the provider has asked for a pause longer than `patience`, as for a
    /// limit of a day.
    ///
    /// # Errors
    /// [`NotSent`] if the request can never be sent, or not in time.
    pub async fn acquire_within(&self, tokens: u32, patience: Duration) -> Result<Permit, NotSent> {
        let queue = &self.queue;
        let _head_of_line = queue.line.lock().await;
        loop {
            let now = queue.now();
            let closed = queue.state().opens(tokens).saturating_sub(now);
            if closed > patience {
                return Err(NotSent::Closed(closed));
            }
            let admitted = queue.state().admit(now, tokens);
            match admitted {
                Admit::Now(serial) => {
                    let queue = Arc::clone(queue);
                    return Ok(Permit { queue, serial });
                }
                Admit::Wait(until) => {
                    let due = queue.start + until;
                    // Whichever comes first, the next turn decides again.
                    let _ = tokio::time::timeout_at(due, queue.changed.notified()).await;
                }
                Admit::Full => queue.changed.notified().await,
                Admit::TooLarge(error) => return Err(error.into()),
            }
        }
    }

    /// The most tokens that a request should have, so that requests follow each other evenly: two
    /// seconds' worth of the limit, but room for one text of any length that the provider takes.
    /// `None` while no limit is known.
    pub fn batch_tokens(&self) -> Option<u32> {
        let limit = self.tokens_per_minute()?;
        let longest_text = u32::try_from(MAX_INPUT_TOKENS).unwrap_or(u32::MAX);
        Some((limit / 30).max(longest_text).min(limit))
    }

    /// The limit on tokens a minute, configured or discovered.
    pub fn tokens_per_minute(&self) -> Option<u32> {
        self.queue.state().tokens_per_minute()
    }

    /// The limit on requests a minute, configured or discovered.
    pub fn requests_per_minute(&self) -> Option<u32> {
        self.queue.state().requests_per_minute()
    }

    #[cfg(test)]
    pub(super) fn in_flight(&self) -> u32 {
        self.queue.state().in_flight()
    }
}

impl Permit {
    /// The request succeeded, with these rate-limit headers.
    pub fn success(self, headers: &RateHeaders) {
        self.observe(headers);
        self.queue.state().succeed();
    }

    /// The provider was overloaded, or a limit was reached. `retry_after` is the pause that it asks
    /// for: no request is sent before it is over.
    pub fn overloaded(self, retry_after: Option<Duration>) {
        let now = self.queue.now();
        self.queue.state().overload(now, self.serial, retry_after);
    }

    /// Takes note of the rate-limit headers of a response that is no success. Call it before
    /// [`Permit::overloaded`] if the overload has such headers.
    pub fn observe(&self, headers: &RateHeaders) {
        let now = self.queue.now();
        self.queue.state().observe(now, self.serial, headers);
        self.queue.changed.notify_one();
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.queue.state().release();
        self.queue.changed.notify_one();
    }
}

impl Queue {
    fn now(&self) -> Moment {
        self.start.elapsed()
    }

    /// A panic elsewhere is a bug that is reported there. Stopping every other request would not help.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn limits(tokens: u32, concurrency: u32) -> RateLimits {
        RateLimits {
            requests_per_minute: Some(1_000_000),
            tokens_per_minute: Some(tokens),
            max_concurrency: concurrency,
            headroom_permille: 0,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_beyond_the_patience_is_not_waited_for() {
        let limiter = Limiter::new(limits(1000, 64));
        let permit = limiter.acquire(10).await.unwrap();
        permit.success(&RateHeaders {
            remaining_requests: Some(0),
            reset_requests: Some(Duration::from_secs(3_600)),
            ..RateHeaders::default()
        });
        let patience = Duration::from_secs(600);
        let refused = limiter.acquire_within(10, patience).await;
        assert_eq!(
            refused.err(),
            Some(NotSent::Closed(Duration::from_secs(3_600)))
        );
        let start = Instant::now();
        assert!(limiter.acquire_within(10, patience * 10).await.is_ok());
        assert_eq!(start.elapsed(), Duration::from_secs(3_600));
    }

    #[tokio::test(start_paused = true)]
    async fn small_requests_do_not_pass_a_large_one() {
        let limiter = Limiter::new(limits(1000, 64));
        let _burst = limiter.acquire(900).await.unwrap();
        let small = Arc::new(AtomicU32::new(0));
        let large = limiter.clone();
        let large = tokio::spawn(async move { large.acquire(900).await.unwrap() });
        tokio::task::yield_now().await;
        for _ in 0..8 {
            let (limiter, small) = (limiter.clone(), Arc::clone(&small));
            tokio::spawn(async move {
                loop {
                    let _permit = limiter.acquire(50).await.unwrap();
                    small.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let start = Instant::now();
        drop(large.await.unwrap());
        // 900 tokens at 1000 a minute are paid after 54 s, a burst of 16 tokens earlier.
        assert_eq!(start.elapsed().as_secs(), 53);
        assert_eq!(small.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_newcomer_does_not_pass_a_request_that_is_just_being_woken() {
        let limiter = Limiter::new(limits(1_000_000, 1));
        let first = limiter.acquire(1).await.unwrap();
        let waiting = limiter.clone();
        let second = tokio::spawn(async move {
            let _permit = waiting.acquire(1).await.unwrap();
            tokio::time::sleep(Duration::from_secs(5)).await;
        });
        tokio::task::yield_now().await;
        let start = Instant::now();
        drop(first);
        let _third = limiter.acquire(1).await.unwrap();
        assert_eq!(start.elapsed().as_secs(), 5);
        assert!(second.is_finished());
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_call_leaves_the_line_and_uses_nothing() {
        let limiter = Limiter::new(limits(60_000, 64));
        let _burst = limiter.acquire(30_000).await.unwrap();
        let start = Instant::now();
        let head = tokio::time::timeout(Duration::from_secs(1), limiter.acquire(30_000));
        assert!(head.await.is_err());
        let _next = limiter.acquire(10).await.unwrap();
        assert_eq!(start.elapsed().as_secs(), 29);
        assert_eq!(limiter.in_flight(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_permit_frees_its_place() {
        let limiter = Limiter::new(limits(1_000_000, 1));
        let first = limiter.acquire(1).await.unwrap();
        let waiting = limiter.clone();
        let second = tokio::spawn(async move { waiting.acquire(1).await.unwrap() });
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(!second.is_finished());
        drop(first);
        let second = tokio::time::timeout(Duration::from_millis(1), second);
        drop(second.await.unwrap().unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_holds_requests_that_already_wait() {
        let limiter = Limiter::new(limits(60_000, 8));
        let first = limiter.acquire(3_000).await.unwrap();
        let waiting = limiter.clone();
        let second = tokio::spawn(async move {
            let _permit = waiting.acquire(1).await.unwrap();
            Instant::now()
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        let asked = Instant::now();
        first.overloaded(Some(Duration::from_secs(20)));
        let queue = &limiter.queue;
        assert_eq!(
            queue.state().closed_for(queue.now()),
            Duration::from_secs(20)
        );
        assert_eq!((second.await.unwrap() - asked).as_secs(), 20);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_can_never_go_is_an_error() {
        let limiter = Limiter::new(limits(1000, 8));
        let error = limiter.acquire(1001).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "a request of 1001 tokens is above the limit of 1000 tokens a minute; send less at \
             once or raise the limit"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_response_states_the_limits_that_are_not_configured() {
        let limiter = Limiter::new(RateLimits::default());
        let probe = limiter.acquire(100).await.unwrap();
        let early = limiter.acquire(100);
        assert!(
            tokio::time::timeout(Duration::from_secs(9), early)
                .await
                .is_err()
        );
        probe.success(&RateHeaders {
            limit_tokens: Some(60_000),
            ..RateHeaders::default()
        });
        assert_eq!(limiter.queue.state().requests_per_minute(), None);
        assert_eq!(limiter.tokens_per_minute(), Some(60_000));
        let start = Instant::now();
        for _ in 0..3 {
            let permit = limiter.acquire(6_000).await.unwrap();
            permit.success(&RateHeaders {
                limit_tokens: Some(60_000),
                ..RateHeaders::default()
            });
        }
        // Two requests are paid for before the third goes; half a percent is headroom.
        assert_eq!(start.elapsed().as_millis(), 12_061);
    }

    #[tokio::test(start_paused = true)]
    async fn headers_let_waiting_requests_go_before_the_first_is_over() {
        let limiter = Limiter::new(RateLimits::default());
        let probe = limiter.acquire(1).await.unwrap();
        let waiting = limiter.clone();
        let second = tokio::spawn(async move { waiting.acquire(1).await.unwrap() });
        tokio::task::yield_now().await;
        probe.observe(&RateHeaders::default());
        let second = tokio::time::timeout(Duration::from_secs(9), second);
        drop(second.await.unwrap().unwrap());
        assert_eq!(limiter.in_flight(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn batches_are_two_seconds_worth_with_room_for_one_text() {
        for (limit, expected) in [(1_000_000, 33_333), (100_000, 8_192), (5_000, 5_000)] {
            assert_eq!(
                Limiter::new(limits(limit, 1)).batch_tokens(),
                Some(expected)
            );
        }
        assert_eq!(Limiter::new(RateLimits::default()).batch_tokens(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn without_limits_only_the_concurrency_bounds_requests() {
        let limiter = Limiter::new(RateLimits {
            max_concurrency: 6,
            ..RateLimits::default()
        });
        let start = Instant::now();
        for _ in 0..1000 {
            let permit = limiter.acquire(u32::MAX).await.unwrap();
            permit.success(&RateHeaders::default());
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert_eq!(limiter.queue.state().concurrency(), 6);
    }
}
