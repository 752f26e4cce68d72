//! The waiting: a line in front of the decisions, and the permits that come out of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::limit::{Cost, Limits, Observed, TooLarge};
use super::state::{Admit, State};
use super::{Moment, Serial};

/// The tokens of the longest text that one input may be (API reference, "Create embeddings").
const LONGEST_TEXT_TOKENS: u32 = 8192;

/// Lets requests out as fast as the limits allow, in the order in which they came. Clones share
/// one line and one set of limits.
#[derive(Debug, Clone)]
pub struct Limiter {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    start: Instant,
    /// Held by the request at the head of the line. tokio's mutex is fair: it is handed on in the
    /// order of the calls.
    line: tokio::sync::Mutex<()>,
    /// Wakes the head of the line, the only one that waits for it.
    changed: Notify,
    state: Mutex<State>,
}

/// The right to have one request out. Dropping it gives the place to the next; what was booked is
/// not given back, for the provider may have counted it.
#[derive(Debug)]
#[must_use = "a permit that is dropped at once lets the next request out"]
pub struct Permit {
    shared: Arc<Shared>,
    serial: Serial,
}

/// How a limiter stands, for progress and reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshot {
    /// Requests sent in the last minute; in the first minute, what its pace comes to.
    pub requests_per_minute: u64,
    /// Tokens sent in the last minute; in the first minute, what its pace comes to.
    pub tokens_per_minute: u64,
    /// The limit on requests a minute, as configured or discovered.
    pub requests_limit: Option<u32>,
    /// The limit on tokens a minute, as configured or discovered.
    pub tokens_limit: Option<u32>,
    /// Requests that are out.
    pub in_flight: u32,
    /// How many may be out.
    pub concurrency: u32,
    /// How long no request is sent because the provider asked for a pause; zero for no pause.
    pub closed_for: Duration,
    /// Answers so far that said the provider had too much to do.
    pub overloads: u64,
}

impl Limiter {
    /// A limiter that starts now, with nothing used yet.
    pub fn new(limits: Limits) -> Self {
        let shared = Shared {
            start: Instant::now(),
            line: tokio::sync::Mutex::default(),
            changed: Notify::new(),
            state: Mutex::new(State::new(limits)),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Waits until a request of that cost may be sent.
    ///
    /// Requests go in the order in which they called: a large one is never passed by small ones.
    /// A call that is dropped leaves the line and has used nothing. Where a limit is not
    /// configured, the first request goes alone, since its answer may state it.
    ///
    /// # Errors
    ///
    /// [`TooLarge`] where the request alone is above a limit of a minute.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), sluice_provider::limiter::TooLarge> {
    /// use sluice_provider::limiter::{Cost, Limiter, Limits, Observed};
    ///
    /// let limits = Limits { tokens_per_minute: Some(1_000_000), ..Limits::default() };
    /// let limiter = Limiter::new(limits);
    /// let permit = limiter.acquire(Cost::of_tokens(9_000)).await?;
    /// // Send the request, then tell how it went.
    /// permit.success(&Observed::default());
    /// assert_eq!(limiter.snapshot().in_flight, 0);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn acquire(&self, cost: Cost) -> Result<Permit, TooLarge> {
        let shared = &self.shared;
        let _head_of_line = shared.line.lock().await;
        loop {
            let now = shared.now();
            let admitted = shared.state().admit(now, cost);
            match admitted {
                Admit::Now(serial) => {
                    return Ok(Permit {
                        shared: Arc::clone(shared),
                        serial,
                    });
                }
                Admit::Wait(until) => {
                    let due = shared.start + until;
                    // Either way the decision is made anew.
                    let _ = tokio::time::timeout_at(due, shared.changed.notified()).await;
                }
                Admit::Full => shared.changed.notified().await,
                Admit::TooLarge(error) => return Err(error),
            }
        }
    }

    /// The most tokens that a request should have, for requests to follow each other evenly: two
    /// seconds' worth of the limit, but room for one longest text. `None` while no limit is known.
    pub fn batch_tokens(&self) -> Option<u32> {
        let limit = self.snapshot().tokens_limit?;
        Some((limit / 30).max(LONGEST_TEXT_TOKENS).min(limit))
    }

    /// How the limiter stands.
    pub fn snapshot(&self) -> Snapshot {
        let now = self.shared.now();
        self.shared.state().snapshot(now)
    }
}

impl Permit {
    /// The request was answered well, with these rate-limit headers.
    pub fn success(self, seen: &Observed) {
        self.observe(seen);
        self.shared.state().succeed();
    }

