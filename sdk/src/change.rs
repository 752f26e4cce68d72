//! Updates and deletes: changes to the rows that a filter names.

use std::future::IntoFuture;
use std::marker::PhantomData;

use futures_util::future::BoxFuture;
use http::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind};
use crate::execute::{Context, Execute};
use crate::filter::IntoFilter;
use crate::query::{Place, Query};
use crate::quote;
use crate::relation::Nested;
use crate::request::{Call, Count, Format, Returning, Safety};
use crate::response::Answer;
use crate::secret::Payload;
use crate::select::Select;
use crate::write::keys_of;

/// An update or a delete: awaiting it gives the number of rows it changed.
///
/// It can be awaited only after [`filter`](Self::filter) or [`all_rows`](Self::all_rows): a
/// forgotten filter does not compile.
///
/// ```no_run
/// # use sluice_sdk::{Client, Error, Table, serde::Deserialize, serde_json::json};
/// # #[derive(Table, Deserialize)] #[serde(crate = "sluice_sdk::serde")] #[table(name = "posts")]
/// # struct Post { #[table(primary_key)] id: i64, ignored: bool }
/// # async fn run(db: Client) -> Result<(), Error> {
/// let changed =
///     db.from::<Post>().update(&json!({"ignored": true})).filter(Post::ID.in_([1, 2])).await?;
/// let gone: Vec<Post> =
///     db.from::<Post>().delete().filter(Post::IGNORED.is_true()).returning::<Post>().await?;
/// # Ok(()) }
/// ```
///
/// PostgREST reference: "Update", "Delete".
#[must_use = "a change does nothing until it is awaited"]
pub struct Change<T, S, C> {
    context: C,
    query: Query,
    patch: Option<Result<Patch, Error>>,
    safety: Safety,
    marker: PhantomData<fn() -> (T, S)>,
}

/// A [`Change`] that gives the changed rows back: awaiting it gives a `Vec<V>`, for a delete of the
/// rows as they were.
#[must_use = "a change does nothing until it is awaited"]
pub struct ChangeReturning<T, V, C> {
    change: Change<T, HasFilter, C>,
    marker: PhantomData<fn() -> V>,
}

/// The state of a [`Change`] that has no filter yet: it cannot be awaited.
#[derive(Clone, Copy, Debug)]
pub enum NeedsFilter {}

/// The state of a [`Change`] that says which rows it means.
#[derive(Clone, Copy, Debug)]
pub enum HasFilter {}

/// The columns of an update with their new values.
#[derive(Clone, Debug)]
struct Patch {
    columns: String,
    body: Payload,
}

impl<T, C: Context> Change<T, NeedsFilter, C> {
    pub(crate) fn update(context: C, place: Place, patch: &(impl Serialize + ?Sized)) -> Self {
        Self::new(context, place, Some(Patch::of(patch)))
    }

    pub(crate) fn delete(context: C, place: Place) -> Self {
        Self::new(context, place, None)
    }

    fn new(context: C, place: Place, patch: Option<Result<Patch, Error>>) -> Self {
        let query = Query::new(place);
        Self {
            context,
            query,
            patch,
            safety: Safety::Write,
            marker: PhantomData,
        }
    }

    /// Changes every row of the table.
    pub fn all_rows(self) -> Change<T, HasFilter, C> {
        self.meaning()
    }
}

impl<T, S, C: Context> Change<T, S, C> {
    /// Changes the rows that match; several filters are all asked for.
    pub fn filter(mut self, filter: impl IntoFilter<T>) -> Change<T, HasFilter, C> {
        self.query.filter(filter.into_filter().tree);
        self.meaning()
    }

    /// Refuses to change more than this many rows: the call then fails (PGRST124) and changes none.
    pub fn max_affected(mut self, rows: u64) -> Self {
        self.query.prefer.max_affected = Some(rows);
        self
    }

    /// Runs the change and rolls it back (`tx=rollback`). The server must allow it
    /// (`db-tx-end = commit-allow-override`); where it does not, the call fails and says that the
    /// rows *were* changed, so try it on a server that does.
    pub fn dry_run(mut self) -> Self {
        self.query.prefer.rollback = true;
        self
    }

    /// Says that a second time changes nothing more, so that the call may be sent again when the
    /// outcome of the first time is unknown. The number of rows is then that of the last time.
    pub fn idempotent(mut self) -> Self {
        self.safety = Safety::Idempotent;
        self
    }

