//! What happened to each row of a bulk write, kept outside the write, which may break off.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Chunk, Error, RejectedRow, WriteReport};

/// What happened to each row of a bulk write, so that the write can go on if it stops.
///
/// A write notes in its checkpoint what it sends and what the server acknowledges. If it stops half
/// way (by an outage or a deadline, or because its future is dropped), make the same write again
/// with the same checkpoint. Rows that were written, refused or superseded are not sent again. Rows
/// whose [`outcome`](Error::outcome) is unknown are sent again only if that is idempotent: by an
/// upsert whose rows have the conflict columns. In any other write they stay
/// [`uncertain`](WriteReport::uncertain). Once all other rows are written, the write ends with an
/// error that is not retryable.
///
/// ```no_run
/// # use std::time::Duration;
/// # use sluice_sdk::{Checkpoint, Client, Error, Table, serde::Serialize, write::WriteReport};
/// # #[derive(Table, Serialize)] #[serde(crate = "sluice_sdk::serde")] #[table(name = "posts")]
/// # struct Post { #[table(primary_key)] id: i64, text: String }
/// async fn store(db: &Client, posts: &[Post]) -> Result<WriteReport, Error> {
///     let checkpoint = Checkpoint::new();
///     loop {
///         let write = db.from::<Post>().upsert(posts).checkpoint(&checkpoint);
///         match tokio::time::timeout(Duration::from_secs(60), write).await {
///             Ok(Err(error)) if error.is_retryable() => {} // an outage
///             Ok(outcome) => return outcome,
///             Err(_) => {} // the minute is over
///         }
///         eprintln!("{} of {} rows so far", checkpoint.report().written(), posts.len());
///         tokio::time::sleep(Duration::from_secs(5)).await;
///     }
/// }
/// ```
///
/// The rows must be the same, in the same order. Only one write at a time may use the checkpoint.
/// Clones share their state, so another task can follow a write by [`report`](Self::report). The
/// report in an error can be turned into one: `Checkpoint::from(report)`.
#[derive(Clone, Default)]
pub struct Checkpoint {
    state: Arc<Mutex<State>>,
}

/// How far a bulk write is: see [`Write::on_progress`](crate::write::Write::on_progress).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// How many rows the write has. Of a stream: how many it has yielded.
    pub rows: u64,
    /// How many rows were in requests that were written.
    pub written: u64,
    /// How many rows the database refused.
    pub failed: u64,
    /// How many rows were not sent, because a later row has the same conflict key.
    pub superseded: u64,
    /// How many requests got a response.
    pub requests: u32,
}

impl Progress {
    /// The progress of a write of which this came before.
    pub(super) fn plus(self, next: Self) -> Self {
        Self {
            rows: self.rows + next.rows,
            written: self.written + next.written,
            failed: self.failed + next.failed,
            superseded: self.superseded + next.superseded,
            requests: self.requests + next.requests,
        }
    }
}

#[derive(Debug, Default)]
struct State {
    /// Everything except `pending`, which is computed from the rest.
    report: WriteReport,
    /// The rows of each request that is in flight.
    under_way: Vec<Vec<usize>>,
}

impl Checkpoint {
    /// A checkpoint of a write that has not begun.
    ///
    /// ```
    /// # use sluice_sdk::Checkpoint;
    /// let checkpoint = Checkpoint::new();
    /// assert_eq!(checkpoint.report().written(), 0);
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// What happened to each row so far. Rows in flight count as
    /// [`uncertain`](WriteReport::uncertain).
    ///
    /// ```
    /// # use sluice_sdk::Checkpoint; let checkpoint = Checkpoint::new();
    /// let report = checkpoint.report();
    /// assert!(report.pending.is_empty() && report.uncertain.is_empty());
    /// ```
    pub fn report(&self) -> WriteReport {
        let state = self.lock();
        let mut report = state.report.clone();
        report.uncertain.extend(state.under_way.iter().flatten());
        report.uncertain.sort_unstable();
        report.failed.sort_by_key(|failure| failure.index);
        let settled = settled(&report);
        report.pending = (0..settled.len())
            .filter(|&index| settled.get(index) == Some(&false))
            .collect();
        report
    }

    /// How far the write is.
    pub(super) fn progress(&self) -> Progress {
        let state = self.lock();
        let report = &state.report;
        Progress {
            rows: report.rows,
            written: report.written(),
            failed: report.failed.len() as u64,
            superseded: report.superseded.len() as u64,
            requests: report.requests,
        }
    }

    /// Begins a write of `rows` rows. Returns the indexes of those that it must not send.
    /// `may_repeat` decides for a row that got no response whether it may be sent again.
    pub(super) fn open(
        &self,
        rows: usize,
        may_repeat: impl Fn(usize) -> bool,
    ) -> Result<Vec<usize>, Error> {
        let mut state = self.lock();
        let known = state.report.rows;
        if known > 0 && known != rows as u64 {
            return Err(Error::invalid(format!(
                "the checkpoint belongs to a write with another number of rows ({known}, not {rows}); pass the same rows, or a new checkpoint"
            )));
        }
        state.report.rows = rows as u64;
        // An earlier run gave up the requests that were in flight.
        let broken_off = std::mem::take(&mut state.under_way);
        state.report.uncertain.extend(broken_off.iter().flatten());
        let mut settled = settled(&state.report);
        for &index in &state.report.uncertain {
            if let Some(is_settled) = settled.get_mut(index) {
                *is_settled = !may_repeat(index);
            }
        }
        let settled = settled.into_iter().enumerate();
        let settled = settled.filter(|(_, is_settled)| *is_settled);
        Ok(settled.map(|(index, _)| index).collect())
    }

