//! Writing many rows: inserts and upserts.

#[macro_use]
mod options;

mod checkpoint;
mod conflict;
mod driver;
mod failure;
mod plan;
mod source;
mod spec;

use std::future::IntoFuture;
use std::marker::PhantomData;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{CallDefaults, Context, Endpoint, Execute};
use crate::error::{Error, WriteReport, Written};
use crate::grammar::ShapeOf;
use crate::request::{Call, Format, Options, Resolution};
use crate::schema::Column;

use plan::WritePlan;
use spec::{ReturnedRows, WriteSpec};

pub use checkpoint::{Checkpoint, Progress};
pub use source::{StreamReport, WriteStream};

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
/// Of two rows of an upsert with the same conflict key, the later one wins. If it sets the same columns,
/// the earlier one is not sent and is named in [`WriteReport::superseded`]; otherwise both are sent, one
/// after another. Keys are compared as they are written: two that only the database takes for one (as
/// `citext` does) are both written, in their order if they share a request. If the conflict columns are
/// not known (an untyped table without [`on_conflict`](Self::on_conflict)), requests are sent one at a
/// time.
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
/// use sluice_sdk::{Offline, serde_json::json, col};
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
pub struct Write<'a, T, R, K, M, C> {
    context: C,
    spec: WriteSpec<'a, R>,
    marker: Marker<T, K, M>,
}

type Marker<T, K, M> = PhantomData<fn() -> (T, K, M)>;

/// Marks a [`Write`] that inserts.
#[derive(Clone, Copy, Debug)]
pub enum Inserting {}

/// Marks a [`Write`] that upserts.
#[derive(Clone, Copy, Debug)]
pub enum Upserting {}

/// Marks a [`Write`] of any number of rows: awaiting it returns a [`WriteReport`].
#[derive(Clone, Copy, Debug)]
pub enum Many {}

/// Marks a [`Write`] of one row: awaiting it returns nothing, or the row.
#[derive(Clone, Copy, Debug)]
pub enum One {}

/// A [`Write`] that returns the written rows. Awaiting it returns [`Written`], or for one row the row.
#[must_use = "a write does nothing until it is awaited"]
pub struct WriteReturning<'a, T, R, V, M, C> {
    context: C,
    spec: WriteSpec<'a, R>,
    marker: Marker<T, V, M>,
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
            one_request: false,
            max_failures: MAX_FAILURES,
            chunk_rows: defaults.chunk_rows.max(1),
            chunk_bytes: defaults.chunk_bytes,
            concurrency: defaults.concurrency.max(1),
            schema: defaults.schema.clone(),
            options: Options::default(),
            format: Format::Json,
            returning: ReturnedRows::Nothing,
            checkpoint: Checkpoint::new(),
            progress: None,
        }
    }
}

