//! Completing: results go into the database, failures are recorded.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinSet;
use tracing::Instrument;
use uuid::Uuid;

use super::flow::{BatchResult, Item, RowFailure, Sink, Source, StorageError};
use super::shared::{CompletedBatch, Output, Parts, Shared, resume_panic};
use super::words::count;
use super::writer::{Storage, Writing};

/// Writes under way at once. While the database works on one, the next is encoded and sent.
const WRITES_MAX: usize = 2;

/// Completes batches until the dispatcher has sent the last one.
pub(super) async fn complete<P: Parts>(
    shared: Arc<Shared<P>>,
    mut completed: mpsc::Receiver<CompletedBatch<Output<P>>>,
) {
    let mut writes = JoinSet::new();
    while let Some(first) = completed.recv().await {
        let (result, places) = gather(first, &mut completed, shared.sink.rows_max());
        if !result.failures.is_empty() {
            record(&shared, result.failures).await;
        }
        if result.outputs.is_empty() {
            continue;
        }
        while writes.len() >= WRITES_MAX {
            if let Some(write) = writes.join_next().await {
                resume_panic(write);
            }
        }
        let write = persist(shared.clone(), result.outputs, places);
        writes.spawn(write.in_current_span());
    }
    while let Some(write) = writes.join_next().await {
        resume_panic(write);
    }
}

/// Joins the batches that have arrived, up to one write's worth.
fn gather<O>(
    first: CompletedBatch<O>,
    completed: &mut mpsc::Receiver<CompletedBatch<O>>,
    rows_max: usize,
) -> (BatchResult<O>, Vec<OwnedSemaphorePermit>) {
    let (mut result, mut places) = (first.result, vec![first.place]);
    while result.outputs.len() < rows_max {
        let Ok(next) = completed.try_recv() else {
            break;
        };
        result.outputs.extend(next.result.outputs);
        result.failures.extend(next.result.failures);
        places.push(next.place);
    }
    (result, places)
}

/// Writes results. At the end the places of these batches are free.
async fn persist<P: Parts>(
    shared: Arc<Shared<P>>,
    outputs: Vec<Output<P>>,
    _places: Vec<OwnedSemaphorePermit>,
) {
    let rows_max = shared.sink.rows_max();
    let Writing { refused, halt } = shared.writer.write(&*shared, outputs, rows_max).await;
    if !refused.is_empty() {
        let failures = refused.into_iter().map(|(output, why)| RowFailure {
            id: output.id(),
            reason: format!("the database refuses it: {why}"),
            permanent: true,
        });
        record(&shared, failures.collect()).await;
    }
    if let Some((reason, rows)) = halt {
        shared.stop.stop(reason);
        let (rows, verb) = (
            count(rows as u64, "row"),
            if rows == 1 { "has" } else { "have" },
        );
        shared.metrics.warn(format!(
            "{rows} {verb} a result that is not written; the result is lost, and the next run pays for it again"
        ));
    }
}

impl<P: Parts> Storage<Output<P>> for Shared<P> {
    async fn write(&self, rows: &[Output<P>]) -> Result<(), StorageError> {
        self.sink.write(rows).await?;
        let ids: Vec<Uuid> = rows.iter().map(Item::id).collect();
        self.metrics.written(ids.len());
        self.in_flight.remove(&ids);
        Ok(())
    }
}

/// Records failures in the database and in the report.
async fn record<P: Parts>(shared: &Shared<P>, failures: Vec<RowFailure>) {
    let ids: Vec<Uuid> = failures.iter().map(|failure| failure.id).collect();
    let mut wait = shared.pace.patience.begin();
    let recorded = loop {
        let error = match shared.source.fail(failures.clone()).await {
            Ok(recorded) => break recorded,
            Err(error) if error.is_outage(1) => match wait.outlast(&error).await {
                Ok(()) => continue,
                Err(error) => error,
            },
            Err(error) => error,
        };
        return shared.stop.stop(error.into_reason());
    };
    for failure in failures {
        if failure.permanent || recorded.dead.contains(&failure.id) {
            tracing::warn!(post_id = %failure.id, reason = failure.reason, "moved to the dead letters");
            shared.metrics.dead_lettered(failure);
        } else {
            tracing::debug!(post_id = %failure.id, reason = failure.reason, "will be tried again");
            shared.in_flight.will_retry(failure.id);
        }
    }
    shared.in_flight.remove(&ids);
}