    /// The provider was overloaded or a limit was reached; `retry_after` is the pause it asked
    /// for. No request is sent before that is over.
    pub fn overloaded(self, retry_after: Option<Duration>) {
        let now = self.shared.now();
        self.shared.state().overload(now, self.serial, retry_after);
    }

    /// Takes note of the rate-limit headers of an answer that is neither: a refusal, or an
    /// overload whose headers are worth knowing before [`Permit::overloaded`].
    pub fn observe(&self, seen: &Observed) {
        let now = self.shared.now();
        self.shared.state().observe(now, self.serial, seen);
        self.shared.changed.notify_one();
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.shared.state().release();
        self.shared.changed.notify_one();
    }
}

impl Shared {
    fn now(&self) -> Moment {
        self.start.elapsed()
    }

    /// A call that panicked is a bug that was reported; stopping all others would not mend it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn limits(tokens: u32, concurrency: u32) -> Limits {
        Limits {
            requests_per_minute: Some(1_000_000),
            tokens_per_minute: Some(tokens),
            max_concurrency: concurrency,
            headroom_permille: 0,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_request_is_not_passed_by_small_ones() {
        let limiter = Limiter::new(limits(1000, 64));
        let _burst = limiter.acquire(Cost::of_tokens(900)).await.unwrap();
        let small = Arc::new(AtomicU32::new(0));
        let large = limiter.clone();
        let large = tokio::spawn(async move { large.acquire(Cost::of_tokens(900)).await.unwrap() });
        tokio::task::yield_now().await;
        for _ in 0..8 {
            let (limiter, small) = (limiter.clone(), Arc::clone(&small));
            tokio::spawn(async move {
                loop {
                    let _permit = limiter.acquire(Cost::of_tokens(50)).await.unwrap();
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
    async fn a_newcomer_does_not_pass_who_is_just_being_woken() {
        let limiter = Limiter::new(limits(1_000_000, 1));
        let first = limiter.acquire(Cost::of_tokens(1)).await.unwrap();
        let waiting = limiter.clone();
        let second = tokio::spawn(async move {
            let _permit = waiting.acquire(Cost::of_tokens(1)).await.unwrap();
            tokio::time::sleep(Duration::from_secs(5)).await;
        });
        tokio::task::yield_now().await;
        let start = Instant::now();
        drop(first);
        let _third = limiter.acquire(Cost::of_tokens(1)).await.unwrap();
        assert_eq!(start.elapsed().as_secs(), 5);
        assert!(second.is_finished());
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_call_leaves_the_line_and_uses_nothing() {
        let limiter = Limiter::new(limits(60_000, 64));
        let _burst = limiter.acquire(Cost::of_tokens(30_000)).await.unwrap();
        let start = Instant::now();
        let head = tokio::time::timeout(
            Duration::from_secs(1),
            limiter.acquire(Cost::of_tokens(30_000)),
        );
        assert!(head.await.is_err());
        let _next = limiter.acquire(Cost::of_tokens(10)).await.unwrap();
        assert_eq!(start.elapsed().as_secs(), 29);
        assert_eq!(limiter.snapshot().in_flight, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_permit_that_is_dropped_gives_its_place_on() {
        let limiter = Limiter::new(limits(1_000_000, 1));
        let first = limiter.acquire(Cost::of_tokens(1)).await.unwrap();
        let waiting = limiter.clone();
        let second =
            tokio::spawn(async move { waiting.acquire(Cost::of_tokens(1)).await.unwrap() });
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(!second.is_finished());
        drop(first);
        let second = tokio::time::timeout(Duration::from_millis(1), second);
        drop(second.await.unwrap().unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_goes_before_a_pause_is_over_also_who_waits_already() {
        let limiter = Limiter::new(limits(60_000, 8));
        let first = limiter.acquire(Cost::of_tokens(3_000)).await.unwrap();
        let waiting = limiter.clone();
        let second = tokio::spawn(async move {
            let _permit = waiting.acquire(Cost::of_tokens(1)).await.unwrap();
            Instant::now()
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        let asked = Instant::now();
        first.overloaded(Some(Duration::from_secs(20)));
        assert_eq!(limiter.snapshot().closed_for, Duration::from_secs(20));
        assert_eq!(limiter.snapshot().overloads, 1);
        assert_eq!((second.await.unwrap() - asked).as_secs(), 20);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_can_never_go_is_an_error() {
        let limiter = Limiter::new(limits(1000, 8));
        let error = limiter.acquire(Cost::of_tokens(1001)).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "a request of 1001 tokens is above the limit of 1000 tokens a minute; send less at \
             once or raise the limit"
        );
        let error = limiter
            .acquire(Cost {
                requests: 1_000_001,
                tokens: 1,
            })
            .await
            .unwrap_err();
        assert_eq!((error.unit, error.limit), ("requests", 1_000_000));
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_answer_tells_the_limits_that_are_not_configured() {
        let limiter = Limiter::new(Limits::default());
        let probe = limiter.acquire(Cost::of_tokens(100)).await.unwrap();
        let early = limiter.acquire(Cost::of_tokens(100));
        assert!(
            tokio::time::timeout(Duration::from_secs(9), early)
                .await
                .is_err()
        );
        probe.success(&Observed {
            limit_tokens: Some(60_000),
            ..Observed::default()
        });
        let snapshot = limiter.snapshot();
        assert_eq!(
            (snapshot.requests_limit, snapshot.tokens_limit),
            (None, Some(60_000))
        );
        let start = Instant::now();
        for _ in 0..3 {
            let permit = limiter.acquire(Cost::of_tokens(6_000)).await.unwrap();
            permit.success(&Observed {
                limit_tokens: Some(60_000),
                ..Observed::default()
            });
        }
        // Two requests are paid for before the third goes; half a percent is headroom.
        assert_eq!(start.elapsed().as_millis(), 12_061);
    }

    #[tokio::test(start_paused = true)]
    async fn headers_free_those_who_wait_before_the_request_is_over() {
        let limiter = Limiter::new(Limits::default());
        let probe = limiter.acquire(Cost::of_tokens(1)).await.unwrap();
        let waiting = limiter.clone();
        let second =
            tokio::spawn(async move { waiting.acquire(Cost::of_tokens(1)).await.unwrap() });
        tokio::task::yield_now().await;
        probe.observe(&Observed::default());
        let second = tokio::time::timeout(Duration::from_secs(9), second);
        drop(second.await.unwrap().unwrap());
        assert_eq!(limiter.snapshot().in_flight, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn batches_are_two_seconds_worth_with_room_for_one_text() {
        for (limit, expected) in [(1_000_000, 33_333), (100_000, 8_192), (5_000, 5_000)] {
            assert_eq!(
                Limiter::new(limits(limit, 1)).batch_tokens(),
                Some(expected)
            );
        }
        assert_eq!(Limiter::new(Limits::default()).batch_tokens(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn without_limits_only_the_concurrency_bounds() {
        let limiter = Limiter::new(Limits {
            max_concurrency: 6,
            ..Limits::default()
        });
        let start = Instant::now();
        for _ in 0..1000 {
            let permit = limiter.acquire(Cost::of_tokens(u32::MAX)).await.unwrap();
            permit.success(&Observed::default());
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert_eq!(limiter.snapshot().concurrency, 6);
    }
}