    fn meaning(self) -> Change<T, HasFilter, C> {
        let Self {
            context,
            query,
            patch,
            safety,
            marker: _,
        } = self;
        Change {
            context,
            query,
            patch,
            safety,
            marker: PhantomData,
        }
    }
}

impl<T, C: Context> Change<T, HasFilter, C> {
    /// Gives the changed rows back as `V`.
    pub fn returning<V: Select<From = T>>(mut self) -> ChangeReturning<T, V, C> {
        self.query.selection = Some(V::selection());
        ChangeReturning {
            change: self,
            marker: PhantomData,
        }
    }

    /// Gives the changed rows back with all columns, each read into `V`.
    pub fn returning_rows<V>(self) -> ChangeReturning<T, V, C> {
        ChangeReturning {
            change: self,
            marker: PhantomData,
        }
    }

    /// The request, for those who send it themselves.
    ///
    /// # Errors
    ///
    /// What the grammar cannot say, and a patch that does not serialize as an object.
    pub fn call(&self) -> Result<Call, Error> {
        self.call_as(Returning::Minimal, Format::Json)
    }

    fn call_as(&self, returning: Returning, format: Format) -> Result<Call, Error> {
        let method = if self.patch.is_some() {
            Method::PATCH
        } else {
            Method::DELETE
        };
        let schema = self.context.settings().schema.as_deref();
        let mut draft = self.query.draft(method, self.safety, format, schema)?;
        draft.prefer.returning = Some(returning);
        draft.prefer.count = Some(Count::Exact);
        if let Some(patch) = self.patch.clone().transpose()? {
            if !patch.columns.is_empty() {
                draft.push_param("columns", &patch.columns);
            }
            draft.body = Some(patch.body);
        }
        draft.build()
    }
}

impl<T, C: Execute> Change<T, HasFilter, C> {
    async fn run(&self, returning: Returning, format: Format) -> Result<Answer, Error> {
        let answer = self
            .context
            .execute(self.call_as(returning, format)?)
            .await?;
        if self.query.prefer.rollback && !answer.has_applied("tx=rollback") {
            return Err(Error::new(
                ErrorKind::Invalid,
                "the server does not allow `tx=rollback`: the rows were changed",
            ));
        }
        Ok(answer)
    }
}

impl<T, V, C> ChangeReturning<T, V, C>
where
    V: DeserializeOwned,
    C: Execute,
{
    /// Filters, orders or cuts the rows of a relation that is embedded in what comes back.
    pub fn embed<U>(mut self, nested: Nested<T, U>) -> Self {
        self.change.query.nested.push(nested.retyped());
        self
    }

    /// Changes exactly one row and gives it back; where another number of rows matches, the change
    /// is rolled back.
    ///
    /// # Errors
    ///
    /// PGRST116 where another number of rows matches ([`Error::is_not_found`] for none); every
    /// failure of the call.
    pub async fn exactly_one(self) -> Result<V, Error> {
        self.change
            .run(Returning::Representation, Format::Object)
            .await?
            .json()
    }
}

impl<T, C> IntoFuture for Change<T, HasFilter, C>
where
    T: 'static,
    C: Execute,
{
    type Output = Result<u64, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let answer = self.run(Returning::Minimal, Format::Json).await?;
            answer.total().ok_or_else(|| {
                Error::new(
                    ErrorKind::Decode,
                    "the server did not say how many rows it changed",
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

impl Patch {
    fn of(patch: &(impl Serialize + ?Sized)) -> Result<Self, Error> {
        let keys = keys_of(patch).map_err(|error| {
            Error::invalid(format!(
                "the new values must serialize as an object: {error}"
            ))
        })?;
        let body = Payload::of(patch).map_err(|error| {
            Error::invalid("the new values cannot be written as JSON").with_source(error)
        })?;
        Ok(Self {
            columns: quote::identifiers(&keys),
            body,
        })
    }
}

impl<T, S, C> std::fmt::Debug for Change<T, S, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = if self.patch.is_some() {
            "Update"
        } else {
            "Delete"
        };
        f.debug_tuple(name).field(&self.query).finish()
    }
}

impl<T, V, C> std::fmt::Debug for ChangeReturning<T, V, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ChangeReturning")
            .field(&self.change)
            .finish()
    }
}
