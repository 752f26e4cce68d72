//! Calls of functions in the database.

mod arguments;

use std::future::IntoFuture;
use std::marker::PhantomData;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Context, Endpoint, Execute, Query};
use crate::error::Error;
use crate::grammar::{IntoFilter, IntoOrder, Nested, Selection, ShapeOf, keys_of};
use crate::request::{Call, Count, Format, Page, Safety};
use crate::schema::{Function, ReadOnly, Rows};

/// A call of a function. Awaiting it returns what the function returns.
///
/// Calls are sent by POST, so that no argument can be misread as a filter. An `Option` argument
/// that is `None` is sent as null. To get the argument's default, leave it out with
/// `#[serde(skip_serializing_if = "Option::is_none")]`.
///
/// The server's row limit cuts a set of rows *after* the function has run. So a function that
/// claims work should return one JSON value, which is never cut.
///
/// ```no_run
/// # use sluice_sdk::{Client, Error, Function, serde::{Serialize, Deserialize}};
/// # #[derive(Deserialize)] #[serde(crate = "sluice_sdk::serde")] struct PendingPost { id: i64 }
/// #[derive(Serialize, Function)]
/// # #[serde(crate = "sluice_sdk::serde")]
/// #[function(name = "get_posts_without_embeddings", returns = Vec<PendingPost>, read_only)]
/// struct GetPostsWithoutEmbeddings {
///     lim: i32,
///     after_id: Option<i64>,
/// }
///
/// # async fn run(db: Client) -> Result<(), Error> {
/// let due = db.rpc(GetPostsWithoutEmbeddings { lim: 500, after_id: None }).await?;
/// # Ok(()) }
/// ```
///
/// The request:
///
/// ```
/// use sluice_sdk::{Offline, serde_json::json};
///
/// let call = Offline::default().call("add", &json!({"a": 1, "b": 2})).call()?;
/// assert_eq!((call.request.method().as_str(), call.request.uri().path()), ("POST", "/rpc/add"));
/// assert_eq!(call.request.body(), r#"{"a":1,"b":2}"#);
/// # Ok::<(), sluice_sdk::Error>(())
/// ```
///
/// PostgREST reference: "Functions as RPC".
#[must_use = "a call does nothing until it is awaited"]
pub struct Rpc<F, O, C> {
    context: C,
    query: Query,
    arguments: Result<Bytes, Error>,
    by_get: bool,
    safety: Safety,
    marker: PhantomData<fn() -> (F, O)>,
}

impl<F, O, C: Context> Rpc<F, O, C> {
    pub(crate) fn new(
        context: C,
        endpoint: Endpoint,
        arguments: &(impl Serialize + ?Sized),
        read_only: bool,
    ) -> Self {
        let safety = if read_only {
            Safety::Read
        } else {
            Safety::Write
        };
        Self {
            context,
            query: Query::new(endpoint),
            arguments: arguments::body(arguments),
            by_get: false,
            safety,
            marker: PhantomData,
        }
    }

