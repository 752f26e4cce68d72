//! Running a flow: starts the stages, joins them with channels, and releases what is left at the end.
//!
//! ```text
//! fetcher ──batches──► dispatcher ──completed batches──► completer
//!    │                 └──── at most `concurrency` in flight ────┘
//!    └── rows in flight: their leases are renewed by the heartbeat
//! ```
//!
//! A batch is in flight from when it is sent until its results are written. So however slow the provider or
//! the database is, memory holds no more than `concurrency` batches. If the runner is killed, no more than
//! these are paid for without a result.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::Instrument;

use super::flow::{Sink, Source, Work};
use super::in_flight::{InFlight, heartbeat};
use super::metrics::Metrics;
use super::shared::{Flow, Pace, Parts, Shared, resume_panic};
use super::stop::Stop;
use super::writer::Writer;
use super::{completer, dispatcher, fetcher};

/// Batches that wait between two stages, so that neither stage waits for the other to be scheduled. More of
/// them would only take memory.
const QUEUED_MAX: usize = 2;

/// Runs a flow until nothing is due, or until it is stopped. In both cases results that arrived are written
/// and all other rows are released.
///
/// `metrics` counts what was done. `stop` has the reason if the flow ended early.
pub async fn run<S, W, K>(flow: Flow<S, W, K>, mut pace: Pace, stop: Stop, metrics: Arc<Metrics>)
where
    S: Source,
    W: Work<Item = S::Item>,
    K: Sink<Output = W::Output>,
{
    pace.patience = pace.patience.until_stopped(&stop).outlasting();
    let shared = Arc::new(Shared::<Flow<S, W, K>> {
        source: flow.source,
        work: flow.work,
        sink: flow.sink,
        writer: Writer::new(pace.patience.clone()),
        pace,
        stop,
        metrics,
        in_flight: InFlight::default(),
        lost_claim: AtomicBool::default(),
    });
    let (batches, batches_in) = mpsc::channel(QUEUED_MAX);
    let (completed, completed_in) = mpsc::channel(QUEUED_MAX);
    let mut stages = JoinSet::new();
    let dispatch = dispatcher::dispatch(shared.clone(), batches_in, completed);
    // The stages belong to the span of the run, so that its id is in their log lines.
    stages.spawn(dispatch.in_current_span());
    stages.spawn(completer::complete(shared.clone(), completed_in).in_current_span());
    {
        let heartbeat = heartbeat(&shared.source, &shared.in_flight);
        let work = async {
            fetcher::fetch(&shared, batches).await;
            while let Some(stage) = stages.join_next().await {
                resume_panic(stage);
            }
        };
        tokio::select! {
            () = heartbeat => {}
            () = work => {}
            () = shared.stop.overdue() => {}
        }
    }
    stages.shutdown().await;
    release(&shared).await;
}

/// Releases what is still leased. If that fails, the leases expire.
async fn release<P: Parts>(shared: &Shared<P>) {
    if shared.in_flight.all().is_empty() && !shared.lost_claim.load(Ordering::Relaxed) {
        return;
    }
    let mut wait = shared.pace.patience.begin();
    let release = async {
        loop {
            match shared.source.release().await {
                Err(error) if error.is_outage(1) => wait.outlast(&error).await?,
                released => return released,
            }
        }
    };
    let released = tokio::select! {
        released = release => released.map_err(|error| error.to_string()),
        () = shared.stop.overdue() => Err("the database does not answer".to_owned()),
    };
    match released {
        Ok(rows) => tracing::info!(rows, "released rows that have no result"),
        Err(error) => tracing::warn!(error, "failed to release rows; their leases will expire"),
    }
}
