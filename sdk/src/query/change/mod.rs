//! Updates and deletes of the rows that match a filter.

mod patch;

use std::future::IntoFuture;
use std::marker::PhantomData;

use futures_util::future::BoxFuture;
use http::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::list::{deduplicated, split};
use super::{Context, Endpoint, Execute, Query, rollback, whole};
use crate::error::{Error, ErrorKind};
use crate::grammar::{IntoFilter, Nested, ShapeOf, Tree};
use crate::quote;
use crate::request::{Call, Count, Format, Response, Returning, Safety};
use crate::schema::{Any, Assignable, Column, Nullable, Operand, Scalar};

use patch::Patch;

/// An update or a delete. Awaiting it returns the number of changed rows.
///
/// It can be awaited only after [`filter`](Self::filter) or [`all_rows`](Self::all_rows), so a
/// forgotten filter does not compile.
///
/// ```no_run
/// # use sluice_sdk::{Client, Error, Table, serde::Deserialize};
/// # #[derive(Table, Deserialize)] #[serde(crate = "sluice_sdk::serde")] #[table(name = "posts")]
/// # struct Post { #[table(primary_key)] id: i64, ignored: bool, url: Option<String> }
/// # async fn run(db: Client) -> Result<(), Error> {
/// let changed = db
///     .from::<Post>()
///     .update()
///     .set(Post::IGNORED, true)
///     .set(Post::URL, None)
///     .filter(Post::ID.in_([1, 2]))
///     .await?;
/// let gone: Vec<Post> =
///     db.from::<Post>().delete().filter(Post::IGNORED.is_true()).returning::<Post>().await?;
/// # Ok(()) }
/// ```
///
/// The request:
///
/// ```
/// use sluice_sdk::{Offline, col};
///
/// let call = Offline::default().table("posts").update().set(col("url"), None::<String>).all_rows().call()?;
/// assert_eq!(call.request.method(), "PATCH");
/// assert_eq!(call.request.uri(), "/posts?columns=url");
/// assert_eq!(call.request.body(), r#"{"url":null}"#);
/// # Ok::<(), sluice_sdk::Error>(())
/// ```
///
/// PostgREST reference: "Update", "Delete".
#[must_use = "a change does nothing until it is awaited"]
pub struct Change<T, K, S, C> {
    context: C,
    query: Query,
    kind: Kind,
    /// The long list that the rows are in, if there is one.
    list: Option<LongList<T>>,
    safety: Safety,
    marker: Marker<T, K, S>,
}

/// What happens to the rows.
#[derive(Clone)]
enum Kind {
    /// The columns with their new values.
    Update(Result<Patch, Error>),
    Delete,
}

/// A column and the values that it may have.
struct LongList<T> {
    column: Column<T, Any, Nullable>,
    values: Vec<Scalar>,
}

type Marker<T, K, S> = PhantomData<fn() -> (T, K, S)>;

/// A [`Change`] that returns the changed rows. Awaiting it returns a `Vec<V>`, for a delete the
/// rows as they were.
#[must_use = "a change does nothing until it is awaited"]
pub struct ChangeReturning<T, V, C> {
    change: Change<T, Any, HasFilter, C>,
    marker: PhantomData<fn() -> V>,
}

/// Marks a [`Change`] that sets columns.
#[derive(Clone, Copy, Debug)]
pub enum Updating {}

/// Marks a [`Change`] that deletes rows.
#[derive(Clone, Copy, Debug)]
pub enum Deleting {}

/// The state of a [`Change`] without a filter: it cannot be awaited.
#[derive(Clone, Copy, Debug)]
pub enum NeedsFilter {}

/// The state of a [`Change`] with a filter, or for all rows.
#[derive(Clone, Copy, Debug)]
pub enum HasFilter {}

impl<T, C: Context> Change<T, Updating, NeedsFilter, C> {
    pub(crate) fn update(context: C, endpoint: Endpoint) -> Self {
        Self::new(context, endpoint, Kind::Update(Ok(Patch::default())))
    }
}

impl<T, C: Context> Change<T, Deleting, NeedsFilter, C> {
    pub(crate) fn delete(context: C, endpoint: Endpoint) -> Self {
        Self::new(context, endpoint, Kind::Delete)
    }
}

