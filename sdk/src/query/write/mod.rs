//! Writing many rows: inserts and upserts.

mod checkpoint;
mod driver;
mod failure;
mod plan;

use std::future::IntoFuture;
use std::marker::PhantomData;

use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{CallDefaults, Context, Endpoint, Execute, Query};
use crate::error::{Error, WriteReport, Written};
use crate::grammar::{Selection, ShapeOf};
use crate::request::{Call, Format, Handling, Prefer, Resolution};
use crate::schema::Column;

use plan::WritePlan;

pub use checkpoint::Checkpoint;

/// An insert or an upsert of any number of rows. Awaiting it returns a [`WriteReport`].
///
/// A row is anything that serializes as an object. Keys that a row leaves out are not written: the
/// columns get their defaults or, in an upsert, keep their stored values. Rows with the same keys
/// share requests of at most [`CallDefaults::chunk_rows`] rows and [`CallDefaults::chunk_bytes`]
/// bytes. A few requests run at once.
///
/// A request that is too large or runs too long is halved. A request that the database refuses for
/// its data is halved too, until the rows at fault are found. These are reported in
/// [`WriteReport::failed`], and every other row is written. A failure that is not due to a row (no
/// connection, no permission, no such table) ends the write. The error's
/// [`write_report`](Error::write_report) says what was written by then, and with a
/// [`checkpoint`](Self::checkpoint) the write can go on from there.
///
/// ```no_run
/// # use sluice_sdk::{Client, Error, Table, serde::Serialize};
/// # #[derive(Table, Serialize)] #[serde(crate = "sluice_sdk::serde")] #[table(name = "posts")]
/// # struct Post { neighborhood_id: i64, hash: String, text: String }
/// # async fn run(db: Client, posts: Vec<Post>) -> Result<(), Error> {
/// let report = db
///     .from::<Post>()
///     .upsert(&posts)
///     .on_conflict((Post::NEIGHBORHOOD_ID, Post::HASH))
///     .ignore_duplicates()
///     .await?;
/// for failure in &report.failed {
///     eprintln!("row {}: {}", failure.index, failure.error);
/// }
/// # Ok(()) }
/// ```
///
/// The requests, if rows have different keys:
///
/// ```
/// use sluice_sdk::{Offline, col, serde_json::json};
///
/// let rows = [json!({"id": 1, "text": "a"}), json!({"id": 2}), json!({"id": 3, "text": "c"})];
/// let calls = Offline::default().table("posts").upsert(&rows).on_conflict(col("id")).calls()?;
/// assert_eq!(calls[0].request.uri(), "/posts?on_conflict=id&columns=id,text");
/// assert_eq!(calls[0].request.body(), r#"[{"id":1,"text":"a"},{"id":3,"text":"c"}]"#);
/// assert_eq!(calls[1].request.uri(), "/posts?on_conflict=id&columns=id");
/// # Ok::<(), sluice_sdk::Error>(())
/// ```
///
/// PostgREST reference: "Insert", "Bulk Insert", "Specifying Columns", "Upsert".
#[must_use = "a write does nothing until it is awaited"]
pub struct Write<'a, T, R, K, C> {
    context: C,
    spec: WriteSpec<'a, R>,
    marker: PhantomData<fn() -> (T, K)>,
}

/// Marks a [`Write`] that inserts.
#[derive(Clone, Copy, Debug)]
pub enum Inserting {}

/// Marks a [`Write`] that upserts.
#[derive(Clone, Copy, Debug)]
pub enum Upserting {}

/// A [`Write`] that returns the written rows. Awaiting it returns [`Written`].
#[must_use = "a write does nothing until it is awaited"]
pub struct WriteReturning<'a, T, R, V, C> {
    context: C,
    spec: WriteSpec<'a, R>,
    marker: PhantomData<fn() -> (T, V)>,
}

/// Everything about a write except the client that sends it.
#[derive(Clone, Debug)]
pub(crate) struct WriteSpec<'a, R> {
    rows: &'a [R],
    endpoint: Endpoint,
    upsert: bool,
    resolution: Resolution,
    conflict: Vec<String>,
    dedupe: bool,
    one_request: bool,
    max_failures: usize,
    chunk_rows: usize,
    chunk_bytes: usize,
    concurrency: usize,
    schema: Option<String>,
    prefer: Prefer,
    format: Format,
    returning: ReturnedRows,
    checkpoint: Checkpoint,
}

/// What a write returns of its rows.
#[derive(Clone, Debug)]
enum ReturnedRows {
    Nothing,
    All,
    Columns(Selection),
}

