//! Updates and deletes of the rows that match a filter.

mod patch;

use std::future::IntoFuture;
use std::marker::PhantomData;

use futures_util::future::BoxFuture;
use http::Method;
use serde::de::DeserializeOwned;

use super::{Context, Endpoint, Execute, Query};
use crate::error::{Error, ErrorKind};
use crate::grammar::IntoFilter;
use crate::grammar::{Nested, ShapeOf};
use crate::quote;
use crate::request::{Call, Count, Format, Handling, LONG_LIST, Response, Returning, Safety};
use crate::schema::Assignable;
use crate::schema::{Any, Column};

pub(crate) use patch::Patch;

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
/// let call = Offline::default().table("posts").set(col("url"), None::<String>).all_rows().call()?;
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
    /// The columns with their new values, or `None` for a delete.
    patch: Option<Result<Patch, Error>>,
    safety: Safety,
    marker: Marker<T, K, S>,
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
    pub(crate) fn update(context: C, endpoint: Endpoint, patch: Result<Patch, Error>) -> Self {
        Self::new(context, endpoint, Some(patch))
    }
}

impl<T, C: Context> Change<T, Deleting, NeedsFilter, C> {
    pub(crate) fn delete(context: C, endpoint: Endpoint) -> Self {
        Self::new(context, endpoint, None)
    }
}

impl<T, K, C: Context> Change<T, K, NeedsFilter, C> {
    fn new(context: C, endpoint: Endpoint, patch: Option<Result<Patch, Error>>) -> Self {
        Self {
            context,
            query: Query::new(endpoint),
            patch,
            safety: Safety::Write,
            marker: PhantomData,
        }
    }

    /// Changes every row of the table.
    pub fn all_rows(self) -> Change<T, K, HasFilter, C> {
        self.retyped()
    }
}

impl<T, S, C: Context> Change<T, Updating, S, C> {
    /// Sets one more column. Each can be set once.
    ///
    /// A value of another type does not compile, and neither does `None` for a column that cannot
    /// be null.
    pub fn set<V, N>(mut self, column: Column<T, V, N>, value: impl Assignable<T, V, N>) -> Self {
        let patch = self.patch.take().unwrap_or_else(|| Ok(Patch::default()));
        self.patch = Some(patch.and_then(|patch| patch.with(column.target(), value.into_json())));
        self
    }
}

impl<T, K, S, C: Context> Change<T, K, S, C> {
    /// Changes the rows that match. Rows must match every filter.
    pub fn filter(mut self, filter: impl IntoFilter<T>) -> Change<T, K, HasFilter, C> {
        self.query.filter(filter.into_filter().tree);
        self.retyped()
    }

    /// Limits the number of changed rows. If more rows match, the call fails (PGRST124) and changes
    /// none.
    ///
    /// PostgREST reference: "Max Affected".
    pub fn max_affected(mut self, rows: u64) -> Self {
        self.query.prefer.max_affected = Some(rows);
        self
    }

    /// Runs the change and rolls it back (`tx=rollback`). The server must allow it (`db-tx-end =
    /// commit-allow-override`). If it does not, the change *is* committed, and the call fails and
    /// says so.
    ///
    /// PostgREST reference: "Transaction End Preference".
    pub fn dry_run(mut self) -> Self {
        self.query.prefer.rollback = true;
        self
    }

    /// Sets what the server does with preferences that it does not know.
    pub fn handling(mut self, handling: Handling) -> Self {
        self.query.prefer.handling = Some(handling);
        self
    }

    /// Returns times in this time zone, such as `America/Los_Angeles`.
    pub fn timezone(mut self, timezone: impl Into<String>) -> Self {
        self.query.prefer.timezone = Some(timezone.into());
        self
    }

    /// Declares that sending the call twice changes nothing more than once. It is then sent again
    /// if the outcome of the first time is unknown. The returned number of rows is that of the last
    /// time.
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
            patch: self.patch,
            safety: self.safety,
            marker: PhantomData,
        }
    }
}

