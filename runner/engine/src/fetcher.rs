//! Fetching: claims due rows, pass after pass over the table, until a whole pass finds nothing.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use uuid::Uuid;

use super::batcher::Batcher;
use super::flow::{Claim, Source, StorageError, Work};
use super::shared::{Batch, Parts, Row, Shared};

/// How long to wait before looking again at rows that other runners have leased.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// The longest wait for rows in backoff, because other rows may become due meanwhile.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// What to do after a pass.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// Rows were leased, or may have become due. Start another pass.
    Again,
    /// Nothing is due yet. Start another pass after this long.
    After(Duration),
    /// Nothing is due.
    End,
}

/// Claims rows and sends them on in batches, until none is due or the flow is stopped.
pub(super) async fn fetch<P: Parts>(shared: &Shared<P>, sender: mpsc::Sender<Batch<P>>) {
    let mut batcher = Batcher::new(sender);
    while !shared.stop.is_stopped() {
        let Some(pass) = pass(shared, &mut batcher).await else {
            break;
        };
        match after(&pass) {
            Next::Again => {}
            Next::After(pause) => {
                if !shared.stop.sleep(pause).await {
                    break;
                }
            }
            Next::End => break,
        }
    }
    // A pass that reached the limit leaves an open batch. If the flow is stopped, nobody sends it.
    let _sent = batcher.flush().await;
}

/// What one pass found.
#[derive(Debug, Default, PartialEq, Eq)]
struct FetchPass {
    /// Rows to work on.
    leased: u64,
    /// Rows were in flight, so they may be due again with another text.
    met_in_flight: bool,
    /// Rows were leased without our knowing, and are free again.
    recovered: bool,
    waiting: u64,
    next_attempt: Option<Duration>,
    leased_elsewhere: u64,
}

fn after(pass: &FetchPass) -> Next {
    if pass.leased > 0 || pass.met_in_flight || pass.recovered {
        Next::Again
    } else if pass.waiting > 0 {
        let pause = pass.next_attempt.unwrap_or(LOOK_AGAIN);
        Next::After(pause.clamp(LOOK_AGAIN / 10, BACKOFF_MAX))
    } else if pass.leased_elsewhere > 0 {
        Next::After(LOOK_AGAIN)
    } else {
        Next::End
    }
}

/// Goes over the table once. `None` if the flow is stopped or has reached its limit.
async fn pass<P: Parts>(shared: &Shared<P>, batcher: &mut Batcher<Batch<P>>) -> Option<FetchPass> {
    let mut pass = FetchPass::default();
    let mut cursor = None;
    loop {
        let room = room(shared)?;
        shared.in_flight.begin_claim();
        let claim = claim(shared, room, cursor).await?;
        pass.waiting = claim.waiting;
        pass.next_attempt = claim.next_attempt;
        pass.leased_elsewhere += claim.leased_elsewhere;
        let claimed = claim.rows.len();
        let admitted = shared.in_flight.admit(claim.rows, claim.is_leased);
        let already_done = usize::try_from(claim.already_done).unwrap_or(usize::MAX);
        shared.metrics.selected(admitted.new + already_done);
        shared.metrics.written(already_done);
        let claimed = claimed - admitted.deferred;
        pass.met_in_flight |= admitted.rows.len() < claimed;
        if admitted.rows.is_empty() && claimed > 0 {
            // Further claims would only find rows in flight again.
            batcher.flush().await?;
            settled(shared).await?;
            continue;
        }
        pass.leased += pass_on(shared, batcher, admitted.rows).await?;
        cursor = claim.next_after;
        if cursor.is_some() {
            continue;
        }
        batcher.flush().await?;
        if pass.leased == 0 {
            pass.met_in_flight |= !shared.in_flight.is_empty();
            settled(shared).await?;
            pass.recovered = recover(shared).await;
        }
        return Some(pass);
    }
}

/// Waits until nothing is in flight. `None` if the flow is stopped.
async fn settled<P: Parts>(shared: &Shared<P>) -> Option<()> {
    tokio::select! {
        () = shared.in_flight.empty() => Some(()),
        () = shared.stop.stopped() => None,
    }
}

