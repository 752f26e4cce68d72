//! Completing: results go into the database, failures are recorded.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::backoff::Outage;
use super::bisect::{Bisection, Step};
use super::flow::{BatchResult, Item, RowFailure, Sink, Source, StorageError};
use super::shared::{CompletedBatch, Output, Parts, Shared, resume_panic};
use super::stop::StopReason;

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
        writes.spawn(persist(shared.clone(), result.outputs, places));
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

/// Writes results in pieces: as large as the sink takes, and smaller if the database asks for it. A row that
/// the database rejects even alone has failed. A row that is too slow even alone waits for somebody else, so it
/// is written after all others. At the end the places of these batches are free.
async fn persist<P: Parts>(
    shared: Arc<Shared<P>>,
    outputs: Vec<Output<P>>,
    _places: Vec<OwnedSemaphorePermit>,
) {
    let mut search = Bisection::new(outputs, shared.sink.rows_max());
    let mut locked = Vec::new();
    loop {
        let written = match search.step() {
            Step::Done => break,
            // A search that does not doubt never asks.
            Step::AllRefused => {
                search.blame_rows();
                continue;
            }
            Step::Send(piece) => match write(&shared, piece, false).await {
                Err(StorageError::Row(_)) => {
                    search.refused();
                    continue;
                }
                Err(StorageError::TooLarge(_) | StorageError::TooSlow(_)) => {
                    search.too_large();
                    continue;
                }
                written => {
                    search.accepted();
                    written
                }
            },
            // The search may only have concluded that this row is bad, so it is tried alone.
            Step::Bad(output) => match write(&shared, std::slice::from_ref(&output), false).await {
                Err(StorageError::TooSlow(_)) => {
                    locked.push(output);
                    continue;
                }
                Err(StorageError::Row(why) | StorageError::TooLarge(why)) => {
                    record(&shared, vec![refused(&output, &why)]).await;
                    continue;
                }
                written => written,
            },
        };
        if let Err(error) = written {
            return shared.stop.stop(StopReason::Database(error.to_string()));
        }
    }
    for output in locked {
        match write(&shared, std::slice::from_ref(&output), true).await {
            Ok(()) => {}
            Err(StorageError::Row(why)) => record(&shared, vec![refused(&output, &why)]).await,
            Err(error) => return shared.stop.stop(StopReason::Database(error.to_string())),
        }
    }
}

fn refused(output: &impl Item, why: &str) -> RowFailure {
    RowFailure {
        id: output.id(),
        reason: format!("the database refuses it: {why}"),
        permanent: true,
    }
}

/// Writes one piece. Waits if the database does not answer, and if `waits_for_locks` also if the statement is too
/// slow.
async fn write<P: Parts>(
    shared: &Shared<P>,
    piece: &[Output<P>],
    waits_for_locks: bool,
) -> Result<(), StorageError> {
    let mut outage = Outage::default();
    let waits = |error: &StorageError| match error {
        StorageError::Outage(_) => true,
        StorageError::TooSlow(_) => waits_for_locks,
        StorageError::TooLarge(_) | StorageError::Row(_) | StorageError::Refused(_) => false,
    };
    loop {
        match shared.sink.write(piece).await {
            Ok(()) => break,
            Err(error)
                if waits(&error) && outage.outlast(shared.pace.patience, &shared.stop).await => {}
            Err(error) => return Err(error),
        }
    }
    let ids: Vec<Uuid> = piece.iter().map(Item::id).collect();
    shared.metrics.written(ids.len());
    shared.in_flight.remove(&ids);
    Ok(())
}

/// Records failures in the database and in the report.
async fn record<P: Parts>(shared: &Shared<P>, failures: Vec<RowFailure>) {
    let ids: Vec<Uuid> = failures.iter().map(|failure| failure.id).collect();
    let mut outage = Outage::default();
    let recorded = loop {
        match shared.source.fail(failures.clone()).await {
            Ok(recorded) => break recorded,
            Err(error)
                if error.is_outage(1)
                    && outage.outlast(shared.pace.patience, &shared.stop).await => {}
            Err(error) => return shared.stop.stop(StopReason::Database(error.to_string())),
        }
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
