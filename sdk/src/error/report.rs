//! What a bulk write did with each row.

use super::Error;

/// What a bulk write did with its rows.
///
/// Every row is in exactly one of these: a [`Chunk`] that was written, [`failed`](Self::failed),
/// [`superseded`](Self::superseded), [`pending`](Self::pending) or [`uncertain`](Self::uncertain).
/// The last two are empty if the call returned `Ok`.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct WriteReport {
    /// How many rows the write has.
    pub rows: u64,
    /// How many rows the database inserted or changed. It is smaller than the number of rows sent
    /// if duplicates were ignored or row-level security hid rows.
    pub affected: u64,
    /// How many requests got a response, failed ones and halves included. Retries of one request
    /// count once.
    pub requests: u32,
    /// The requests that were written, in the order in which they finished.
    pub chunks: Vec<Chunk>,
    /// The rows that the database refused, in order, each with its reason.
    pub failed: Vec<RejectedRow>,
    /// The indexes of rows of an upsert that were not sent, because a later row has the same conflict
    /// key and sets the same columns.
    pub superseded: Vec<usize>,
    /// The indexes of rows that were not written because the write stopped early.
    pub pending: Vec<usize>,
    /// The indexes of rows that were sent and got no response, or one from a gateway that does not
    /// know the outcome. Some of them may have been written.
    pub uncertain: Vec<usize>,
}

/// One request of a bulk write that was written.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Chunk {
    /// The indexes of its rows in the slice that was passed.
    pub rows: Vec<usize>,
    /// How many of them the database inserted or changed.
    pub affected: u64,
}

/// A row that the database refused.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RejectedRow {
    /// The row's index in the slice that was passed.
    pub index: usize,
    /// Why it was refused.
    pub error: Error,
}

/// The rows that a write returned, and what it did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Written<V> {
    /// The written rows as the database has them. Requests are in the order of their rows; within a
    /// request, PostgREST decides.
    pub rows: Vec<V>,
    /// What the write did with each row.
    pub report: WriteReport,
}

impl WriteReport {
    /// Whether every row was accepted.
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

    /// Returns the report, or the error of the first refused row.
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
