//! What a flow is made of: what is due, what to do with a batch, and where the results go.

use std::future::Future;
use std::time::Duration;

use uuid::Uuid;

use super::stop::StopReason;

/// A row that a flow works on, or its result.
pub trait Item: Send + Sync + 'static {
    /// The row's primary key.
    fn id(&self) -> Uuid;
}

/// A row with a text that the provider reads.
pub trait Text: Item {
    /// The text.
    fn text(&self) -> &str;
}

/// Rows that are due, leased unless the source has no leases, and where the next claim continues.
#[derive(Debug, Clone)]
pub struct Claim<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Whether they are now leased by this runner.
    pub is_leased: bool,
    /// The cursor for the next claim. `None` means that the pass has reached the end of the table.
    pub next_after: Option<Uuid>,
    /// Failed rows that wait for their next attempt. Set at the end of a pass only.
    pub waiting: u64,
    /// How long until the first of the waiting rows is due. Set at the end of a pass only.
    pub next_attempt: Option<Duration>,
    /// Due rows that were left out because others hold them: locked ones at each claim, and at the end of a pass
    /// those that other runners have leased.
    pub leased_elsewhere: u64,
    /// Due rows that the source completed without any work, such as copies of existing results.
    pub already_done: u64,
}

impl<T: Item> Claim<T> {
    /// A page of rows in ascending order of their ids, for a source without leases. Only an empty page ends
    /// the pass, because servers may cut pages short.
    pub fn page(rows: Vec<T>) -> Self {
        let next_after = rows.last().map(Item::id);
        Self {
            rows,
            is_leased: false,
            next_after,
            waiting: 0,
            next_attempt: None,
            leased_elsewhere: 0,
            already_done: 0,
        }
    }
}

/// A row that failed because of its own content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowFailure {
    /// The row.
    pub id: Uuid,
    /// What is wrong with it, in a sentence.
    pub reason: String,
    /// True if another attempt cannot help. The row becomes a dead letter at once.
    pub permanent: bool,
}

/// What the source did with failures.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Rows that are tried again after their backoff.
    pub retrying: u64,
    /// Rows that are now dead letters.
    pub dead: Vec<Uuid>,
}

impl Recorded {
    /// For a source that retries nothing: every failed row is a dead letter.
    pub fn all_dead(failures: &[RowFailure]) -> Self {
        Self {
            retrying: 0,
            dead: failures.iter().map(|failure| failure.id).collect(),
        }
    }
}

/// Why a request to the database failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StorageError {
    /// The database is unreachable or overloaded. The same request may succeed later.
    #[error("{0}")]
    Outage(String),
    /// The request is too large. Smaller requests may succeed.
    #[error("{0}")]
    TooLarge(String),
    /// The statement was cancelled because it took too long. Smaller requests may succeed. A request with a
    /// single row waited for somebody else, such as the holder of a lock.
    #[error("{0}")]
    TooSlow(String),
    /// The database rejects a row of the request. Smaller requests find out which one.
    #[error("{0}")]
    Row(String),
    /// The database rejects the request itself, for example because a migration is missing.
    #[error("{0}")]
    Refused(String),
    /// The source or the sink has waited for the database as long as it may.
    #[error("{0}")]
    GaveUp(StopReason),
}

impl StorageError {
    /// The reason to stop a flow that cannot go on after this error.
    pub(super) fn into_reason(self) -> StopReason {
        match self {
            Self::GaveUp(reason) => reason,
            error => StopReason::Database(error.to_string()),
        }
    }

    /// Whether the same request of this many rows may succeed later.
    pub fn is_outage(&self, rows: usize) -> bool {
        match self {
            Self::Outage(_) => true,
            Self::TooSlow(_) => rows <= 1,
            Self::TooLarge(_) | Self::Row(_) | Self::Refused(_) | Self::GaveUp(_) => false,
        }
    }
}