impl<T, K, C: Context> Change<T, K, HasFilter, C> {
    /// Returns the changed rows as `V`.
    pub fn returning<V: ShapeOf<T>>(mut self) -> ChangeReturning<T, V, C> {
        self.query.selection = Some(V::selection());
        self.returning_rows()
    }

    /// Returns the changed rows with all columns, each read into `V`.
    pub fn returning_rows<V>(self) -> ChangeReturning<T, V, C> {
        ChangeReturning {
            change: self.retyped(),
            marker: PhantomData,
        }
    }

    /// The request, for callers that send it themselves.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for what the grammar cannot express, a column that is set twice, a
    /// patch that does not serialize as an object, and a URL of more than
    /// [`url_bytes`](crate::CallDefaults::url_bytes).
    pub fn call(&self) -> Result<Call, Error> {
        self.call_as(Returning::Minimal, Format::Json)
    }

    fn call_as(&self, returning: Returning, format: Format) -> Result<Call, Error> {
        let method = if self.patch.is_some() {
            Method::PATCH
        } else {
            Method::DELETE
        };
        let schema = self.context.defaults().schema.as_deref();
        let mut draft = self.query.draft(method, self.safety, format, schema)?;
        draft.prefer.returning = Some(returning);
        draft.prefer.count = Some(Count::Exact);
        if let Some(patch) = self.patch.clone().transpose()? {
            if !patch.columns.is_empty() {
                draft
                    .params
                    .push("columns", quote::identifiers(&patch.columns));
            }
            draft.body = Some(patch.body());
        }
        let call = draft.build()?;
        self.check_length(&call)?;
        Ok(call)
    }

    /// Refuses a URL that common gateways do not take.
    fn check_length(&self, call: &Call) -> Result<(), Error> {
        let bytes = call.request.uri().to_string().len();
        let url_bytes = self.context.defaults().url_bytes;
        if bytes <= url_bytes {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "a change by a URL of {bytes} bytes is not sent, because it is longer than `url_bytes` ({url_bytes}), and gateways take about 8,000; {LONG_LIST}"
        )))
    }
}

impl<T, K, C: Execute> Change<T, K, HasFilter, C> {
    async fn run(&self, returning: Returning, format: Format) -> Result<Response, Error> {
        let response = self
            .context
            .execute(self.call_as(returning, format)?)
            .await?;
        response.check_dry_run(&self.query.prefer)?;
        Ok(response)
    }
}

impl<T, V, C> ChangeReturning<T, V, C>
where
    V: DeserializeOwned,
    C: Execute,
{
    /// Filters, orders or limits the rows of a relation that is embedded in the returned rows.
    pub fn embed<U>(mut self, nested: Nested<T, U>) -> Self {
        self.change.query.nested.push(nested.retyped());
        self
    }

    /// Changes one row or none, and returns it. If several match, the change is rolled back.
    ///
    /// # Errors
    ///
    /// PGRST116 if several rows match. For [`exactly_one`](Self::exactly_one), no row is an error
    /// too.
    pub async fn maybe_one(self) -> Result<Option<V>, Error> {
        Error::found(self.exactly_one().await)
    }

    /// Changes exactly one row and returns it. If another number of rows matches, the change is
    /// rolled back.
    ///
    /// # Errors
    ///
    /// Every failure of the call, and PGRST116 if another number of rows matches.
    /// [`maybe_one`](Self::maybe_one) allows none.
    pub async fn exactly_one(self) -> Result<V, Error> {
        self.change
            .run(Returning::Representation, Format::Object)
            .await?
            .json()
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
            let response = self.run(Returning::Minimal, Format::Json).await?;
            response.total().ok_or_else(|| {
                Error::new(
                    ErrorKind::Decode,
                    "the server did not send the number of changed rows",
                )
            })
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
            self.change
                .run(Returning::Representation, Format::Json)
                .await?
                .json()
        })
    }
}

debug_by!(query, Change<T, K, S, C>);

debug_by!(change, ChangeReturning<T, V, C>);