/// One column, or a tuple: `(Post::NEIGHBORHOOD_ID, Post::HASH)`.
#[diagnostic::on_unimplemented(
    message = "columns of `{T}` are needed here, not a `{Self}`",
    label = "not a column of `{T}`, and no tuple of such"
)]
pub trait IntoColumns<T> {
    /// The columns' names.
    #[doc(hidden)]
    fn names(self) -> Vec<String>;
}

impl<'a, R> WriteSpec<'a, R> {
    fn new(rows: &'a [R], endpoint: Endpoint, upsert: bool, defaults: &CallDefaults) -> Self {
        const MAX_FAILURES: usize = 1_000;
        Self {
            rows,
            endpoint,
            upsert,
            resolution: Resolution::Merge,
            conflict: Vec::new(),
            dedupe: false,
            one_request: false,
            max_failures: MAX_FAILURES,
            chunk_rows: defaults.chunk_rows.max(1),
            chunk_bytes: defaults.chunk_bytes,
            concurrency: defaults.concurrency.max(1),
            schema: defaults.schema.clone(),
            prefer: Prefer::default(),
            format: Format::Json,
            returning: ReturnedRows::Nothing,
            checkpoint: Checkpoint::new(),
        }
    }
}

impl<'a, T, R, K, C: Context> Write<'a, T, R, K, C> {
    pub(crate) fn new(context: C, endpoint: Endpoint, rows: &'a [R], upsert: bool) -> Self {
        let spec = WriteSpec::new(rows, endpoint, upsert, context.defaults());
        Self {
            context,
            spec,
            marker: PhantomData,
        }
    }

    /// Puts at most this many rows into a request (500 by default).
    pub fn chunk_rows(mut self, rows: usize) -> Self {
        self.spec.chunk_rows = rows.max(1);
        self
    }

    /// Puts at most this many bytes into a request (1 MiB by default). A longer row goes alone.
    pub fn chunk_bytes(mut self, bytes: usize) -> Self {
        self.spec.chunk_bytes = bytes;
        self
    }

    /// Sends this many requests at once (4 by default).
    pub fn concurrency(mut self, requests: usize) -> Self {
        self.spec.concurrency = requests.max(1);
        self
    }

    /// Stops if more rows than this are refused (1,000 by default), because finding each costs
    /// requests.
    pub fn max_failures(mut self, rows: usize) -> Self {
        self.spec.max_failures = rows;
        self
    }

    /// Writes all rows in one request and so in one transaction. If one row is refused, none is
    /// written and the call fails. An insert may mix rows with different keys: missing ones get
    /// their defaults. An upsert may not, because missing keys would overwrite stored values.
    pub fn all_or_nothing(mut self) -> Self {
        self.spec.one_request = true;
        self
    }

    /// Notes in `checkpoint` what happens to each row, and sends only rows that are not done. So a
    /// write that stopped half way goes on. See [`Checkpoint`].
    pub fn checkpoint(mut self, checkpoint: &Checkpoint) -> Self {
        self.spec.checkpoint = checkpoint.clone();
        self
    }

    /// Runs the write and rolls it back (`tx=rollback`). The server must allow it (`db-tx-end =
    /// commit-allow-override`). If it does not, the rows *are* written, and the call fails and says
    /// so.
    pub fn dry_run(mut self) -> Self {
        self.spec.prefer.rollback = true;
        self
    }

    /// Returns times in this time zone, such as `America/Los_Angeles`.
    pub fn timezone(mut self, timezone: impl Into<String>) -> Self {
        self.spec.prefer.timezone = Some(timezone.into());
        self
    }

    /// Sets what the server does with preferences that it does not know.
    pub fn handling(mut self, handling: Handling) -> Self {
        self.spec.prefer.handling = Some(handling);
        self
    }

    /// Returns the written rows as `V`, without those that an upsert ignored.
    pub fn returning<V: ShapeOf<T>>(self) -> WriteReturning<'a, T, R, V, C> {
        self.return_as(ReturnedRows::Columns(V::selection()))
    }

    /// Returns the written rows with all columns, each read into `V`.
    pub fn returning_rows<V>(self) -> WriteReturning<'a, T, R, V, C> {
        self.return_as(ReturnedRows::All)
    }

    fn return_as<V>(self, returning: ReturnedRows) -> WriteReturning<'a, T, R, V, C> {
        let spec = WriteSpec {
            returning,
            ..self.spec
        };
        WriteReturning {
            context: self.context,
            spec,
            marker: PhantomData,
        }
    }

    /// The requests of a write in which nothing fails, for callers that send them themselves.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) if a row does not serialize as an object,
    /// or if the grammar cannot express the write.
    pub fn calls(&self) -> Result<Vec<Call>, Error>
    where
        R: Serialize,
    {
        let mut plan = WritePlan::new(&self.spec, &[])?;
        let mut calls = Vec::new();
        while let Some(batch) = plan.next(self.spec.chunk_rows) {
            calls.push(self.spec.call(&batch)?);
        }
        match plan.failed.pop() {
            Some(failure) => Err(failure.error),
            None => Ok(calls),
        }
    }
}