chunk_options!(<'a, T, R, K, C> Write<'a, T, R, K, Many, C>, 'a);
chunk_options!(<T, S, K, C> WriteStream<T, S, K, C>, 'static);
conflict_options!(<'a, T, R, M, C> Write<'a, T, R, Upserting, M, C>);
conflict_options!(<T, S, C> WriteStream<T, S, Upserting, C>);

call_options!(<'a, T, R, K, M, C> Write, spec.options);
transaction_options!(<'a, T, R, K, M, C> Write, spec.options);
call_options!(<'a, T, R, V, M, C> WriteReturning, spec.options);
transaction_options!(<'a, T, R, V, M, C> WriteReturning, spec.options);
call_options!(<T, S, K, C> WriteStream, spec.options);
transaction_options!(<T, S, K, C> WriteStream, spec.options);

impl<'a, T, R, K, M, C: Context> Write<'a, T, R, K, M, C> {
    pub(crate) fn new(context: C, endpoint: Endpoint, rows: &'a [R], upsert: bool) -> Self {
        let spec = WriteSpec::new(rows, endpoint, upsert, context.defaults());
        Self {
            context,
            spec,
            marker: PhantomData,
        }
    }

    /// Returns the written rows as `V`, without those that an upsert ignored.
    ///
    /// ```no_run
    /// # use sluice_sdk::{Client, Error, Offline, Select, Table, col, serde::{Deserialize, Serialize}};
    /// # #[derive(Table, Serialize, Deserialize)] #[serde(crate = "sluice_sdk::serde")] #[table(name = "posts")]
    /// # struct Post { #[table(primary_key)] id: i64, text: String }
    /// # #[derive(Select, Deserialize)] #[serde(crate = "sluice_sdk::serde")] #[select(from = Post)]
    /// # struct Title { text: String }
    /// # async fn run(db: Client, post: Post) -> Result<(), Error> {
    /// let written = db.from::<Post>().insert(&[post]).returning::<Title>().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// Request: `POST /posts?select=text&columns=id,text` with `Prefer: return=representation`.
    /// SQL: `insert into posts (id, text) values (…) returning text`.
    pub fn returning<V: ShapeOf<T>>(self) -> WriteReturning<'a, T, R, V, M, C> {
        self.return_as(ReturnedRows::Columns(V::selection()))
    }

    /// Returns the written rows with all columns, each read into `V`.
    ///
    /// ```no_run
    /// # use sluice_sdk::{Client, Error, serde_json::{Value, json}};
    /// # async fn run(db: Client) -> Result<(), Error> {
    /// let rows = [json!({"text": "hail"})];
    /// let written = db.table("posts").insert(&rows).returning_rows::<Value>().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// Request: `POST /posts?columns=text` with `Prefer: return=representation`. SQL: `insert into
    /// posts (text) values ('hail') returning *`.
    pub fn returning_rows<V>(self) -> WriteReturning<'a, T, R, V, M, C> {
        self.return_as(ReturnedRows::All)
    }

    fn return_as<V>(self, returning: ReturnedRows) -> WriteReturning<'a, T, R, V, M, C> {
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
    /// ```
    /// # use sluice_sdk::{Offline, col, serde_json::json}; let posts = Offline::default().table("posts");
    /// let rows = [json!({"id": 1}), json!({"id": 2})];
    /// let calls = posts.insert(&rows).calls()?;
    /// assert_eq!(calls[0].request.uri(), "/posts?columns=id");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `insert into posts (id) values (1), (2)`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::error::ErrorKind::Invalid) if a row does not serialize as an object,
    /// or if the grammar cannot express the write.
    pub fn calls(&self) -> Result<Vec<Call>, Error>
    where
        R: Serialize,
    {
        let mut plan = WritePlan::new(&self.spec, &[])?;
        let mut calls = Vec::new();
        while let Some(mut batch) = plan.next(self.spec.chunk_rows) {
            calls.push(self.spec.call(&mut batch)?);
        }
        match plan.failed.pop() {
            Some(failure) => Err(failure.error),
            None => Ok(calls),
        }
    }
}

impl<T, R, K, C: Context> Write<'_, T, R, K, Many, C> {
    /// Writes all rows in one request and so in one transaction. If one row is refused, none is
    /// written and the call fails. An insert may mix rows with different keys: missing ones get
    /// their defaults. An upsert may not, because missing keys would overwrite stored values.
    ///
    /// ```
    /// # use sluice_sdk::{Offline, col, serde_json::json}; let posts = Offline::default().table("posts");
    /// let rows = [json!({"id": 1}), json!({"text": "hail"})];
    /// let calls = posts.insert(&rows).all_or_nothing().calls()?;
    /// assert_eq!((calls.len(), calls[0].request.uri().to_string().as_str()), (1, "/posts?columns=id,text"));
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `insert into posts (id, text) values (1, default), (default, 'hail')`.
    pub fn all_or_nothing(mut self) -> Self {
        self.spec.one_request = true;
        self
    }

    /// Notes in `checkpoint` what happens to each row, and sends only rows that are not done. So a
    /// write that stopped half way goes on. See [`Checkpoint`].
    ///
    /// ```
    /// # use sluice_sdk::{Offline, col, serde_json::json}; let posts = Offline::default().table("posts");
    /// let checkpoint = sluice_sdk::Checkpoint::new();
    /// let rows = [json!({"id": 1}), json!({"id": 2})];
    /// let insert = posts.insert(&rows).checkpoint(&checkpoint);
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// The request and the SQL stay the same.
    pub fn checkpoint(mut self, checkpoint: &Checkpoint) -> Self {
        self.spec.checkpoint = checkpoint.clone();
        self
    }
}

impl<'a, T, R, K, C> IntoFuture for Write<'a, T, R, K, Many, C>
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

/// A refused row is an error.
impl<'a, T, R, K, C> IntoFuture for Write<'a, T, R, K, One, C>
where
    R: Serialize + Sync,
    C: Execute,
{
    type Output = Result<(), Error>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let (context, mut spec) = (self.context, self.spec);
        spec.one_request = true;
        Box::pin(async move { driver::run(&context, &spec).await.map(drop) })
    }
}

impl<'a, T, R, V, C> IntoFuture for WriteReturning<'a, T, R, V, Many, C>
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

/// Awaiting it returns the row. If an upsert ignored it, that is PGRST116: see
/// [`maybe_single`](Self::maybe_single).
impl<'a, T, R, V, C> IntoFuture for WriteReturning<'a, T, R, V, One, C>
where
    R: Serialize + Sync,
    V: DeserializeOwned + Send + 'static,
    C: Execute,
{
    type Output = Result<V, Error>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let (context, spec) = (self.context, self.spec);
        Box::pin(async move { one(&context, spec).await })
    }
}

impl<T, R, V, C> WriteReturning<'_, T, R, V, One, C>
where
    R: Serialize + Sync,
    V: DeserializeOwned,
    C: Execute,
{
    /// Writes the row and returns it, or `None` if an upsert ignored it.
    ///
    /// ```no_run
    /// # use sluice_sdk::{Client, Error, col, serde_json::{Value, json}};
    /// # async fn run(db: Client) -> Result<(), Error> {
    /// let row = json!({"id": 1});
    /// let upsert = db.table("posts").upsert_one(&row).on_conflict(col("id")).ignore_duplicates();
    /// let stored = upsert.returning_rows::<Value>().maybe_single().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// Request: `POST /posts?on_conflict=id&columns=id` with `Prefer:
    /// resolution=ignore-duplicates`. SQL: `insert into posts (id) values (1) on conflict (id) do
    /// nothing returning *`.
    ///
    /// # Errors
    ///
    /// Every failure of the call, a refused row included.
    pub async fn maybe_single(self) -> Result<Option<V>, Error> {
        Error::found(one(&self.context, self.spec).await)
    }
}

/// Writes one row and returns it.
async fn one<R, V, C>(context: &C, mut spec: WriteSpec<'_, R>) -> Result<V, Error>
where
    R: Serialize + Sync,
    V: DeserializeOwned,
    C: Execute,
{
    spec.one_request = true;
    spec.format = Format::Object;
    let outcome = driver::run(context, &spec).await;
    // One row was sent, so another number of rows is none.
    let outcome = outcome.map_err(|error| error.with_rows_found(0))?;
    match outcome.responses.first() {
        Some(response) => response
            .json()
            .map_err(|error| error.with_report(outcome.report)),
        None => Err(Error::no_rows()),
    }
}

debug_by!(spec.endpoint, Write<'a, T, R, K, M, C>);

debug_by!(spec.endpoint, WriteReturning<'a, T, R, V, M, C>);

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
