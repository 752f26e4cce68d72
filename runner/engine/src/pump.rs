//! Running a flow: rows are claimed, packed, sent and written, each stage bounded by the next.
//!
//! ```text
//! claim ──batches──► dispatch ──landed──► write
//!   ▲                └── up to `concurrency` ──┘ batches at once
//!   └── held: what is under lease, renewed by the heartbeat
//! ```
//!
//! A batch keeps its place from when it is sent until its results are written. So whatever the provider and
//! the database do, no more than `concurrency` batches are in memory, and a runner that is killed has paid
//! for no more than these in vain.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{JoinError, JoinSet};
use uuid::Uuid;

use super::claimer;
use super::flow::{Done, RowFailure, Sink, Source, Work};
use super::held::{Held, heartbeat};
use super::stop::Stop;
use super::tally::Tally;
use super::writer;

/// Batches that wait between two stages: one that is being taken up and one behind it, so that no stage
/// waits for the other's clock tick. More would only be memory.
const QUEUED_MAX: usize = 2;

/// How a flow runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Rows claimed at once.
    pub chunk: u32,
    /// Batches in flight at once: at the provider, or answered and not yet written.
    pub concurrency: usize,
    /// Rows taken up at most.
    pub limit: Option<u64>,
    /// How long an outage of the database is waited out.
    pub patience: Duration,
}

/// The three answers of a flow.
#[derive(Debug)]
pub struct Flow<S, W, K> {
    /// What is due.
    pub source: S,
    /// What to do with a batch.
    pub work: W,
    /// Where it goes.
    pub sink: K,
}

/// What the stages of a running flow share.
pub(super) struct Running<S, W, K> {
    pub(super) flow: Flow<S, W, K>,
    pub(super) pace: Pace,
    pub(super) stop: Stop,
    pub(super) tally: Arc<Tally>,
    pub(super) held: Held,
    /// Rows that failed in this run and are to be tried again: claimed anew, they are not counted anew.
    pub(super) retrying: Mutex<HashSet<Uuid>>,
    /// A claim was made whose answer was lost: rows may be leased to this runner that it knows nothing of.
    pub(super) lost_claim: AtomicBool,
}

/// What a batch has come to, and its place among those in flight, free again when this is dropped.
pub(super) struct Landed<O> {
    pub(super) done: Done<O>,
    pub(super) place: OwnedSemaphorePermit,
}

impl<S, W, K> Running<S, W, K> {
    pub(super) fn retrying(&self) -> std::sync::MutexGuard<'_, HashSet<Uuid>> {
        self.retrying.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a flow until nothing is due, or until it is stopped. Whatever happens, what was answered is
/// written and what was not is given back.
///
/// The counters are in `tally`, the reason for an early end in `stop`.
pub async fn run<S, W, K>(flow: Flow<S, W, K>, pace: Pace, stop: Stop, tally: Arc<Tally>)
where
    S: Source,
    W: Work<Item = S::Item>,
    K: Sink<Output = W::Output>,
{
    let running = Arc::new(Running {
        flow,
        pace,
        stop,
        tally,
        held: Held::default(),
        retrying: Mutex::default(),
        lost_claim: AtomicBool::default(),
    });
    let (batches, batches_in) = mpsc::channel(QUEUED_MAX);
    let (landed, landed_in) = mpsc::channel(QUEUED_MAX);
    let mut stages = JoinSet::new();
    stages.spawn(dispatch(running.clone(), batches_in, landed));
    stages.spawn(writer::write(running.clone(), landed_in));
    {
        let beat = heartbeat(&running.flow.source, &running.held);
        let work = async {
            claimer::claim(&running, batches).await;
            while let Some(stage) = stages.join_next().await {
                resume(stage);
            }
        };
        tokio::select! {
            () = beat => {}
            () = work => {}
            () = running.stop.overdue() => {}
        }
    }
    stages.shutdown().await;
    give_back(&running).await;
}

/// Sends batches to the provider, a bounded number at once. Once stopped, what has not left is dropped:
/// it is still held, and given back at the end.
async fn dispatch<S, W, K>(
    running: Arc<Running<S, W, K>>,
    mut batches: mpsc::Receiver<W::Batch>,
    landed: mpsc::Sender<Landed<W::Output>>,
) where
    S: Source,
    W: Work<Item = S::Item>,
    K: Sink<Output = W::Output>,
{
    let places = Arc::new(Semaphore::new(running.pace.concurrency.max(1)));
    let mut calls = JoinSet::new();
    while let Some(batch) = batches.recv().await {
        let Ok(place) = places.clone().acquire_owned().await else {
            break;
        };
        if !running.stop.is_stopped() {
            calls.spawn(call(running.clone(), batch, place, landed.clone()));
        }
        while let Some(call) = calls.try_join_next() {
            resume(call);
        }
    }
    while let Some(call) = calls.join_next().await {
        resume(call);
    }
}

async fn call<S, W, K>(
    running: Arc<Running<S, W, K>>,
    batch: W::Batch,
    place: OwnedSemaphorePermit,
    landed: mpsc::Sender<Landed<W::Output>>,
) where
    S: Source,
    W: Work<Item = S::Item>,
    K: Sink<Output = W::Output>,
{
    let ids = running.flow.work.ids(&batch);
    let mut done = running.flow.work.run(batch).await;
    if let Some(reason) = done.halt.clone() {
        running.stop.stop(reason);
    }
    if !running.stop.is_stopped() {
        let forgotten = forgotten::<K>(&ids, &done);
        done.failures.extend(forgotten);
    }
    // The writer outlives every caller, so this fails only where it has panicked.
    if landed.send(Landed { done, place }).await.is_err() {
        tracing::error!("the writer is gone; results are lost");
    }
}

/// Rows without a result or a failure. Given back uncharged they would be claimed for ever.
fn forgotten<K: Sink>(ids: &[Uuid], result: &Done<K::Output>) -> Vec<RowFailure> {
    let outputs = result.outputs.iter().map(K::id);
    let answered: HashSet<Uuid> = outputs
        .chain(result.failures.iter().map(|failure| failure.id))
        .collect();
    ids.iter()
        .filter(|id| !answered.contains(id))
        .map(|id| RowFailure {
            id: *id,
            reason: "it was not answered".to_owned(),
            permanent: false,
        })
        .collect()
}

/// Gives back what is still held. A failure costs nothing but time: the leases lapse.
async fn give_back<S: Source, W, K>(running: &Running<S, W, K>) {
    if running.held.is_empty() && !running.lost_claim.load(Ordering::Relaxed) {
        return;
    }
    let released = tokio::select! {
        released = running.flow.source.release(None) => released.map_err(|error| error.to_string()),
        () = running.stop.overdue() => Err("the database does not answer".to_owned()),
    };
    match released {
        Ok(rows) => tracing::info!(rows, "gave back what was not worked on"),
        Err(error) => {
            tracing::warn!(
                error,
                "failed to give rows back; their leases lapse by themselves"
            );
        }
    }
}

/// A panic of a task is a panic of the flow.
pub(super) fn resume(finished: Result<(), JoinError>) {
    if let Err(error) = finished
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
}
