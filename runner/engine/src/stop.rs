//! Stopping: who asked for it, and how far it has gone.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::words::count;

/// How long batches in flight may take to finish after an interrupt. GitHub Actions kills after 7.5 s.
pub const DRAIN: Duration = Duration::from_secs(5);
/// How long a service is still waited for after a deadline, if results are paid for and not yet written.
const GRACE: Duration = Duration::from_secs(30);
/// How long the results may then take to be written, and as long again for the other rows to be released.
const LEAVE: Duration = Duration::from_millis(800);

/// Why a flow stopped before nothing was due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopReason {
    /// `--limit` rows are done.
    Limit(u64),
    /// `--deadline` has passed.
    Deadline(Duration),
    /// `--max-usd` would have been exceeded.
    Budget(String),
    /// The flow cannot run with these settings.
    Settings(String),
    /// A signal or the caller asked for it.
    Interrupted,
    /// The job that this flow runs was cancelled or lost to another worker.
    JobGone(String),
    /// Some rows stay due, for this reason.
    Deferred(String),
    /// The provider refuses every request.
    Refused(String),
    /// The provider has not answered for longer than the configured patience.
    Outage(String),
    /// The database cannot be reached, or refuses a request of the flow.
    Database(String),
}

impl std::fmt::Display for StopReason {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Limit(rows) => {
                write!(formatter, "the limit of {} is reached", count(*rows, "row"))
            }
            Self::Deadline(after) => write!(formatter, "the deadline of {after:?} has passed"),
            Self::Interrupted => formatter.write_str("interrupted"),
            Self::Budget(why)
            | Self::Settings(why)
            | Self::JobGone(why)
            | Self::Deferred(why)
            | Self::Refused(why)
            | Self::Outage(why)
            | Self::Database(why) => formatter.write_str(why),
        }
    }
}

/// A handle that stops a flow. All tasks of the flow share it.
///
/// Stopping has two steps. A stop ends claiming and sending at once. Batches in flight are aborted only by
/// [`Stop::abort`], which an interrupt calls after [`DRAIN`].
#[derive(Debug, Clone, Default)]
pub struct Stop {
    reason: Arc<OnceLock<StopReason>>,
    /// Why rows stay due although the flow was not stopped.
    left: Arc<OnceLock<StopReason>>,
    sending: CancellationToken,
    /// Cancelled when nothing is waited for any longer, not even to write results.
    waiting: CancellationToken,
    in_flight: CancellationToken,
}

impl Stop {
    /// A handle for a flow that runs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends claiming and sending. The first reason is kept.
    pub fn stop(&self, reason: StopReason) {
        if self.reason.set(reason).is_ok() {
            tracing::info!(reason = %self.reason().map(ToString::to_string).unwrap_or_default(), "stopping");
        }
        self.sending.cancel();
    }

    /// Ends the batches in flight as well.
    pub fn abort(&self) {
        self.sending.cancel();
        self.waiting.cancel();
        self.in_flight.cancel();
    }

    /// Stops as an interrupt does: batches in flight have [`DRAIN`] to finish.
    pub async fn interrupt(&self, reason: StopReason) {
        self.stop(reason);
        tokio::time::sleep(DRAIN).await;
        self.abort();
    }

    /// Stops at a deadline. Paid results are waited for a while longer.
    pub async fn expire(&self, deadline: Duration) {
        tokio::time::sleep(deadline).await;
        self.stop(StopReason::Deadline(deadline));
        tokio::time::sleep(GRACE).await;
        self.waiting.cancel();
    }

    /// Notes why some rows stay due. The flow goes on with the others.
    pub fn leave(&self, reason: StopReason) {
        tracing::debug!(%reason, "some rows stay due");
        // The first reason is kept.
        let _ = self.left.set(reason);
    }

    /// Why the flow was stopped, or else why it leaves rows due.
    pub fn reason(&self) -> Option<&StopReason> {
        self.reason.get().or_else(|| self.left.get())
    }

    /// True if nothing more may be claimed or sent.
    pub fn is_stopped(&self) -> bool {
        self.sending.is_cancelled()
    }

    /// Resolves when nothing more may be claimed or sent.
    pub async fn stopped(&self) {
        self.sending.cancelled().await;
    }

    /// Resolves when the batches in flight must end.
    pub async fn aborted(&self) {
        self.in_flight.cancelled().await;
    }

    /// Resolves when no service is waited for any longer, not even to write results.
    pub(super) async fn late(&self) {
        self.waiting.cancelled().await;
    }

    /// Resolves when an aborted flow has had time for one more step, such as writing its last results.
    pub(super) async fn overdue(&self) {
        self.aborted().await;
        tokio::time::sleep(LEAVE).await;
    }

    /// Sleeps until the time has passed (true) or the flow is stopped (false).
    pub async fn sleep(&self, duration: Duration) -> bool {
        tokio::select! {
            () = self.stopped() => false,
            () = tokio::time::sleep(duration) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_reason_stays() {
        let stop = Stop::new();
        assert!(!stop.is_stopped());
        stop.stop(StopReason::Interrupted);
        stop.stop(StopReason::Limit(3));
        assert_eq!(stop.reason(), Some(&StopReason::Interrupted));
        assert!(stop.is_stopped());
        assert!(!stop.sleep(Duration::from_secs(60)).await);
    }

    #[test]
    fn a_flow_that_leaves_rows_due_goes_on() {
        let stop = Stop::new();
        stop.leave(StopReason::Deferred("raise the limit".to_owned()));
        assert!(!stop.is_stopped() && stop.reason().is_some());
        stop.stop(StopReason::Interrupted);
        assert_eq!(stop.reason(), Some(&StopReason::Interrupted));
    }

    #[tokio::test(start_paused = true)]
    async fn an_interrupt_leaves_time_for_batches_in_flight() {
        let stop = Stop::new();
        let handle = stop.clone();
        let task = tokio::spawn(async move { handle.interrupt(StopReason::Interrupted).await });
        let started = tokio::time::Instant::now();
        stop.aborted().await;
        assert_eq!(started.elapsed(), DRAIN);
        task.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_leaves_time_for_results_that_are_paid_for() {
        let (stop, started) = (Stop::new(), tokio::time::Instant::now());
        let deadline = Duration::from_secs(3);
        let expiring = stop.clone();
        let task = tokio::spawn(async move { expiring.expire(deadline).await });
        stop.stopped().await;
        assert_eq!(started.elapsed(), deadline);
        assert_eq!(stop.reason(), Some(&StopReason::Deadline(deadline)));
        stop.late().await;
        assert_eq!(started.elapsed(), deadline + GRACE);
        assert!(!stop.in_flight.is_cancelled());
        task.await.unwrap();
    }
}