impl<T, K, C: Context> Change<T, K, NeedsFilter, C> {
    fn new(context: C, endpoint: Endpoint, kind: Kind) -> Self {
        Self {
            context,
            query: Query::new(endpoint),
            kind,
            list: None,
            safety: Safety::Write,
            marker: PhantomData,
        }
    }

    /// Changes every row of the table.
    ///
    /// ```
    /// # use sluice_sdk::{Offline, col}; let posts = Offline::default().table("posts");
    /// let call = posts.delete().all_rows().call()?;
    /// assert_eq!(call.request.uri(), "/posts");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `delete from posts`.
    pub fn all_rows(self) -> Change<T, K, HasFilter, C> {
        self.retyped()
    }
}

impl<T, S, C: Context> Change<T, Updating, S, C> {
    /// Sets one more column. Each can be set once.
    ///
    /// A value of another type does not compile, and neither does `None` for a column that cannot
    /// be null.
    ///
    /// ```
    /// # use sluice_sdk::{Offline, col}; let posts = Offline::default().table("posts");
    /// let change = posts.update().set(col("text"), "hail").set(col("url"), None::<String>);
    /// let call = change.filter(col("id").eq(1)).call()?;
    /// assert_eq!(call.request.uri(), "/posts?id=eq.1&columns=text,url");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `update posts set text = 'hail', url = null where id = 1`.
    pub fn set<V, N>(mut self, column: Column<T, V, N>, value: impl Assignable<T, V, N>) -> Self {
        if let Kind::Update(patch) = self.kind {
            let patch = patch.and_then(|patch| patch.with(&column.target(), value.into_json()));
            self.kind = Kind::Update(patch);
        }
        self
    }

    /// Sets exactly the columns that `patch` serializes. A field that can be left out, null or a value
    /// is a [`Tristate`](crate::Tristate). A patch that leaves out everything changes nothing.
    ///
    /// ```
    /// use sluice_sdk::{Offline, serde_json::json, col};
    ///
    /// let update = Offline::default().table("posts").update().patch(&json!({"text": "hail", "url": null}));
    /// let call = update.filter(col("id").eq(1)).call()?;
    /// assert_eq!(call.request.uri(), "/posts?id=eq.1&columns=text,url");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `update posts set text = 'hail', url = null where id = 1`.
    pub fn patch(mut self, patch: &(impl Serialize + ?Sized)) -> Self {
        if let Kind::Update(before) = self.kind {
            self.kind = Kind::Update(before.and_then(|before| before.with_members(patch)));
        }
        self
    }
}

impl<T, K, S, C: Context> Change<T, K, S, C> {
    /// Changes the rows that match. Rows must match every filter.
    ///
    /// ```
    /// # use sluice_sdk::{Offline, col}; let posts = Offline::default().table("posts");
    /// let call = posts.delete().filter(col("id").gt(7)).filter(col("url").is_null()).call()?;
    /// assert_eq!(call.request.uri(), "/posts?id=gt.7&url=is.null");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `delete from posts where id > 7 and url is null`.
    pub fn filter(mut self, filter: impl IntoFilter<T>) -> Change<T, K, HasFilter, C> {
        self.query.filter(filter.into_filter().tree);
        self.retyped()
    }

    /// Changes the rows whose `column` is one of `values`, of which there may be any number. Rows must
    /// match every filter too.
    ///
    /// A list that is too long for one URL is split. The pieces are changed one after another, each in
    /// a transaction of its own. If one fails, the error says how many rows the earlier ones changed.
    /// Without values there is no request and no row.
    ///
    /// ```
    /// use sluice_sdk::{Offline, col};
    ///
    /// let ids = 1..=3_000;
    /// let calls = Offline::default().table("posts").delete().filter_in(col("id"), ids).calls()?;
    /// assert_eq!(calls.len(), 2);
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// Request: `DELETE /posts?id=in.(1,2,…)`. SQL: `delete from posts where id in (1, 2, …)`.
    pub fn filter_in<W, N>(
        mut self,
        column: Column<T, W, N>,
        values: impl IntoIterator<Item = impl Operand<W, T>>,
    ) -> Change<T, K, HasFilter, C> {
        let values = deduplicated(values.into_iter().map(Operand::into_scalar).collect());
        let column = column.retyped();
        if let Some(before) = self.list.replace(LongList { column, values }) {
            // Only one list is split. The other one is a filter of every piece.
            self.query.filter(before.column.list(before.values).tree);
        }
        self.retyped()
    }