    /// Whether the database has accepted a request.
    pub(super) fn has_written(&self) -> bool {
        !self.lock().report.chunks.is_empty()
    }

    pub(super) fn superseded(&self, rows: &[usize]) {
        self.lock().report.superseded.extend(rows);
    }

    pub(super) fn sent(&self, rows: &[usize]) {
        let mut state = self.lock();
        state.report.uncertain.retain(|index| !rows.contains(index));
        state.under_way.push(rows.to_vec());
    }

    pub(super) fn written(&self, rows: &[usize], affected: u64) {
        let mut state = self.lock();
        let rows = state.answered(rows);
        state.report.affected += affected;
        state.report.chunks.push(Chunk { rows, affected });
    }

    pub(super) fn refused(&self, rows: &[usize], error: &Error) {
        let mut state = self.lock();
        let failures = state.answered(rows).into_iter().map(|index| RejectedRow {
            index,
            error: error.clone(),
        });
        state.report.failed.extend(failures);
    }

    /// The rows were not written.
    pub(super) fn withdrawn(&self, rows: &[usize]) {
        self.lock().answered(rows);
    }

    /// It is unknown whether the rows were written.
    pub(super) fn lost(&self, rows: &[usize]) {
        let mut state = self.lock();
        let rows = state.answered(rows);
        state.report.uncertain.extend(rows);
    }

    /// The rows could not be serialized.
    pub(super) fn unsendable(&self, failures: Vec<RejectedRow>) {
        self.lock().report.failed.extend(failures);
    }

    /// A panic in another thread leaves the lists whole, so the poison is ignored.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Ends a request, and returns its rows.
    fn answered(&mut self, rows: &[usize]) -> Vec<usize> {
        self.report.requests += 1;
        let request = self.under_way.iter().position(|sent| sent == rows);
        request.map_or_else(Vec::new, |request| self.under_way.swap_remove(request))
    }
}

/// Goes on with a write that ended with this report.
impl From<WriteReport> for Checkpoint {
    fn from(mut report: WriteReport) -> Self {
        report.pending.clear();
        let state = State {
            report,
            under_way: Vec::new(),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }
}

impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Checkpoint").field(&*self.lock()).finish()
    }
}

/// For each row, whether it must not be sent again.
fn settled(report: &WriteReport) -> Vec<bool> {
    let mut settled = vec![false; usize::try_from(report.rows).unwrap_or(usize::MAX)];
    let written = report.chunks.iter().flat_map(|chunk| &chunk.rows);
    let failed = report.failed.iter().map(|failure| &failure.index);
    let others = report.superseded.iter().chain(&report.uncertain);
    for &index in written.chain(failed).chain(others) {
        if let Some(settled) = settled.get_mut(index) {
            *settled = true;
        }
    }
    settled
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(checkpoint: &Checkpoint) -> Vec<usize> {
        checkpoint.report().pending
    }

    #[test]
    fn every_row_is_in_one_list_of_the_report() {
        let checkpoint = Checkpoint::new();
        assert!(checkpoint.open(8, |_| false).unwrap().is_empty());
        checkpoint.superseded(&[7]);
        for rows in [[0, 1], [2, 3], [4, 5]] {
            checkpoint.sent(&rows);
        }
        assert_eq!(pending(&checkpoint), [6]);
        checkpoint.written(&[2, 3], 1);
        checkpoint.refused(&[0, 1], &Error::invalid("x"));
        checkpoint.withdrawn(&[4, 5]);
        checkpoint.sent(&[4]);
        checkpoint.lost(&[4]);
        checkpoint.sent(&[5]);
        let report = checkpoint.report();
        assert_eq!(
            (report.requests, report.affected, report.written()),
            (4, 1, 2)
        );
        let failed: Vec<usize> = report.failed.iter().map(|it| it.index).collect();
        assert_eq!((failed, report.superseded), (vec![0, 1], vec![7]));
        assert_eq!((report.uncertain, report.pending), (vec![4, 5], vec![6]));
    }

    #[test]
    fn rows_without_a_response_are_sent_again_if_that_is_safe() {
        let checkpoint = Checkpoint::new();
        checkpoint.open(4, |_| false).unwrap();
        checkpoint.sent(&[0, 1]);
        checkpoint.written(&[0, 1], 2);
        checkpoint.sent(&[2]);
        let copy = Checkpoint::from(checkpoint.report());
        assert_eq!(checkpoint.open(4, |_| false).unwrap(), [0, 1, 2]);
        assert_eq!(checkpoint.report().uncertain, [2]);
        assert_eq!(copy.open(4, |_| true).unwrap(), [0, 1]);
        assert_eq!(
            (copy.report().uncertain, pending(&copy)),
            (vec![2], vec![3])
        );
        copy.sent(&[2, 3]);
        copy.written(&[2, 3], 1);
        assert_eq!((copy.report().uncertain, pending(&copy)), (vec![], vec![]));
    }

    #[test]
    fn a_checkpoint_of_other_rows_is_refused() {
        let checkpoint = Checkpoint::new();
        checkpoint.open(4, |_| false).unwrap();
        assert!(checkpoint.open(5, |_| false).is_err());
    }
}
