//! Dispatching: batches go to the provider, a bounded number at once.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tracing::Instrument;
use uuid::Uuid;

use super::flow::{BatchResult, Deferred, Item, RowFailure, Work};
use super::shared::{Batch, CompletedBatch, Output, Parts, Shared, resume_panic};

/// Runs batches until the fetcher has sent the last one. Once the flow is stopped, batches that were not sent
/// are dropped. Their rows are still in flight, so they are released at the end.
pub(super) async fn dispatch<P: Parts>(
    shared: Arc<Shared<P>>,
    mut batches: mpsc::Receiver<Batch<P>>,
    completed: mpsc::Sender<CompletedBatch<Output<P>>>,
) {
    let places = Arc::new(Semaphore::new(shared.pace.concurrency.max(1)));
    let mut calls = JoinSet::new();
    let mut sent = 0_u64;
    while let Some(batch) = batches.recv().await {
        let Ok(place) = places.clone().acquire_owned().await else {
            break;
        };
        if !shared.stop.is_stopped() {
            sent += 1;
            let span = tracing::error_span!("batch", batch = sent);
            let call = execute(shared.clone(), batch, place, completed.clone());
            calls.spawn(call.instrument(span));
        }
        while let Some(call) = calls.try_join_next() {
            resume_panic(call);
        }
    }
    while let Some(call) = calls.join_next().await {
        resume_panic(call);
    }
}

async fn execute<P: Parts>(
    shared: Arc<Shared<P>>,
    batch: Batch<P>,
    place: OwnedSemaphorePermit,
    completed: mpsc::Sender<CompletedBatch<Output<P>>>,
) {
    let ids = shared.work.ids(&batch);
    tracing::debug!(rows = ids.len(), "a batch goes to the provider");
    let mut result = shared.work.run(batch).await;
    if let Some(reason) = result.halt.clone() {
        shared.stop.stop(reason);
    }
    if !shared.stop.is_stopped() {
        let forgotten = forgotten(&ids, &result);
        result.failures.extend(forgotten);
    }
    for Deferred { ids, reason } in std::mem::take(&mut result.deferred) {
        shared.stop.leave(reason);
        shared.in_flight.defer(&ids);
    }
    // The completer outlives every call, so this fails only if it has panicked.
    if completed
        .send(CompletedBatch { result, place })
        .await
        .is_err()
    {
        tracing::error!("the completer has ended; results are lost");
    }
}

/// Failures for rows that have neither a result nor a failure. If they were released instead, they would be
/// claimed again without end.
fn forgotten<O: Item>(ids: &[Uuid], result: &BatchResult<O>) -> Vec<RowFailure> {
    let outputs = result.outputs.iter().map(Item::id);
    let known: HashSet<Uuid> = outputs
        .chain(result.failures.iter().map(|failure| failure.id))
        .chain(
            result
                .deferred
                .iter()
                .flat_map(|deferred| deferred.ids.iter().copied()),
        )
        .collect();
    ids.iter()
        .filter(|id| !known.contains(id))
        .map(|id| RowFailure {
            id: *id,
            reason: "it was not answered".to_owned(),
            permanent: false,
        })
        .collect()
}
