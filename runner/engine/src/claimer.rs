//! Claiming: pass after pass over the table, until a whole pass finds nothing.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use uuid::Uuid;

use super::flow::{Claim, Item, Sink, Source, StoreError, Work};
use super::outlet::Outlet;
use super::pump::Running;
use super::stop::StopReason;
use super::writer;

/// How long to wait between looks at rows that other runners hold.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// The longest wait for rows in backoff before looking whether others are due.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// What to do after a pass.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// Something was leased, or may have become due: go over it again.
    Again,
    /// Nothing is due now, but will be: go over it again after this long.
    After(Duration),
    /// Nothing is due, and nothing will be.
    End,
}

/// Claims rows and sends them on, packed, until none is due or the flow is stopped.
pub(super) async fn claim<S, W, K>(running: &Running<S, W, K>, batches: mpsc::Sender<W::Batch>)
where
    S: Source,
    W: Work<Item = S::Item>,
    K: Sink<Output = W::Output>,
{
    let mut outlet = Outlet::new(batches);
    while !running.stop.is_stopped() {
        let Some(pass) = pass(running, &mut outlet).await else {
            break;
        };
        match after(&pass) {
            Next::Again => {}
            Next::After(pause) => {
                if !running.stop.sleep(pause).await {
                    break;
                }
            }
            Next::End => break,
        }
    }
    // Of a pass that came to its limit; where the flow is stopped, nobody sends it.
    let _nobody_left = outlet.flush().await;
}

/// What one pass found.
#[derive(Debug, Default, PartialEq, Eq)]
struct Pass {
    /// Rows to be worked on.
    leased: u64,
    /// Rows were put off because others like them, or they themselves, are in the works.
    put_off: u64,
    /// Rows were at the provider when the pass ended, so their texts may have changed meanwhile.
    waited: bool,
    /// Rows were leased to us without our knowing, and are now free again.
    recovered: bool,
    waiting: u64,
    next_attempt: Option<Duration>,
    leased_elsewhere: u64,
}

fn after(pass: &Pass) -> Next {
    if pass.leased > 0 || pass.put_off > 0 || pass.waited || pass.recovered {
        Next::Again
    } else if pass.waiting > 0 {
        Next::After(
            pass.next_attempt
                .unwrap_or(LOOK_AGAIN)
                .clamp(LOOK_AGAIN / 10, BACKOFF_MAX),
        )
    } else if pass.leased_elsewhere > 0 {
        Next::After(LOOK_AGAIN)
    } else {
        Next::End
    }
}

/// Goes over the table once. `None` = stopped, or at the limit.
async fn pass<S, W, K>(running: &Running<S, W, K>, outlet: &mut Outlet<W::Batch>) -> Option<Pass>
where
    S: Source,
    W: Work<Item = S::Item>,
    K: Sink<Output = W::Output>,
{
    let mut pass = Pass::default();
    let mut cursor = None;
    loop {
        let room = room(running)?;
        let claim = lease(running, room, cursor).await?;
        let (next_after, already_done) = (claim.next_after, claim.already_done);
        pass.waiting = claim.waiting;
        pass.next_attempt = claim.next_attempt;
        pass.leased_elsewhere = claim.leased_elsewhere;
        let put_off = pass.put_off;
        let rows = sort(running, claim.rows, &mut pass).await;
        count(running, &rows, already_done);
        if rows.is_empty() && pass.put_off > put_off {
            // Claiming on would only lease and give back. Once their likes are stored, the same claim copies.
            outlet.flush().await?;
            settled(running).await?;
            continue;
        }
        pass.leased += pass_on(running, outlet, rows).await?;
        cursor = next_after;
        if cursor.is_some() {
            continue;
        }
        outlet.flush().await?;
        if pass.leased == 0 {
            pass.waited = !running.held.is_empty();
            settled(running).await?;
            pass.recovered = recover(running).await;
        }
        return Some(pass);
    }
}

/// Waits until nothing is in the works. `None` = stopped.
async fn settled<S, W, K>(running: &Running<S, W, K>) -> Option<()> {
    tokio::select! {
        () = running.held.empty() => Some(()),
        () = running.stop.stopped() => None,
    }
}

/// Holds what is to be worked on, and gives back what is like a row in the works: a later pass finds it
/// done, or does it.
async fn sort<S, W, K>(
    running: &Running<S, W, K>,
    claimed: Vec<S::Item>,
    pass: &mut Pass,
) -> Vec<S::Item>
where
    S: Source,
    W: Work<Item = S::Item>,
{
    let work = &running.flow.work;
    let sorted = running.held.sort(claimed, |row| work.likeness(row));
    pass.put_off += (sorted.known + sorted.alike.len()) as u64;
    if !sorted.alike.is_empty()
        && let Err(error) = running.flow.source.release(Some(sorted.alike)).await
    {
        tracing::debug!(%error, "failed to give rows back; they are given back at the end of a pass");
        running.lost_claim.store(true, Ordering::Relaxed);
    }
    sorted.fresh
}