/// Releases rows that were leased by claims whose responses were lost. Nobody else can claim these rows until
/// their leases expire. Called only when nothing is in flight.
async fn recover<P: Parts>(shared: &Shared<P>) -> bool {
    if !shared.lost_claim.swap(false, Ordering::Relaxed) {
        return false;
    }
    match shared.source.release().await {
        Ok(rows) => rows > 0,
        Err(error) if error.is_outage(1) => {
            // The next claim waits for the end of the outage.
            shared.lost_claim.store(true, Ordering::Relaxed);
            true
        }
        Err(error) => {
            tracing::warn!(%error, "failed to release rows; their leases will expire");
            false
        }
    }
}

/// How many rows may be claimed now. `None` if the flow is stopped or has reached its limit.
fn room<P: Parts>(shared: &Shared<P>) -> Option<u32> {
    let chunk = shared.pace.chunk;
    if shared.stop.is_stopped() {
        return None;
    }
    let Some(limit) = shared.pace.limit else {
        return Some(chunk);
    };
    // At the limit the flow is not stopped, because rows in flight must be finished.
    match limit.saturating_sub(shared.metrics.rows().selected) {
        0 => None,
        left => Some(chunk.min(u32::try_from(left).unwrap_or(u32::MAX))),
    }
}

/// One claim. Waits if the database does not answer, and halves a claim that is too much for one statement.
async fn claim<P: Parts>(
    shared: &Shared<P>,
    mut limit: u32,
    cursor: Option<Uuid>,
) -> Option<Claim<Row<P>>> {
    let mut wait = shared.pace.patience.until_stopped(&shared.stop).begin();
    loop {
        let error = match shared.source.claim(limit, cursor).await {
            Ok(claim) => return Some(claim),
            Err(error) => error,
        };
        match error {
            StorageError::TooLarge(_) | StorageError::TooSlow(_) if limit > 1 => limit /= 2,
            error if error.is_outage(1) => {
                shared.lost_claim.store(true, Ordering::Relaxed);
                if let Err(error) = wait.outlast(&error).await {
                    shared.stop.stop(error.into_reason());
                    return None;
                }
            }
            error => {
                shared.stop.stop(error.into_reason());
                return None;
            }
        }
    }
}

/// Packs claimed rows and sends full batches on. Returns how many rows there are to work on. `None` if nobody
/// takes batches any more.
async fn pass_on<P: Parts>(
    shared: &Shared<P>,
    batcher: &mut Batcher<Batch<P>>,
    rows: Vec<Row<P>>,
) -> Option<u64> {
    let (work, claimed) = (&shared.work, rows.len());
    let packing = batcher.pack(|open| work.pack(open, rows)).await?;
    for warning in packing.warnings {
        shared.metrics.warn_of_row(warning);
    }
    let skipped = packing.skipped.len();
    if skipped > 0 {
        shared.metrics.skipped(skipped);
        shared.in_flight.remove(&packing.skipped);
        if let Err(error) = shared.source.finish(packing.skipped).await {
            tracing::warn!(%error, "failed to end leases; they will expire");
        }
    }
    let is_alone = |batch: &Batch<P>| shared.in_flight.len() <= work.ids(batch).len();
    batcher.flush_overdue(is_alone).await?;
    // Rows without work do not lead to another pass, because a source may offer them each time.
    Some((claimed - skipped) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_ends_when_a_whole_pass_finds_nothing() {
        assert_eq!(after(&FetchPass::default()), Next::End);
        let leased = FetchPass {
            leased: 1,
            ..FetchPass::default()
        };
        let met_in_flight = FetchPass {
            met_in_flight: true,
            ..FetchPass::default()
        };
        assert_eq!(after(&leased), Next::Again);
        assert_eq!(after(&met_in_flight), Next::Again);
    }

    #[test]
    fn rows_in_backoff_are_waited_for() {
        let waiting = |next_attempt| FetchPass {
            waiting: 1,
            next_attempt,
            ..FetchPass::default()
        };
        let seconds = Duration::from_secs;
        assert_eq!(after(&waiting(Some(seconds(4)))), Next::After(seconds(4)));
        assert_eq!(
            after(&waiting(Some(seconds(900)))),
            Next::After(BACKOFF_MAX)
        );
        assert_eq!(
            after(&waiting(Some(Duration::ZERO))),
            Next::After(LOOK_AGAIN / 10)
        );
    }

    #[test]
    fn rows_of_other_runners_are_looked_at_again() {
        let pass = FetchPass {
            leased_elsewhere: 3,
            ..FetchPass::default()
        };
        assert_eq!(after(&pass), Next::After(LOOK_AGAIN));
    }
}
