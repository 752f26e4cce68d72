//! Patience: how long a service that does not answer is waited for.

use std::fmt::{Display, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, sleep};

use super::backoff::backoff;
use super::flow::StorageError;
use super::stop::{Stop, StopReason};

/// The first pause before the next attempt.
const PAUSE_MIN: Duration = Duration::from_millis(250);
/// The longest pause that the service has not asked for.
const PAUSE_MAX: Duration = Duration::from_secs(16);
/// A shorter wait is not worth a line.
const NOTICED: Duration = Duration::from_millis(500);
/// Nor is a short wait for a rate limit, because flows work at the limit.
const LIMIT_NOTICED: Duration = Duration::from_secs(5);

/// How long one service is waited for. Clones share what is known of its outage.
///
/// Every call that fails begins a [`Wait`]. The wait ends when the call or the whole service has failed for as
/// long as the patience. So when one call has given up, the others do not begin to wait.
#[derive(Debug, Clone)]
pub struct Patience {
    service: Arc<Service>,
    until: Until,
}

#[derive(Debug)]
struct Service {
    /// As in "the database".
    name: &'static str,
    /// The setting that says how long it is waited for.
    setting: &'static str,
    most: Duration,
    /// Set while no call has succeeded since one failed.
    outage: Mutex<Option<Outage>>,
}

#[derive(Debug, Clone, Copy)]
struct Outage {
    since: Instant,
    last: Instant,
    is_announced: bool,
}

/// What ends the waits before the patience is over.
#[derive(Debug, Clone)]
enum Until {
    Ever,
    /// A stop of the run.
    Stopped(Stop),
    /// Only the end of the time in which paid results may still be written.
    Late(Stop),
}

/// A failed attempt.
#[derive(Clone, Copy)]
pub struct Setback<'a> {
    /// What went wrong.
    pub why: &'a (dyn Display + Sync),
    /// The pause that the service asks for.
    pub asked: Option<Duration>,
    /// True if only a rate limit was reached.
    pub is_limit: bool,
}

/// Why a service is not waited for any longer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GaveUp {
    /// The run was stopped.
    #[error("stopped while waiting: {0}")]
    Stopped(String),
    /// The service has failed for as long as the patience.
    #[error("{0}")]
    Over(String),
    /// This call has failed for as long as the patience, while others succeeded.
    #[error("{0}")]
    Alone(String),
    /// The service asks for a longer pause than the patience.
    #[error("{0}")]
    ComeBack(String),
}

/// The wait of one call.
#[derive(Debug)]
pub struct Wait {
    patience: Patience,
    since: Option<Instant>,
    attempts: u32,
    is_announced: bool,
}

impl Patience {
    /// Patience with the service of this name. `setting` is where `most` is configured.
    pub fn new(name: &'static str, setting: &'static str, most: Duration) -> Self {
        Self {
            service: Arc::new(Service {
                name,
                setting,
                most,
                outage: Mutex::default(),
            }),
            until: Until::Ever,
        }
    }

    /// The same, whose waits end when the run is stopped.
    #[must_use]
    pub fn until_stopped(&self, stop: &Stop) -> Self {
        Self {
            service: self.service.clone(),
            until: Until::Stopped(stop.clone()),
        }
    }

    /// The same for results that are paid for: a stop of the run does not end their waits until they are late.
    #[must_use]
    pub fn outlasting(&self) -> Self {
        let until = match &self.until {
            Until::Ever => Until::Ever,
            Until::Stopped(stop) | Until::Late(stop) => Until::Late(stop.clone()),
        };
        Self {
            service: self.service.clone(),
            until,
        }
    }

    /// How long the service is waited for.
    pub fn most(&self) -> Duration {
        self.service.most
    }

    /// Begins the wait of one call.
    pub fn begin(&self) -> Wait {
        Wait {
            patience: self.clone(),
            since: None,
            attempts: 0,
            is_announced: false,
        }
    }

    /// Notes that a call has succeeded, which ends an outage.
    pub fn answered(&self) {
        *self.outage() = None;
    }

    /// The reason to stop when the service asks for a pause that is too long.
    pub fn come_back(&self, wait: Duration, why: &dyn Display) -> GaveUp {
        let Service { name, setting, .. } = *self.service;
        GaveUp::ComeBack(format!(
            "{name} asks for a longer pause than {setting}: come back at {}; {why}",
            time_after(wait)
        ))
    }

    fn outage(&self) -> MutexGuard<'_, Option<Outage>> {
        let outage = self.service.outage.lock();
        outage.unwrap_or_else(PoisonError::into_inner)
    }

    async fn sleep(&self, pause: Duration) -> bool {
        match &self.until {
            Until::Ever => sleep(pause).await,
            Until::Stopped(stop) => return stop.sleep(pause).await,
            Until::Late(stop) => tokio::select! {
                () = stop.late() => return false,
                () = sleep(pause) => {}
            },
        }
        true
    }
}