/// Gives back what was leased to us by claims whose answers were lost: we know nothing of those rows, and
/// no claim offers them to anybody until they lapse. Called when nothing is held.
async fn recover<S: Source, W, K>(running: &Running<S, W, K>) -> bool {
    if !running.lost_claim.swap(false, Ordering::Relaxed) {
        return false;
    }
    match running.flow.source.release(None).await {
        Ok(rows) => rows > 0,
        Err(StoreError::Outage(_)) => {
            // The next claim waits the outage out.
            running.lost_claim.store(true, Ordering::Relaxed);
            true
        }
        Err(error) => {
            tracing::warn!(%error, "failed to give rows back; their leases lapse by themselves");
            false
        }
    }
}

/// How many rows may be claimed now; `None` = stopped, or at the limit.
fn room<S, W, K>(running: &Running<S, W, K>) -> Option<u32> {
    if running.stop.is_stopped() {
        return None;
    }
    let Some(limit) = running.pace.limit else {
        return Some(running.pace.chunk);
    };
    let left = limit.saturating_sub(running.tally.rows().selected);
    if left == 0 {
        // Not `stop`: what is claimed is to be finished.
        return None;
    }
    Some(
        running
            .pace
            .chunk
            .min(u32::try_from(left).unwrap_or(u32::MAX)),
    )
}

/// One claim, waiting out an outage and halving what is too much for one statement.
async fn lease<S: Source, W, K>(
    running: &Running<S, W, K>,
    mut limit: u32,
    cursor: Option<Uuid>,
) -> Option<Claim<S::Item>> {
    let mut outage = writer::Outage::default();
    loop {
        running.held.expect();
        match running.flow.source.claim(limit, cursor).await {
            Ok(claim) => return Some(claim),
            Err(StoreError::TooLarge(_)) if limit > 1 => limit /= 2,
            Err(StoreError::Outage(why)) => {
                running.lost_claim.store(true, Ordering::Relaxed);
                if !outage.wait(running.pace.patience, &running.stop).await {
                    running.stop.stop(StopReason::Database(why));
                    return None;
                }
            }
            Err(error) => {
                running.stop.stop(StopReason::Database(error.to_string()));
                return None;
            }
        }
    }
}

fn count<S, W, K, T: Item>(running: &Running<S, W, K>, rows: &[T], already_done: u64) {
    let mut retrying = running.retrying();
    let new = rows
        .iter()
        .filter(|row| !retrying.remove(&row.id()))
        .count();
    let already_done = usize::try_from(already_done).unwrap_or(usize::MAX);
    running.tally.selected(new + already_done);
    running.tally.written(already_done);
}

/// Packs claimed rows and hands on what is full; answers how many there are to be worked on. `None` = nobody
/// takes them any more.
async fn pass_on<S, W, K>(
    running: &Running<S, W, K>,
    outlet: &mut Outlet<W::Batch>,
    rows: Vec<S::Item>,
) -> Option<u64>
where
    S: Source,
    W: Work<Item = S::Item>,
    K: Sink<Output = W::Output>,
{
    let (work, claimed) = (&running.flow.work, rows.len());
    let plan = outlet.pack(|open| work.plan(open, rows)).await?;
    for remark in plan.remarks {
        running.tally.remark(remark);
    }
    let skipped = plan.skipped.len();
    if skipped > 0 {
        running.tally.skipped(skipped);
        writer::finish(running, plan.skipped).await;
    }
    let is_alone = |batch: &W::Batch| running.held.len() <= work.ids(batch).len();
    outlet.flush_overdue(is_alone).await?;
    // What needs no work is no reason for another pass: a source may offer it each time.
    Some((claimed - skipped) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_ends_when_a_whole_pass_finds_nothing() {
        assert_eq!(after(&Pass::default()), Next::End);
        assert_eq!(
            after(&Pass {
                leased: 1,
                ..Pass::default()
            }),
            Next::Again
        );
        assert_eq!(
            after(&Pass {
                waited: true,
                ..Pass::default()
            }),
            Next::Again
        );
        assert_eq!(
            after(&Pass {
                put_off: 1,
                ..Pass::default()
            }),
            Next::Again
        );
    }

    #[test]
    fn rows_in_backoff_are_waited_for() {
        let waiting = |next_attempt| Pass {
            waiting: 1,
            next_attempt,
            ..Pass::default()
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
        let pass = Pass {
            leased_elsewhere: 3,
            ..Pass::default()
        };
        assert_eq!(after(&pass), Next::After(LOOK_AGAIN));
    }
}