    /// The same function in another schema.
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.query.endpoint.schema = Some(schema.into());
        self
    }

    /// Calls by GET, so that caches and read replicas can serve it. The call is still sent by POST
    /// if an argument is unsafe in a URL (a text that looks like a filter, null, an object).
    pub fn get(mut self) -> Self
    where
        F: ReadOnly,
    {
        self.by_get = true;
        self
    }

    /// Declares that a second call changes nothing more. It is then sent again if the outcome of
    /// the first is unknown.
    pub fn idempotent(mut self) -> Self {
        if self.safety == Safety::Write {
            self.safety = Safety::Idempotent;
        }
        self
    }

    /// Runs the function and rolls back what it did (`tx=rollback`). The server must allow it
    /// (`db-tx-end = commit-allow-override`). If it does not, the changes *are* committed, and the
    /// call fails and says so.
    pub fn dry_run(mut self) -> Self {
        self.query.prefer.rollback = true;
        self
    }

    /// Limits the number of changed rows. If there are more, the call fails (PGRST124) and changes
    /// none.
    pub fn max_affected(mut self, rows: u64) -> Self {
        self.query.prefer.max_affected = Some(rows);
        self
    }

    /// Returns times in this time zone, such as `America/Los_Angeles`.
    pub fn timezone(mut self, timezone: impl Into<String>) -> Self {
        self.query.prefer.timezone = Some(timezone.into());
        self
    }

    /// Returns these columns of the row or rows that the function returns.
    pub fn selection(mut self, selection: Selection) -> Self {
        self.query.selection = Some(selection);
        self
    }

    /// Reads what the function returns into `W`.
    pub fn output<W>(self) -> Rpc<F, W, C> {
        Rpc {
            context: self.context,
            query: self.query,
            arguments: self.arguments,
            by_get: self.by_get,
            safety: self.safety,
            marker: PhantomData,
        }
    }

    /// The request, for callers that send it themselves.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for arguments that do not serialize as an
    /// object, and for what the grammar cannot express.
    pub fn call(&self) -> Result<Call, Error> {
        let body = self.arguments.clone()?;
        let schema = self.context.defaults().schema.as_deref();
        let in_url = if self.by_get {
            arguments::in_url(&body)
        } else {
            None
        };
        let method = if in_url.is_some() {
            Method::GET
        } else {
            Method::POST
        };
        let mut draft = self
            .query
            .draft(method, self.safety, Format::Json, schema)?;
        match in_url {
            Some(parameters) => {
                for (name, value) in parameters {
                    draft.params.push(name, value);
                }
            }
            None => draft.body = Some(body),
        }
        draft.build()
    }
}

/// Filters, order and limits of a function that returns a set of rows.
impl<F, O: Rows, C: Context> Rpc<F, O, C> {
    /// Keeps the rows that match.
    pub fn filter(mut self, filter: impl IntoFilter<O::Row>) -> Self {
        self.query.filter(filter.into_filter().tree);
        self
    }

    /// Orders the rows.
    pub fn order(mut self, order: impl IntoOrder<O::Row>) -> Self {
        self.query.window.keys.extend(keys_of(order));
        self
    }

    /// Returns this many rows at most.
    pub fn limit(mut self, limit: u64) -> Self {
        self.query.window.limit = Some(limit);
        self
    }

    /// Skips this many rows first.
    pub fn offset(mut self, offset: u64) -> Self {
        self.query.window.offset = Some(offset);
        self
    }

    /// Counts all rows. [`fetch`](Self::fetch) returns the number.
    pub fn count(mut self, count: Count) -> Self {
        self.query.prefer.count = Some(count);
        self
    }

    /// Filters, orders or limits the rows of an embedded relation.
    pub fn embed<U>(mut self, nested: Nested<O::Row, U>) -> Self {
        self.query.nested.push(nested.retyped());
        self
    }

    /// Returns rows of the shape `V` instead. Call it after the filters.
    pub fn select<V: ShapeOf<O::Row>>(self) -> Rpc<F, Vec<V>, C> {
        self.selection(V::selection()).output()
    }

    /// Calls the function. Returns the rows, with their position and number from the headers.
    ///
    /// # Errors
    ///
    /// Every failure of the call.
    pub async fn fetch(self) -> Result<Page<O::Row>, Error>
    where
        O::Row: DeserializeOwned,
        C: Execute,
    {
        let response = self.context.execute(self.call()?).await?;
        response.check_dry_run(&self.query.prefer)?;
        response.page()
    }
}

impl<F, O, C> IntoFuture for Rpc<F, O, C>
where
    O: DeserializeOwned + Send + 'static,
    C: Execute,
{
    type Output = Result<O, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        // The call is built here, so that the future does not borrow the arguments.
        let call = self.call();
        let (context, prefer) = (self.context, self.query.prefer);
        Box::pin(async move {
            let response = context.execute(call?).await?;
            response.check_dry_run(&prefer)?;
            response.value()
        })
    }
}

debug_by!(query, Rpc<F, O, C>);

/// Begins a call of a typed function.
pub(crate) fn typed<F: Function, C: Context>(context: C, function: &F) -> Rpc<F, F::Output, C> {
    let endpoint = Endpoint::function(F::NAME, F::SCHEMA);
    Rpc::new(context, endpoint, function, F::READ_ONLY)
}
