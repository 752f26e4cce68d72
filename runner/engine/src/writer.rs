//! Writing: results into the database, failures into the dead letters, the rest back into the queue.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

use super::flow::{Done, RowFailure, Sink, Source, StoreError, Work};
use super::pump::{Landed, Running, resume};
use super::stop::{Stop, StopReason};

/// Writes under way at once: while the database works on one, the next is being encoded and sent.
const WRITES_MAX: usize = 2;

/// Takes up what the provider has answered, until nobody sends any more.
pub(super) async fn write<S, W, K>(
    running: Arc<Running<S, W, K>>,
    mut landed: mpsc::Receiver<Landed<W::Output>>,
) where
    S: Source,
    W: Work<Item = S::Item>,
    K: Sink<Output = W::Output>,
{
    let mut writes = JoinSet::new();
    while let Some(first) = landed.recv().await {
        let (done, places) = gather(&running, first, &mut landed);
        if !done.failures.is_empty() {
            record(&running, done.failures).await;
        }
        if done.outputs.is_empty() {
            continue;
        }
        while writes.len() >= WRITES_MAX {
            if let Some(write) = writes.join_next().await {
                resume(write);
            }
        }
        writes.spawn(persist(running.clone(), done.outputs, places));
    }
    while let Some(write) = writes.join_next().await {
        resume(write);
    }
}

/// Joins what is there already to what came first, up to one write's worth.
fn gather<S, W, K>(
    running: &Running<S, W, K>,
    first: Landed<W::Output>,
    landed: &mut mpsc::Receiver<Landed<W::Output>>,
) -> (Done<W::Output>, Vec<OwnedSemaphorePermit>)
where
    W: Work,
    K: Sink<Output = W::Output>,
{
    let (mut done, mut places) = (first.done, vec![first.place]);
    while done.outputs.len() < running.flow.sink.rows_max() {
        let Ok(next) = landed.try_recv() else { break };
        done.outputs.extend(next.done.outputs);
        done.failures.extend(next.done.failures);
        places.push(next.place);
    }
    (done, places)
}

/// Writes results in pieces: as large as the sink takes, smaller where the database asks for it, down to
/// the one row that it refuses. Then the places of these batches are free.
async fn persist<S, W, K>(
    running: Arc<Running<S, W, K>>,
    outputs: Vec<W::Output>,
    _places: Vec<OwnedSemaphorePermit>,
) where
    S: Source,
    W: Work<Item = S::Item>,
    K: Sink<Output = W::Output>,
{
    let mut pieces: Vec<&[W::Output]> =
        outputs.chunks(running.flow.sink.rows_max()).rev().collect();
    while let Some(piece) = pieces.pop() {
        let error = match write_piece(&running, piece).await {
            Ok(()) => {
                let ids: Vec<Uuid> = piece.iter().map(K::id).collect();
                running.tally.written(ids.len());
                running.held.remove(&ids);
                continue;
            }
            Err(error) => error,
        };
        match (error, piece) {
            (StoreError::Row(_) | StoreError::TooLarge(_), [_, _, ..]) => {
                let (left, right) = piece.split_at(piece.len() / 2);
                pieces.extend([right, left]);
            }
            (StoreError::Row(why) | StoreError::TooLarge(why), [output]) => {
                let reason = format!("the database refuses it: {why}");
                record(
                    &running,
                    vec![RowFailure {
                        id: K::id(output),
                        reason,
                        permanent: true,
                    }],
                )
                .await;
            }
            (error, _) => {
                running.stop.stop(StopReason::Database(error.to_string()));
                return;
            }
        }
    }
}

async fn write_piece<S, W, K>(
    running: &Running<S, W, K>,
    piece: &[W::Output],
) -> Result<(), StoreError>
where
    W: Work,
    K: Sink<Output = W::Output>,
{
    let mut outage = Outage::default();
    loop {
        match running.flow.sink.write(piece).await {
            Err(StoreError::Outage(why)) => {
                if !outage.outlast(running.pace.patience, &running.stop).await {
                    return Err(StoreError::Outage(why));
                }
            }
            result => return result,
        }
    }
}

/// Records failures, in the database and in the report.
async fn record<S: Source, W, K>(running: &Running<S, W, K>, failures: Vec<RowFailure>) {
    let ids: Vec<Uuid> = failures.iter().map(|failure| failure.id).collect();
    let mut outage = Outage::default();
    let recorded = loop {
        match running.flow.source.fail(failures.clone()).await {
            Ok(recorded) => break recorded,
            Err(StoreError::Outage(_))
                if outage.outlast(running.pace.patience, &running.stop).await => {}
            Err(error) => {
                running.stop.stop(StopReason::Database(error.to_string()));
                return;
            }
        }
    };
    let mut retrying = running.retrying();
    for failure in failures {
        if failure.permanent || recorded.dead.contains(&failure.id) {
            tracing::warn!(post_id = %failure.id, reason = failure.reason, "set aside");
            running.tally.set_aside(failure);
        } else {
            tracing::debug!(post_id = %failure.id, reason = failure.reason, "to be tried again");
            retrying.insert(failure.id);
        }
    }
    drop(retrying);
    running.held.remove(&ids);
}

/// Ends the leases of rows that needed no work.
pub(super) async fn finish<S: Source, W, K>(running: &Running<S, W, K>, ids: Vec<Uuid>) {
    running.held.remove(&ids);
    if let Err(error) = running.flow.source.finish(ids).await {
        tracing::warn!(%error, "failed to end leases; they lapse by themselves");
    }
}

/// An outage of the database that is being waited out: a circuit breaker of one request.
#[derive(Debug, Default)]
pub(super) struct Outage {
    since: Option<Instant>,
    waits: u32,
}

impl Outage {
    /// Waits before the next attempt; false when patience is at its end or the flow is stopped.
    pub(super) async fn wait(&mut self, patience: Duration, stop: &Stop) -> bool {
        let Some(pause) = self.pause(patience, Instant::now()) else {
            return false;
        };
        stop.sleep(pause).await
    }

    /// The same for what is paid for already: goes on through a stop, until that becomes an abort.
    pub(super) async fn outlast(&mut self, patience: Duration, stop: &Stop) -> bool {
        let Some(pause) = self.pause(patience, Instant::now()) else {
            return false;
        };
        tokio::select! {
            () = stop.aborted() => false,
            () = tokio::time::sleep(pause) => true,
        }
    }

    fn pause(&mut self, patience: Duration, now: Instant) -> Option<Duration> {
        let since = *self.since.get_or_insert(now);
        if now.duration_since(since) > patience {
            return None;
        }
        let pause = Duration::from_millis(250).saturating_mul(1 << self.waits.min(6));
        self.waits += 1;
        Some(pause.mul_f64(0.5 + fastrand::f64() / 2.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_ends() {
        let (mut outage, start) = (Outage::default(), Instant::now());
        let patience = Duration::from_secs(10);
        assert!(outage.pause(patience, start).is_some());
        assert!(outage.pause(patience, start + patience).is_some());
        assert!(
            outage
                .pause(patience, start + patience + Duration::from_secs(1))
                .is_none()
        );
    }
}