impl<T, R, C: Context> Write<'_, T, R, Upserting, C> {
    /// The columns of the unique constraint that decides whether a row exists. By default this is
    /// the primary key.
    pub fn on_conflict(mut self, columns: impl IntoColumns<T>) -> Self {
        self.spec.conflict = columns.names();
        self
    }

    /// Leaves existing rows as they are, instead of updating them.
    ///
    /// If a request is sent again, rows that its first attempt wrote exist by then. They are
    /// neither counted as affected nor returned.
    pub fn ignore_duplicates(mut self) -> Self {
        self.spec.resolution = Resolution::Ignore;
        self
    }

    /// Sends only the last of the rows with the same values in the columns of
    /// [`on_conflict`](Self::on_conflict). The others are [`superseded`](WriteReport::superseded).
    /// Without this, all are written, in separate requests and in no certain order.
    pub fn dedupe(mut self) -> Self {
        self.spec.dedupe = true;
        self
    }
}

impl<'a, T, R, K, C> IntoFuture for Write<'a, T, R, K, C>
where
    R: Serialize + Sync,
    C: Execute,
{
    type Output = Result<WriteReport, Error>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let (context, spec) = (self.context, self.spec);
        Box::pin(async move { Ok(driver::run(&context, &spec).await?.report) })
    }
}

impl<'a, T, R, V, C> IntoFuture for WriteReturning<'a, T, R, V, C>
where
    R: Serialize + Sync,
    V: DeserializeOwned + Send + 'static,
    C: Execute,
{
    type Output = Result<Written<V>, Error>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let (context, spec) = (self.context, self.spec);
        Box::pin(async move {
            let outcome = driver::run(&context, &spec).await?;
            let report = outcome.report;
            let mut rows = Vec::new();
            for response in outcome.responses {
                // The rows are written. A response that cannot be read must not hide that.
                let page: Vec<V> = response
                    .json()
                    .map_err(|error| error.with_report(report.clone()))?;
                rows.extend(page);
            }
            Ok(Written { rows, report })
        })
    }
}

impl<T, R, V, C> WriteReturning<'_, T, R, V, C>
where
    R: Serialize + Sync,
    V: DeserializeOwned,
    C: Execute,
{
    /// Writes one row and returns it. If there is not exactly one row, nothing is written.
    ///
    /// # Errors
    ///
    /// Every failure of the call, a refused row included. PGRST116 if an upsert ignored the row:
    /// see [`maybe_one`](Self::maybe_one).
    pub async fn exactly_one(mut self) -> Result<V, Error> {
        self.spec.one_request = true;
        self.spec.format = Format::Object;
        let outcome = driver::run(&self.context, &self.spec).await?;
        match outcome.responses.first() {
            Some(response) => response
                .json()
                .map_err(|error| error.with_report(outcome.report)),
            None => Err(Error::invalid(
                "`exactly_one` needs one row, and there is none",
            )),
        }
    }

    /// Writes one row and returns it, or `None` if an upsert ignored it.
    ///
    /// # Errors
    ///
    /// As for [`exactly_one`](Self::exactly_one), except PGRST116 for no row.
    pub async fn maybe_one(self) -> Result<Option<V>, Error> {
        Error::found(self.exactly_one().await)
    }
}

impl<R> WriteSpec<'_, R> {
    /// The part of the query that all requests share.
    fn query(&self) -> Query {
        let mut query = Query::new(self.endpoint.clone());
        if let ReturnedRows::Columns(selection) = &self.returning {
            query.selection = Some(selection.clone());
        }
        query.prefer = self.prefer.clone();
        query
    }
}

debug_by!(spec.endpoint, Write<'a, T, R, K, C>);

debug_by!(spec.endpoint, WriteReturning<'a, T, R, V, C>);

impl<T, V, N> IntoColumns<T> for Column<T, V, N> {
    fn names(self) -> Vec<String> {
        vec![self.name.into_owned()]
    }
}

macro_rules! column_tuples {
    ($(($($name:ident),+))+) => {$(
        impl<T, $($name: IntoColumns<T>),+> IntoColumns<T> for ($($name,)+) {
            fn names(self) -> Vec<String> {
                #[expect(non_snake_case, reason = "the names of the types serve as those of the values")]
                let ($($name,)+) = self;
                [$($name.names()),+].concat()
            }
        }
    )+};
}

column_tuples! { (A) (A, B) (A, B, C) (A, B, C, D) (A, B, C, D, E) }