impl Wait {
    /// Notes a failed attempt. Returns the pause before the next one, without the one that the service asks for.
    ///
    /// # Errors
    /// Why the call should not be made again.
    pub fn failed(&mut self, setback: Setback<'_>) -> Result<Duration, GaveUp> {
        let now = Instant::now();
        let since = *self.since.get_or_insert(now);
        let most = self.patience.most();
        let mut shared = self.patience.outage();
        // Nothing is known about a service that was not called for so long.
        let is_going_on = |outage: &Outage| now - outage.last <= most.max(PAUSE_MAX);
        let mut outage = shared.filter(is_going_on).unwrap_or(Outage {
            since: now,
            last: now,
            is_announced: false,
        });
        outage.last = now;
        let waited = now - since.min(outage.since);
        let left = most.saturating_sub(waited);
        let pause = backoff(self.attempts, PAUSE_MIN, PAUSE_MAX).min(left);
        self.attempts += 1;
        let wait = pause.max(setback.asked.unwrap_or_default());
        let noticed = if setback.is_limit {
            LIMIT_NOTICED
        } else {
            NOTICED
        };
        let is_worth_a_line = !left.is_zero() && wait <= left && waited.max(wait) >= noticed;
        let is_news = is_worth_a_line && !self.is_announced && !outage.is_announced;
        self.is_announced |= is_worth_a_line;
        outage.is_announced |= is_worth_a_line;
        *shared = Some(outage);
        drop(shared);
        if let Some(asked) = setback.asked.filter(|asked| *asked > left) {
            return Err(self.patience.come_back(asked, setback.why));
        }
        if left.is_zero() {
            return Err(self.over(outage, since, setback.why));
        }
        if is_news {
            self.announce(setback, left);
        }
        Ok(pause)
    }

    /// Notes a failed attempt, and waits before the next one.
    ///
    /// # Errors
    /// Why the call should not be made again.
    pub async fn pause(&mut self, setback: Setback<'_>) -> Result<(), GaveUp> {
        let pause = self.failed(setback)?;
        let pause = pause.max(setback.asked.unwrap_or_default());
        if self.patience.sleep(pause).await {
            return Ok(());
        }
        Err(GaveUp::Stopped(setback.why.to_string()))
    }

    /// Waits before the next attempt of a call to the database.
    pub(super) async fn outlast(&mut self, error: &StorageError) -> Result<(), StorageError> {
        let setback = Setback {
            why: error,
            asked: None,
            is_limit: false,
        };
        let gave_up = self.pause(setback).await;
        gave_up.map_err(|gave_up| StorageError::GaveUp(StopReason::Database(gave_up.to_string())))
    }

    fn over(&self, outage: Outage, since: Instant, why: &dyn Display) -> GaveUp {
        let Service {
            name,
            setting,
            most,
            ..
        } = *self.patience.service;
        let text = format!("waited {} s for {name} ({setting}): {why}", most.as_secs());
        if outage.since > since {
            GaveUp::Alone(text)
        } else {
            GaveUp::Over(text)
        }
    }

    fn announce(&self, setback: Setback<'_>, left: Duration) {
        let name = self.patience.service.name;
        let mut text = format!("waiting for {name} until ");
        let _infallible = match setback.asked {
            Some(asked) => write!(text, "{}, as it asks", time_after(asked)),
            None => write!(text, "{} at most", time_after(left)),
        };
        tracing::warn!("{text}: {}", setback.why);
    }
}

/// The time of day after a wait.
fn time_after(wait: Duration) -> impl Display {
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
    let time = Timestamp::now()
        .saturating_add(wait)
        .unwrap_or(Timestamp::MAX);
    format!("{time:.0}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setback(asked: Option<u64>) -> Setback<'static> {
        Setback {
            why: &"it is away",
            asked: asked.map(Duration::from_secs),
            is_limit: false,
        }
    }

    fn patience(seconds: u64) -> Patience {
        Patience::new(
            "the database",
            "supabase.patience_seconds",
            Duration::from_secs(seconds),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_lasts_as_long_as_the_patience() {
        let (patience, started) = (patience(60), Instant::now());
        let mut wait = patience.begin();
        while wait.pause(setback(None)).await.is_ok() {}
        assert_eq!(started.elapsed().as_secs(), 60);
        // The others do not begin to wait then.
        let gave_up = patience.begin().pause(setback(None)).await.unwrap_err();
        assert!(matches!(gave_up, GaveUp::Over(_)), "{gave_up:?}");
        assert_eq!(started.elapsed().as_secs(), 60);
        patience.answered();
        assert!(patience.begin().pause(setback(None)).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_fails_alone_is_told_from_an_outage() {
        let patience = patience(60);
        let mut wait = patience.begin();
        let gave_up = loop {
            patience.answered();
            if let Err(gave_up) = wait.pause(setback(None)).await {
                break gave_up;
            }
        };
        assert!(matches!(gave_up, GaveUp::Alone(_)), "{gave_up:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_longer_pause_than_is_left_is_not_begun() {
        let (patience, started) = (patience(60), Instant::now());
        let mut wait = patience.begin();
        wait.pause(setback(Some(50))).await.unwrap();
        assert_eq!(started.elapsed().as_secs(), 50);
        let gave_up = wait.pause(setback(Some(20))).await.unwrap_err();
        assert!(matches!(&gave_up, GaveUp::ComeBack(text) if text.contains("come back at 2")));
        assert_eq!(started.elapsed().as_secs(), 50);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_the_waits_but_not_those_for_paid_results() {
        let (patience, stop, started) = (patience(600), Stop::new(), Instant::now());
        let bound = patience.until_stopped(&stop);
        stop.stop(StopReason::Refused("the key".to_owned()));
        let gave_up = bound.begin().pause(setback(Some(9))).await.unwrap_err();
        assert!(matches!(gave_up, GaveUp::Stopped(_)), "{gave_up:?}");
        assert_eq!(started.elapsed().as_secs(), 0);
        let paid = bound.outlasting();
        paid.begin().pause(setback(Some(9))).await.unwrap();
        assert_eq!(started.elapsed().as_secs(), 9);
        stop.abort();
        assert!(paid.begin().pause(setback(Some(9))).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_long_ago_does_not_count() {
        let patience = patience(60);
        patience.begin().failed(setback(None)).unwrap();
        tokio::time::advance(Duration::from_secs(90)).await;
        patience.begin().failed(setback(None)).unwrap();
    }
}
