//! What a bulk write did: an outcome for every row, whatever happened.

use super::Error;

/// What became of the rows of a bulk write.
///
/// Every row given is in exactly one place: in a [`Chunk`] that was written, in
/// [`failed`](Self::failed), in [`superseded`](Self::superseded), in [`pending`](Self::pending), or
/// in [`uncertain`](Self::uncertain). The last two are empty where the call returned `Ok`.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct WriteReport {
    /// How many rows were given.
    pub rows: u64,
    /// How many rows the database inserted or changed, by its own count. Smaller than the rows sent
    /// where duplicates were ignored or row-level security hid rows.
    pub affected: u64,
    /// How many requests were answered, failed ones and splits among them; repeated attempts of
    /// one request count once.
    pub requests: u32,
    /// The requests that were written, in the order in which they finished.
    pub chunks: Vec<Chunk>,
    /// The rows that the database refused, each with its reason, by index.
    pub failed: Vec<RejectedRow>,
    /// The rows (by index) that were not sent because a later row has the same conflict key: see
    /// [`Write::dedupe`](crate::Write::dedupe).
    pub superseded: Vec<usize>,
    /// The rows (by index) that were not written because the write stopped early.
    pub pending: Vec<usize>,
    /// The rows (by index) that were sent and whose request was never answered: some of them may
    /// have been written.
    pub uncertain: Vec<usize>,
}

/// One request of a bulk write that was written.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Chunk {
    /// The rows in it: indexes into the slice that was given.
    pub rows: Vec<usize>,
    /// How many of them the database inserted or changed.
    pub affected: u64,
}

/// A row that the database refused.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RejectedRow {
    /// The row's index in the slice that was given.
    pub index: usize,
    /// Why it was refused.
    pub error: Error,
}

/// The rows that came back from a write, and what the write did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Written<V> {
    /// The written rows as the database has them, in the order of the rows given, as far as the
    /// rows came back in order within a request.
    pub rows: Vec<V>,
    /// What became of every row given.
    pub report: WriteReport,
}

impl WriteReport {
    /// Whether every row given was accepted.
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty() && self.pending.is_empty() && self.uncertain.is_empty()
    }

    /// Returns how many rows were in requests that were written, affected or not.
    pub fn written(&self) -> u64 {
        self.chunks
            .iter()
            .map(|chunk| chunk.rows.len() as u64)
            .sum()
    }

    /// Returns the report, or the first refused row's error where a row was refused.
    ///
    /// # Errors
    ///
    /// The error of the first row in [`failed`](Self::failed), with this report inside.
    pub fn into_result(self) -> Result<Self, Error> {
        match self.failed.first() {
            None => Ok(self),
            Some(failure) => Err(failure.error.clone().with_report(self)),
        }
    }
}
