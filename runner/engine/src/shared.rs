//! What the stages of a running flow share.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinError;

use super::flow::{BatchResult, Sink, Source, Work};
use super::in_flight::InFlight;
use super::metrics::Metrics;
use super::patience::Patience;
use super::stop::Stop;
use super::writer::Writer;

/// How a flow runs.
#[derive(Debug, Clone)]
pub struct Pace {
    /// Rows in one claim.
    pub chunk: u32,
    /// The most batches in flight at once: sent to the provider and not yet written.
    pub concurrency: usize,
    /// The most rows that the run takes up.
    pub limit: Option<u64>,
    /// How long to wait for the database: if the result of a claim is unknown, or if another transaction holds a
    /// row. A source and a sink wait for a database that does not answer themselves.
    pub patience: Patience,
}

/// The three parts of a flow.
#[derive(Debug)]
pub struct Flow<S, W, K> {
    /// What is due.
    pub source: S,
    /// What to do with a batch.
    pub work: W,
    /// Where the results go.
    pub sink: K,
}

/// A flow's three types, which fit together.
pub(super) trait Parts: 'static {
    type Source: Source;
    type Work: Work<Item = <Self::Source as Source>::Item>;
    type Sink: Sink<Output = <Self::Work as Work>::Output>;
}

impl<S, W, K> Parts for Flow<S, W, K>
where
    S: Source,
    W: Work<Item = S::Item>,
    K: Sink<Output = W::Output>,
{
    type Source = S;
    type Work = W;
    type Sink = K;
}

pub(super) type Row<P> = <<P as Parts>::Source as Source>::Item;
pub(super) type Batch<P> = <<P as Parts>::Work as Work>::Batch;
pub(super) type Output<P> = <<P as Parts>::Work as Work>::Output;

/// What the stages share. Everything else goes through channels.
pub(super) struct Shared<P: Parts> {
    /// The fetcher claims and ends leases, the completer records failures, the heartbeat extends.
    pub(super) source: P::Source,
    /// The fetcher packs, the dispatcher runs batches.
    pub(super) work: P::Work,
    /// Only the completer writes to it.
    pub(super) sink: P::Sink,
    /// Only the completer writes with it.
    pub(super) writer: Writer,
    /// Never changes. Its patience outlasts a stop.
    pub(super) pace: Pace,
    /// Each stage may stop the flow. Each stage checks it.
    pub(super) stop: Stop,
    /// The fetcher counts selected and skipped rows, the completer counts written and failed ones. Only the
    /// fetcher reads it, to keep the limit.
    pub(super) metrics: Arc<Metrics>,
    /// The fetcher adds rows, and removes those that need no work. The dispatcher defers rows. The completer
    /// removes all others. The heartbeat reads it.
    pub(super) in_flight: InFlight,
    /// True if the response to a claim was lost, so rows may be leased that this runner does not know of.
    /// Only the fetcher writes it. The last step of a run reads it.
    pub(super) lost_claim: AtomicBool,
}

/// A batch that the dispatcher has run, on its way to the completer.
pub(super) struct CompletedBatch<O> {
    pub(super) result: BatchResult<O>,
    /// The batch's place among those in flight. Dropping it frees the place.
    pub(super) place: OwnedSemaphorePermit,
}

/// Passes on the panic of a task.
pub(super) fn resume_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
}
