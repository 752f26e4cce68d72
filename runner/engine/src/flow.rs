//! The three answers that make a flow: what is due, what to do with a batch, where it goes.

use std::future::Future;
use std::time::Duration;

use uuid::Uuid;

use super::stop::StopReason;

/// A row that a flow works on. The engine needs to know only which one it is.
pub trait Item: Send + Sync + 'static {
    /// The row's primary key.
    fn id(&self) -> Uuid;
}

/// A row whose text is what the provider reads.
pub trait Text: Item {
    /// The text.
    fn text(&self) -> &str;
}

/// Rows that were just leased, and where to go on.
#[derive(Debug, Clone)]
pub struct Claim<T> {
    /// The rows, now leased by this runner.
    pub rows: Vec<T>,
    /// Where the next claim goes on; `None` = the pass has reached the end of the table.
    pub next_after: Option<Uuid>,
    /// Rows that failed and wait for their next attempt (told at the end of a pass).
    pub waiting: u64,
    /// Until the first of these is due (told at the end of a pass).
    pub next_attempt: Option<Duration>,
    /// Rows that other runners hold (told at the end of a pass).
    pub leased_elsewhere: u64,
    /// Rows that were due and that the source has done by itself, such as copies of what is there.
    pub already_done: u64,
}

impl<T: Item> Claim<T> {
    /// The next rows, by ascending id, of a source without leases. Only a page without rows is taken for the
    /// end of the table: servers cut pages short.
    pub fn page(rows: Vec<T>) -> Self {
        let next_after = rows.last().map(Item::id);
        Self {
            rows,
            next_after,
            waiting: 0,
            next_attempt: None,
            leased_elsewhere: 0,
            already_done: 0,
        }
    }
}

/// A row that failed on its own account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowFailure {
    /// The row.
    pub id: Uuid,
    /// What is wrong with it, in a sentence.
    pub reason: String,
    /// Trying again cannot help: it is set aside at once.
    pub permanent: bool,
}

/// What became of failures that were recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Rows that are tried again after their backoff.
    pub retrying: u64,
    /// Rows that are now set aside until replayed.
    pub dead: Vec<Uuid>,
}

impl Recorded {
    /// All of them are set aside, whether trying again might help or not.
    pub fn set_aside(failures: &[RowFailure]) -> Self {
        Self {
            retrying: 0,
            dead: failures.iter().map(|failure| failure.id).collect(),
        }
    }
}

/// Why the database did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached, or is overloaded: the same request may pass later.
    #[error("{0}")]
    Outage(String),
    /// The request is too much work for one statement, or too large: smaller ones may pass.
    #[error("{0}")]
    TooLarge(String),
    /// It refuses a row of the request: smaller requests find out which.
    #[error("{0}")]
    Row(String),
    /// It refuses the request however often it is sent, as where its schema lacks the migrations.
    #[error("{0}")]
    Refused(String),
}

/// What is due.
///
/// Several runners can share a source that leases its rows. One without leases is for one runner at a time: it
/// answers [`claim`](Self::claim) and [`fail`](Self::fail), and leaves the rest as it is. Either way the rows in
/// the works are known to the engine, and one that is claimed once more is not worked on twice.
pub trait Source: Send + Sync + 'static {
    /// The rows.
    type Item: Item;

    /// Leases at most `limit` due rows after the cursor. The flow has ended when a pass over the whole table,
    /// from no cursor to none, has found nothing.
    fn claim(
        &self,
        limit: u32,
        after: Option<Uuid>,
    ) -> impl Future<Output = Result<Claim<Self::Item>, StoreError>> + Send;

    /// Records failures: tried again after a backoff, or set aside. A row whose failure is not recorded is
    /// claimed again at once, and for ever.
    fn fail(
        &self,
        failures: Vec<RowFailure>,
    ) -> impl Future<Output = Result<Recorded, StoreError>> + Send;

    /// Renews leases; answers those still held.
    fn extend(&self, ids: Vec<Uuid>) -> impl Future<Output = Result<Vec<Uuid>, StoreError>> + Send {
        async { Ok(ids) }
    }

    /// Ends the leases of rows that needed no work.
    fn finish(&self, _ids: Vec<Uuid>) -> impl Future<Output = Result<(), StoreError>> + Send {
        async { Ok(()) }
    }

    /// Gives back these rows, or every row that this runner holds (`None`), charging no attempt; answers how
    /// many they were.
    fn release(
        &self,
        _ids: Option<Vec<Uuid>>,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send {
        async { Ok(0) }
    }

    /// How long a lease holds without being renewed.
    fn lease(&self) -> Duration {
        Duration::from_secs(3_600)
    }
}

/// What to do with rows: how they are batched, and the provider's calls for a batch.
pub trait Work: Send + Sync + 'static {
    /// The rows.
    type Item: Item;
    /// Rows that go to the provider together.
    type Batch: Send + 'static;
    /// What a row becomes.
    type Output: Send + Sync + 'static;

    /// Batches that may be in flight at once, for work whose results are large.
    fn batches_max(&self) -> usize {
        usize::MAX
    }

    /// What a row's result depends on. While a row is in the works, others that are like it are put off: once
    /// its result is stored, the source may do them at no cost. `None` = no row is like another.
    fn likeness(&self, _row: &Self::Item) -> Option<Likeness> {
        None
    }

    /// Packs rows into batches, beginning with the one that was left open before; pure.
    fn plan(&self, open: Option<Self::Batch>, rows: Vec<Self::Item>) -> Plan<Self::Batch>;

    /// The rows of a batch.
    fn ids(&self, batch: &Self::Batch) -> Vec<Uuid>;

    /// Does the calls for one batch.
    fn run(&self, batch: Self::Batch) -> impl Future<Output = Done<Self::Output>> + Send;
}

/// A digest of what a row's result depends on.
pub type Likeness = [u8; 32];

/// Rows, packed.
#[derive(Debug)]
pub struct Plan<B> {
    /// What goes to the provider together.
    pub batches: Vec<B>,
    /// The last batch, where it has room for rows of the next claim.
    pub open: Option<B>,
    /// Rows that need no work.
    pub skipped: Vec<Uuid>,
    /// What the report is to say of rows.
    pub remarks: Vec<Remark>,
}

/// Something worth saying of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remark {
    /// The row.
    pub id: Uuid,
    /// What is said of it, in words that follow on "3 rows". Rows of which the same is said are counted
    /// together.
    pub what: &'static str,
}

/// What became of a batch. A row that is in neither list was not answered: it is given back where the flow
/// is stopping, and has failed where it is not.
#[derive(Debug)]
pub struct Done<O> {
    /// Results, to be written.
    pub outputs: Vec<O>,
    /// Rows that failed on their own account.
    pub failures: Vec<RowFailure>,
    /// Why the flow cannot go on, where it cannot.
    pub halt: Option<StopReason>,
}

impl<O> Default for Done<O> {
    fn default() -> Self {
        Self {
            outputs: Vec::new(),
            failures: Vec::new(),
            halt: None,
        }
    }
}

/// Where results go. Writing a result ends its row's lease, in one transaction with it.
pub trait Sink: Send + Sync + 'static {
    /// The results.
    type Output: Send + Sync + 'static;

    /// The row that a result belongs to.
    fn id(output: &Self::Output) -> Uuid;

    /// At most this many results go into one write.
    fn rows_max(&self) -> usize;

    /// Writes results; writing one twice changes nothing.
    fn write(
        &self,
        outputs: &[Self::Output],
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}