    /// Declares that sending the call twice changes nothing more than once. It is then sent again
    /// if the outcome of the first time is unknown. The returned number of rows is that of the last
    /// time.
    ///
    /// ```
    /// # use sluice_sdk::{Offline, col}; let posts = Offline::default().table("posts");
    /// let call = posts.update().set(col("text"), "hail").all_rows().idempotent().call()?;
    /// assert_eq!(call.safety, sluice_sdk::query::Safety::Idempotent);
    /// assert_eq!(call.request.uri(), "/posts?columns=text");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `update posts set text = 'hail'`.
    pub fn idempotent(mut self) -> Self {
        self.safety = Safety::Idempotent;
        self
    }
}

impl<T, K, S, C> Change<T, K, S, C> {
    fn retyped<L, Q>(self) -> Change<T, L, Q, C> {
        Change {
            context: self.context,
            query: self.query,
            kind: self.kind,
            list: self.list,
            safety: self.safety,
            marker: PhantomData,
        }
    }
}

impl<T, K, C: Context> Change<T, K, HasFilter, C> {
    /// Returns the changed rows as `V`.
    ///
    /// ```no_run
    /// # use sluice_sdk::{Client, Error, Offline, Select, Table, col, serde::{Deserialize, Serialize}};
    /// # #[derive(Table, Serialize, Deserialize)] #[serde(crate = "sluice_sdk::serde")] #[table(name = "posts")]
    /// # struct Post { #[table(primary_key)] id: i64, text: String }
    /// # #[derive(Select, Deserialize)] #[serde(crate = "sluice_sdk::serde")] #[select(from = Post)]
    /// # struct Title { text: String }
    /// # async fn run(db: Client, post: Post) -> Result<(), Error> {
    /// let gone = db.from::<Post>().delete().filter(Post::ID.eq(1)).returning::<Title>().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// Request: `DELETE /posts?select=text&id=eq.1` with `Prefer: return=representation`. SQL:
    /// `delete from posts where id = 1 returning text`.
    pub fn returning<V: ShapeOf<T>>(mut self) -> ChangeReturning<T, V, C> {
        self.query.selection = Some(V::selection());
        self.returning_rows()
    }

    /// Returns the changed rows with all columns, each read into `V`.
    ///
    /// ```no_run
    /// # use sluice_sdk::{Client, Error, col, serde_json::Value};
    /// # async fn run(db: Client) -> Result<(), Error> {
    /// let gone = db.table("posts").delete().filter(col("id").eq(1)).returning_rows::<Value>().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// Request: `DELETE /posts?id=eq.1` with `Prefer: return=representation`. SQL: `delete from
    /// posts where id = 1 returning *`.
    pub fn returning_rows<V>(self) -> ChangeReturning<T, V, C> {
        ChangeReturning {
            change: self.retyped(),
            marker: PhantomData,
        }
    }

    /// The request, for callers that send it themselves.
    ///
    /// ```
    /// # use sluice_sdk::{Offline, col}; let posts = Offline::default().table("posts");
    /// let call = posts.delete().filter(col("id").eq(1)).call()?;
    /// assert_eq!(call.request.uri(), "/posts?id=eq.1");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `delete from posts where id = 1`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for what the grammar cannot express, a column that is set twice, an
    /// update that sets none, a patch that does not serialize as an object, a URL of more than
    /// [`url_bytes`](crate::query::CallDefaults::url_bytes), and a list that is split: see
    /// [`calls`](Self::calls).
    pub fn call(&self) -> Result<Call, Error> {
        let mut calls = self.calls()?;
        match (calls.pop(), calls.is_empty()) {
            (Some(call), true) => Ok(call),
            _ => Err(Error::invalid(
                "the list of this change is empty or split; take its requests with `calls`",
            )),
        }
    }

