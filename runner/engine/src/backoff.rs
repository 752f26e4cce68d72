//! How long to wait before a call is repeated.

use std::time::Duration;

use tokio::time::Instant;

use super::stop::Stop;

/// The pause after the failed attempt number `attempt` (the first is 0). It doubles from `first` up to
/// `longest`. Up to half of it is taken off at random, so that many runners do not come back at once.
pub fn backoff(attempt: u32, first: Duration, longest: Duration) -> Duration {
    let pause = first.saturating_mul(1 << attempt.min(20)).min(longest);
    pause.mul_f64(0.5 + fastrand::f64() / 2.0)
}

/// The first pause while the database does not answer.
const PAUSE_MIN: Duration = Duration::from_millis(250);
/// The longest of these pauses.
const PAUSE_MAX: Duration = Duration::from_secs(16);

/// An outage of the database, as one call sees it.
#[derive(Debug, Default)]
pub(super) struct Outage {
    since: Option<Instant>,
    attempts: u32,
}

impl Outage {
    /// Waits before the next attempt. False if patience has run out or the flow is stopped.
    pub(super) async fn wait(&mut self, patience: Duration, stop: &Stop) -> bool {
        match self.pause(patience) {
            Some(pause) => stop.sleep(pause).await,
            None => false,
        }
    }

    /// Waits as [`wait`](Self::wait) does, but goes on through a stop until that becomes an abort. For
    /// results that are already paid for.
    pub(super) async fn outlast(&mut self, patience: Duration, stop: &Stop) -> bool {
        let Some(pause) = self.pause(patience) else {
            return false;
        };
        tokio::select! {
            () = stop.aborted() => false,
            () = tokio::time::sleep(pause) => true,
        }
    }

    fn pause(&mut self, patience: Duration) -> Option<Duration> {
        let since = *self.since.get_or_insert_with(Instant::now);
        let pause = backoff(self.attempts, PAUSE_MIN, PAUSE_MAX);
        self.attempts += 1;
        (since.elapsed() <= patience).then_some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let (first, longest) = (Duration::from_millis(250), Duration::from_secs(20));
        for (attempt, low, high) in [
            (0, 125, 250),
            (2, 500, 1_000),
            (30, 10_000, 20_000),
            (u32::MAX, 10_000, 20_000),
        ] {
            let pause = backoff(attempt, first, longest).as_millis();
            assert!(
                (low..=high).contains(&pause),
                "{pause} ms after attempt {attempt}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends() {
        let (mut outage, patience) = (Outage::default(), Duration::from_secs(10));
        assert!(outage.pause(patience).is_some());
        tokio::time::advance(patience).await;
        assert!(outage.pause(patience).is_some());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(outage.pause(patience).is_none());
    }
}
