//! One run of a flow: its bounds, what stops it, and what it has done so far.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use uuid::Uuid;

use super::ledger::Ledger;
use super::requester::RequestMetrics;
use crate::engine::{Metrics, Stop};

/// How one run of a flow is bounded.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct FlowOptions {
    /// The most rows that the run takes up.
    pub limit: Option<u64>,
    /// When to stop claiming.
    pub deadline: Option<Duration>,
    /// The most dollars that the run spends.
    pub max_usd: Option<f64>,
    /// Spend and write nothing.
    pub dry_run: bool,
    /// Use the provider's batches: half the price, within a day.
    pub batch: Option<Batching>,
}

/// How a run uses the provider's batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Batching {
    /// It waits until all batches have ended, and stores their results.
    Wait,
    /// It stores what is done and makes batches of what is due. What is at the provider then is left to a later run.
    HandOver,
}

/// One run of a flow. Clones share what stops it and what it has done.
#[derive(Debug, Clone)]
pub struct Run {
    /// Its id, by which log lines of one run are found.
    pub id: Uuid,
    /// Its bounds.
    pub options: FlowOptions,
    /// What stops it.
    pub stop: Stop,
    /// Its rows so far.
    pub metrics: Arc<Metrics>,
    /// Its requests to the provider so far.
    pub requests: Arc<RequestMetrics>,
    pub(super) ledger: Ledger,
    pub(super) started: Instant,
    /// Requests to the database, all and retried, before the run began.
    pub(super) requests_before: (u64, u64),
    /// Written once, by whoever knows first how many rows are due. Only the progress bar reads it.
    expected: Arc<OnceLock<u64>>,
    /// Written by the recompute. Only the progress bar and a job's heartbeat read it.
    staged: Arc<AtomicU64>,
    /// Stops the run at its deadline, however long it waits for somebody.
    _deadline: Option<Arc<Deadline>>,
}

/// The task that stops a run at its deadline. It ends with the run.
#[derive(Debug)]
struct Deadline(JoinHandle<()>);

impl Drop for Deadline {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Run {
    pub(super) fn new(
        options: FlowOptions,
        stop: Stop,
        requests_before: (u64, u64),
        ledger: Ledger,
    ) -> Self {
        let expires = options.deadline.map(|deadline| {
            let stop = stop.clone();
            let expire = async move { stop.expire(deadline).await };
            Arc::new(Deadline(tokio::spawn(expire)))
        });
        let started = Instant::now();
        Self {
            id: ledger.holder(),
            options,
            stop,
            metrics: Arc::default(),
            requests: Arc::new(RequestMetrics::new(started)),
            ledger,
            started,
            requests_before,
            expected: Arc::default(),
            staged: Arc::default(),
            _deadline: expires,
        }
    }

    /// Dollars spent so far.
    pub fn usd(&self) -> f64 {
        self.ledger.spent()
    }

    /// The rate limit of the run's model in tokens a minute, once it is known.
    pub fn tokens_per_minute(&self) -> Option<u64> {
        self.requests.tokens_per_minute()
    }

    /// Rows that are done so far.
    pub fn progress(&self) -> u64 {
        let rows = self.metrics.rows();
        let ended = rows.written + rows.skipped + rows.failed;
        ended.max(self.staged.load(Ordering::Relaxed))
    }

    /// About how many rows were due when the flow began, if known.
    pub fn total(&self) -> Option<u64> {
        self.expected.get().copied()
    }

    /// True if the run has taken up as many rows as it may.
    pub(super) fn is_at_limit(&self) -> bool {
        let limit = self.options.limit;
        limit.is_some_and(|limit| self.metrics.rows().selected >= limit)
    }

    /// Counts rows whose new scores are computed. They are written all at once, at the end.
    pub(super) fn staged(&self, rows: u64) {
        self.staged.fetch_add(rows, Ordering::Relaxed);
        self.metrics
            .selected(usize::try_from(rows).unwrap_or(usize::MAX));
    }

    /// Notes about how many rows are due. The first number stays: it was counted, or it is from the start.
    pub(super) fn expect(&self, rows: u64) {
        let rows = self.options.limit.map_or(rows, |limit| limit.min(rows));
        self.expected.get_or_init(|| rows);
    }
}