    /// The requests: one, or one for each piece of a long list.
    ///
    /// ```
    /// # use sluice_sdk::{Offline, col}; let posts = Offline::default().table("posts");
    /// let calls = posts.delete().filter_in(col("id"), 1..=3_000).calls()?;
    /// assert_eq!(calls.len(), 2);
    /// assert!(calls[1].request.uri().to_string().starts_with("/posts?id=in.("));
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `delete from posts where id in (…)`.
    ///
    /// # Errors
    ///
    /// As for [`call`](Self::call), except for a split list.
    pub fn calls(&self) -> Result<Vec<Call>, Error> {
        self.calls_as(Returning::Minimal, &Format::Json)
    }

    fn calls_as(&self, returning: Returning, format: &Format) -> Result<Vec<Call>, Error> {
        let Some(list) = &self.list else {
            return Ok(vec![self.call_of(None, returning, format)?]);
        };
        let whole = self.call_of(None, returning, format)?;
        let column = quote::query_len(&list.column.clone().target().to_string()) + "&=in.()".len();
        let taken = whole.request.uri().to_string().len() + column;
        let room = self.context.defaults().url_bytes.saturating_sub(taken);
        let pieces = split(&list.values, room);
        if pieces.len() > 1 {
            if self.query.options.prefer.max_affected.is_some() {
                return Err(Error::invalid(
                    "a limit of changed rows would apply to each piece of the list; remove it, or use a shorter list",
                ));
            }
            if *format == Format::Object {
                return Err(Error::invalid(
                    "one row was requested, and the list is so long that it is split; use a shorter list",
                ));
            }
        }
        let piece = |piece: &[Scalar]| {
            let filter = list.column.clone().list(piece.to_vec());
            self.call_of(Some(filter.tree), returning, format)
        };
        pieces.into_iter().map(piece).collect()
    }

    fn call_of(
        &self,
        piece: Option<Tree>,
        returning: Returning,
        format: &Format,
    ) -> Result<Call, Error> {
        let method = match self.kind {
            Kind::Update(_) => Method::PATCH,
            Kind::Delete => Method::DELETE,
        };
        let defaults = self.context.defaults();
        let mut query = self.query.clone();
        query.window.filters.extend(piece);
        let schema = defaults.schema.as_deref();
        let mut draft = query.draft(method, self.safety, format.clone(), schema)?;
        draft.options.prefer.returning = Some(returning);
        draft.options.prefer.count = Some(Count::Exact);
        if let Kind::Update(patch) = &self.kind {
            let patch = patch.clone()?;
            if patch.is_unset() {
                return Err(Error::invalid(
                    "the update sets no column; add `.set(…)` or `.patch(…)`",
                ));
            }
            if !patch.columns.is_empty() {
                let columns = quote::identifiers(&patch.columns);
                draft.params.push("columns", columns);
            }
            draft.body = Some(patch.body());
        }
        Query::checked(draft, defaults.url_bytes)
    }
}

impl<T, K, C: Execute> Change<T, K, HasFilter, C> {
    /// Sends the requests one after another.
    async fn run(&self, returning: Returning, format: Format) -> Result<Vec<Response>, Error> {
        let prefer = &self.query.options.prefer;
        let calls = self.calls_as(returning, &format)?;
        rollback::check(&self.context, prefer, &self.query.endpoint).await?;
        let pieces = calls.len();
        let (mut responses, mut changed) = (Vec::with_capacity(pieces), 0);
        for call in calls {
            let response = self.context.execute(call).await;
            let response = response.map_err(|error| match responses.len() {
                0 => error,
                done => error.after_changes(changed, (done, pieces)),
            })?;
            response.check_dry_run(prefer)?;
            changed += response.total().unwrap_or_default();
            responses.push(response);
        }
        Ok(responses)
    }
}