/// What is due.
///
/// Several runners can share a source that leases its rows. A source without leases serves one runner at a
/// time. It implements [`claim`](Self::claim) and [`fail`](Self::fail) and keeps the other defaults. In both
/// cases the engine ignores a row that it claims again while that row is in flight. Without leases it also ignores one
/// that was written while the claim was under way.
pub trait Source: Send + Sync + 'static {
    /// The rows.
    type Item: Item;

    /// Leases at most `limit` due rows after the cursor. The flow ends when a pass over the whole table finds
    /// nothing.
    fn claim(
        &self,
        limit: u32,
        after: Option<Uuid>,
    ) -> impl Future<Output = Result<Claim<Self::Item>, StorageError>> + Send;

    /// Records failures, for another attempt or as dead letters. A row whose failure is not recorded is due
    /// again at once, so the flow would never end.
    fn fail(
        &self,
        failures: Vec<RowFailure>,
    ) -> impl Future<Output = Result<Recorded, StorageError>> + Send;

    /// Renews leases. Returns the rows that are still leased by this runner.
    fn extend(
        &self,
        ids: Vec<Uuid>,
    ) -> impl Future<Output = Result<Vec<Uuid>, StorageError>> + Send {
        async { Ok(ids) }
    }

    /// Ends the leases of rows that needed no work.
    fn finish(&self, _ids: Vec<Uuid>) -> impl Future<Output = Result<(), StorageError>> + Send {
        async { Ok(()) }
    }

    /// Ends every lease of this runner without charging an attempt. Returns how many there were.
    fn release(&self) -> impl Future<Output = Result<u64, StorageError>> + Send {
        async { Ok(0) }
    }

    /// How long a lease lasts if it is not renewed.
    fn lease(&self) -> Duration {
        Duration::from_secs(3_600)
    }
}

/// What to do with rows: how they are packed into batches, and the provider's calls for a batch.
pub trait Work: Send + Sync + 'static {
    /// The rows.
    type Item: Item;
    /// Rows that go to the provider together.
    type Batch: Send + 'static;
    /// What a row becomes. Its id is the row's.
    type Output: Item;

    /// The most batches in flight at once. Work with large results sets a lower number.
    fn batches_max(&self) -> usize {
        usize::MAX
    }

    /// Packs rows into batches, continuing the batch that was left open before. Pure.
    fn pack(&self, open: Option<Self::Batch>, rows: Vec<Self::Item>) -> Packing<Self::Batch>;

    /// The rows of a batch.
    fn ids(&self, batch: &Self::Batch) -> Vec<Uuid>;

    /// Does the calls for one batch.
    fn run(&self, batch: Self::Batch) -> impl Future<Output = BatchResult<Self::Output>> + Send;
}

/// Rows, packed into batches.
#[derive(Debug)]
pub struct Packing<B> {
    /// Full batches.
    pub batches: Vec<B>,
    /// The last batch, if it has room for rows of the next claim.
    pub open: Option<B>,
    /// Rows that need no work.
    pub skipped: Vec<Uuid>,
    /// Warnings about rows, for the report.
    pub warnings: Vec<RowWarning>,
}

/// A warning about a row. The report counts rows with the same warning together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowWarning {
    /// The row.
    pub id: Uuid,
    /// The warning, in words that follow "3 rows".
    pub what: &'static str,
}

/// What became of a batch. A row in none of the lists has no result: it is released if the flow is stopping, and
/// has failed if it is not.
#[derive(Debug)]
pub struct BatchResult<O> {
    /// Results, to be written.
    pub outputs: Vec<O>,
    /// Rows that failed because of their own content.
    pub failures: Vec<RowFailure>,
    /// Rows that stay due, because something else than their content is at fault.
    pub deferred: Vec<Deferred>,
    /// Why the flow cannot go on, if so.
    pub halt: Option<StopReason>,
}

/// Rows that this run cannot work on and a later one may. They are released at the end of the run, which goes on
/// with the other rows.
#[derive(Debug)]
pub struct Deferred {
    /// The rows.
    pub ids: Vec<Uuid>,
    /// Why, and what to do about it. The run ends with this reason if it has no other.
    pub reason: StopReason,
}

impl<O> Default for BatchResult<O> {
    fn default() -> Self {
        Self {
            outputs: Vec::new(),
            failures: Vec::new(),
            deferred: Vec::new(),
            halt: None,
        }
    }
}

/// Where results go. Writing a result also ends its row's lease, in the same transaction.
pub trait Sink: Send + Sync + 'static {
    /// The results.
    type Output: Item;

    /// The most results in one write.
    fn rows_max(&self) -> usize;

    /// Writes results. Writing the same ones again changes nothing.
    fn write(
        &self,
        outputs: &[Self::Output],
    ) -> impl Future<Output = Result<(), StorageError>> + Send;
}
