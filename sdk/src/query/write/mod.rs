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

/// An insert or an upsert of any number of rows: awaiting it gives a [`WriteReport`].
///
/// Rows are anything that serializes as an object; keys that a row leaves out are not written, so
/// its columns keep their defaults (or, in an upsert, their stored values). Rows with the same keys
/// go together into requests of at most [`CallDefaults::chunk_rows`] rows and
/// [`CallDefaults::chunk_bytes`] bytes, a few at once.
///
/// A request that is too large or runs too long is halved. A request that the database refuses
/// for its data is halved too, down to the rows at fault: those are reported in
/// [`WriteReport::failed`], and every other row is written. A failure that is not the rows' own (no
/// connection, no permission, no such table) ends the write: the error's
/// [`write_report`](Error::write_report) says what had been written by then, and with a
/// [`checkpoint`](Self::checkpoint) the write goes on from there.
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
/// What is asked for, where two rows have other keys than the rest:
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

/// A [`Write`] that gives the written rows back: awaiting it gives [`Written`].
#[must_use = "a write does nothing until it is awaited"]
pub struct WriteReturning<'a, T, R, V, C> {
    context: C,
    spec: WriteSpec<'a, R>,
    marker: PhantomData<fn() -> (T, V)>,
}

/// Everything about a write but where it is sent.
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

/// What of the written rows comes back.
#[derive(Clone, Debug)]
enum ReturnedRows {
    Nothing,
    All,
    Columns(Selection),
}

/// Columns as one, or as a tuple: `(Post::NEIGHBORHOOD_ID, Post::HASH)`.
#[diagnostic::on_unimplemented(
    message = "columns of `{T}` are needed here, and this is a `{Self}`",
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

    /// Puts at most this many bytes into a request (1 MiB by default); a longer row goes alone.
    pub fn chunk_bytes(mut self, bytes: usize) -> Self {
        self.spec.chunk_bytes = bytes;
        self
    }

    /// Sends this many requests at once (4 by default).
    pub fn concurrency(mut self, requests: usize) -> Self {
        self.spec.concurrency = requests.max(1);
        self
    }

    /// Gives up when this many rows have been refused (1,000 by default): finding each costs
    /// requests.
    pub fn max_failures(mut self, rows: usize) -> Self {
        self.spec.max_failures = rows;
        self
    }

    /// Writes all rows in one request, and so in one transaction: if one is refused, none is
    /// written and the call fails. An insert may mix rows with different keys (missing ones get
    /// their defaults); an upsert may not, since missing keys would overwrite stored values.
    pub fn all_or_nothing(mut self) -> Self {
        self.spec.one_request = true;
        self
    }

    /// Notes in `checkpoint` what becomes of each row, and sends only those of which nothing has become
    /// yet: so a write that stopped half way goes on. See [`Checkpoint`].
    pub fn checkpoint(mut self, checkpoint: &Checkpoint) -> Self {
        self.spec.checkpoint = checkpoint.clone();
        self
    }

    /// Runs the write and rolls it back (`tx=rollback`). The server must allow it
    /// (`db-tx-end = commit-allow-override`); where it does not, the call fails and says that the
    /// rows *were* written, so try it on a server that does.
    pub fn dry_run(mut self) -> Self {
        self.spec.prefer.rollback = true;
        self
    }

    /// Gives times back in this time zone, such as `America/Los_Angeles`.
    pub fn timezone(mut self, timezone: impl Into<String>) -> Self {
        self.spec.prefer.timezone = Some(timezone.into());
        self
    }

    /// Says what happens to preferences that the server does not know.
    pub fn handling(mut self, handling: Handling) -> Self {
        self.spec.prefer.handling = Some(handling);
        self
    }

    /// Gives the written rows back as `V`. Rows that an upsert ignored do not come back.
    pub fn returning<V: ShapeOf<T>>(self) -> WriteReturning<'a, T, R, V, C> {
        self.giving_back(ReturnedRows::Columns(V::selection()))
    }

    /// Gives the written rows back with all columns, each read into `V`.
    pub fn returning_rows<V>(self) -> WriteReturning<'a, T, R, V, C> {
        self.giving_back(ReturnedRows::All)
    }

    fn giving_back<V>(self, returning: ReturnedRows) -> WriteReturning<'a, T, R, V, C> {
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

    /// The requests that are made if nothing fails, for those who send them themselves.
    ///
    /// # Errors
    ///
    /// Where a row does not serialize as an object, or the write cannot be said.
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
    /// The columns whose unique constraint tells that a row is there; the primary key by default.
    pub fn on_conflict(mut self, columns: impl IntoColumns<T>) -> Self {
        self.spec.conflict = columns.names();
        self
    }

    /// Leaves rows that are there as they are, instead of overwriting the columns given.
    ///
    /// Where a request had to be sent again, rows that its first time wrote are there by then: they
    /// are neither counted as affected nor given back.
    pub fn ignore_duplicates(mut self) -> Self {
        self.spec.resolution = Resolution::Ignore;
        self
    }

    /// Sends only the last of the rows with the same values in the columns of
    /// [`on_conflict`](Self::on_conflict); the others are [`superseded`](WriteReport::superseded).
    /// Without this, such rows are still all written, one request after another, but in no certain
    /// order.
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
        let Self {
            context,
            spec,
            marker: _,
        } = self;
        Box::pin(async move {
            driver::run(&context, &spec)
                .await
                .map(|outcome| outcome.report)
        })
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
        let Self {
            context,
            spec,
            marker: _,
        } = self;
        Box::pin(async move {
            let outcome = driver::run(&context, &spec).await?;
            let report = outcome.report;
            let mut rows = Vec::new();
            for answer in outcome.answers {
                // The rows are written: an answer that cannot be read must not hide that.
                let page: Vec<V> = answer
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
    /// Writes one row and gives it back. Where the rows given are not one, nothing is written.
    ///
    /// # Errors
    ///
    /// PGRST116 where another number of rows was written: none, for one that an upsert ignored (see
    /// [`maybe_one`](Self::maybe_one)); every failure of the call, a refused row among them.
    pub async fn exactly_one(mut self) -> Result<V, Error> {
        self.spec.one_request = true;
        self.spec.format = Format::Object;
        let outcome = driver::run(&self.context, &self.spec).await?;
        match outcome.answers.first() {
            Some(answer) => answer
                .json()
                .map_err(|error| error.with_report(outcome.report)),
            None => Err(Error::invalid(
                "one row is to be written, and none was given",
            )),
        }
    }

    /// Writes one row and gives it back; none where an upsert ignored it.
    ///
    /// # Errors
    ///
    /// As those of [`exactly_one`](Self::exactly_one), but for no row.
    pub async fn maybe_one(self) -> Result<Option<V>, Error> {
        match self.exactly_one().await {
            Ok(row) => Ok(Some(row)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl<R> WriteSpec<'_, R> {
    /// The query part of each request: conflict columns and what comes back.
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