impl<T, V, C> ChangeReturning<T, V, C>
where
    V: DeserializeOwned,
    C: Execute,
{
    /// Filters, orders or limits the rows of a relation that is embedded in the returned rows.
    ///
    /// ```no_run
    /// # use sluice_sdk::{Client, Error, Offline, Select, Table, col, serde::{Deserialize, Serialize}};
    /// # #[derive(Table, Serialize, Deserialize)] #[serde(crate = "sluice_sdk::serde")] #[table(name = "posts")]
    /// # struct Post { #[table(primary_key)] id: i64, text: String }
    /// # #[derive(Select, Deserialize)] #[serde(crate = "sluice_sdk::serde")] #[select(from = Post)]
    /// # struct Title { text: String }
    /// # async fn run(db: Client, post: Post) -> Result<(), Error> {
    /// let change = db.table("posts").delete().filter(col("id").eq(1)).returning_rows::<Post>();
    /// let gone = change.embed(sluice_sdk::query::relation("comments").limit(3)).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// Request: `DELETE /posts?id=eq.1&comments.limit=3`. SQL: `delete from posts where id = 1
    /// returning *`.
    pub fn embed<U>(mut self, nested: Nested<T, U>) -> Self {
        self.change.query.nested.push(nested.retyped());
        self
    }

    /// Changes one row or none, and returns it. If several match, the change is rolled back.
    ///
    /// ```no_run
    /// # use sluice_sdk::{Client, Error, col, serde_json::Value};
    /// # async fn run(db: Client) -> Result<(), Error> {
    /// let gone = db.table("posts").delete().filter(col("id").eq(1)).returning_rows::<Value>().maybe_single().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// Request: `DELETE /posts?id=eq.1` with `Accept: application/vnd.pgrst.object+json`. SQL:
    /// `delete from posts where id = 1 returning *`.
    ///
    /// # Errors
    ///
    /// PGRST116 if several rows match. For [`single`](Self::single), no row is an error
    /// too.
    pub async fn maybe_single(self) -> Result<Option<V>, Error> {
        Error::found(self.single().await)
    }

    /// Changes exactly one row and returns it. If another number of rows matches, the change is
    /// rolled back.
    ///
    /// ```no_run
    /// # use sluice_sdk::{Client, Error, col, serde_json::Value};
    /// # async fn run(db: Client) -> Result<(), Error> {
    /// let gone = db.table("posts").delete().filter(col("id").eq(1)).returning_rows::<Value>().single().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// Request: `DELETE /posts?id=eq.1` with `Accept: application/vnd.pgrst.object+json`. SQL:
    /// `delete from posts where id = 1 returning *`.
    ///
    /// # Errors
    ///
    /// Every failure of the call, and PGRST116 if another number of rows matches.
    /// [`maybe_single`](Self::maybe_single) allows none.
    pub async fn single(self) -> Result<V, Error> {
        let change = &self.change;
        match change.run(Returning::Representation, Format::Object).await {
            Ok(responses) => match responses.first() {
                Some(response) => response.json(),
                None => Err(Error::no_rows()),
            },
            // Nothing was changed, so the rows are still as they were.
            Err(error) => Err(whole::with_row_count(&change.context, &change.query, error).await),
        }
    }
}

impl<T, K, C> IntoFuture for Change<T, K, HasFilter, C>
where
    T: 'static,
    K: 'static,
    C: Execute,
{
    type Output = Result<u64, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let responses = self.run(Returning::Minimal, Format::Json).await?;
            let changed = responses.iter().map(|response| {
                response.total().ok_or_else(|| {
                    let message = "the server did not send the number of changed rows";
                    Error::new(ErrorKind::Decode, message)
                })
            });
            changed.sum()
        })
    }
}

impl<T, V, C> IntoFuture for ChangeReturning<T, V, C>
where
    T: 'static,
    V: DeserializeOwned + Send + 'static,
    C: Execute,
{
    type Output = Result<Vec<V>, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let run = self.change.run(Returning::Representation, Format::Json);
            let mut rows = Vec::new();
            for response in run.await? {
                rows.extend(response.json::<Vec<V>>()?);
            }
            Ok(rows)
        })
    }
}

debug_by!(query, Change<T, K, S, C>);

debug_by!(change, ChangeReturning<T, V, C>);

call_options!(<T, K, S, C> Change, query.options);
transaction_options!(<T, K, S, C> Change, query.options);
affected_option!(<T, K, S, C> Change, query.options);
call_options!(<T, V, C> ChangeReturning, change.query.options);
transaction_options!(<T, V, C> ChangeReturning, change.query.options);
affected_option!(<T, V, C> ChangeReturning, change.query.options);
