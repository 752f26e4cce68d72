//! Calls of functions in the database.

mod arguments;

use std::future::IntoFuture;
use std::marker::PhantomData;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use http::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::whole::{self, Paged};
use super::{Context, Endpoint, Execute, Query, rollback};
use crate::error::Error;
use crate::grammar::{IntoFilter, IntoOrder, Nested, Selection, ShapeOf, keys_of};
use crate::request::{Call, Count, Format, Page, Response, Safety};
use crate::schema::{Function, ReadOnly, Rows};

/// A call of a function. Awaiting it returns what the function returns.
///
/// Calls are sent by POST, so that no argument can be misread as a filter. An `Option` argument
/// that is `None` is sent as null. To get the argument's default, leave it out with
/// `#[serde(skip_serializing_if = "Option::is_none")]`.
///
/// The server's row limit cuts a set of rows *after* the function has run, and does not say so. An
/// awaited call whose rows may be cut asks for the next one, if a second call does no harm, and looks
/// at the count otherwise. If rows are missing, it ends with [`ErrorKind::Truncated`](crate::error::ErrorKind::Truncated). [`all`](Rpc::all)
/// and [`stream`](Rpc::stream) read a set of any size by several calls. A function that claims work
/// should return one JSON value, which is never cut.
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
/// let call = Offline::default().rpc_by_name("add", &json!({"a": 1, "b": 2})).call()?;
/// assert_eq!((call.request.method().as_str(), call.request.uri().path()), ("POST", "/rpc/add"));
/// assert_eq!(call.request.body(), r#"{"a":1,"b":2}"#);
/// # Ok::<(), sluice_sdk::Error>(())
/// ```
///
/// PostgREST reference: "Functions as RPC".
#[must_use = "a call does nothing until it is awaited"]
pub struct Rpc<F, O, C> {
    invocation: Invocation<C>,
    marker: PhantomData<fn() -> (F, O)>,
}

/// Everything about a call except its types.
#[derive(Clone)]
struct Invocation<C> {
    context: C,
    query: Query,
    arguments: Result<Bytes, Error>,
    by_get: bool,
    safety: Safety,
    /// Whether it is known to return a set of rows, which the server can cut.
    is_set: bool,
}

impl<F, O, C: Context> Rpc<F, O, C> {
    pub(crate) fn new(
        context: C,
        endpoint: Endpoint,
        arguments: &(impl Serialize + ?Sized),
        (read_only, is_set): (bool, bool),
    ) -> Self {
        let safety = if read_only {
            Safety::Read
        } else {
            Safety::Write
        };
        Self {
            invocation: Invocation {
                context,
                query: Query::new(endpoint),
                arguments: arguments::body(arguments),
                by_get: false,
                safety,
                is_set,
            },
            marker: PhantomData,
        }
    }

    /// The same function in another schema.
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.invocation.query.endpoint.schema = Some(schema.into());
        self
    }

    /// Calls by GET, so that caches and read replicas can serve it. The call is still sent by POST
    /// if an argument is unsafe in a URL (a text that looks like a filter, null, an object).
    pub fn get(mut self) -> Self
    where
        F: ReadOnly,
    {
        self.invocation.by_get = true;
        self
    }

    /// Declares that a second call changes nothing more. It is then sent again if the outcome of
    /// the first is unknown.
    pub fn idempotent(mut self) -> Self {
        if self.invocation.safety == Safety::Write {
            self.invocation.safety = Safety::Idempotent;
        }
        self
    }

    /// Returns these columns of the row or rows that the function returns.
    pub fn selection(mut self, selection: Selection) -> Self {
        self.invocation.query.selection = Some(selection);
        self
    }

    /// Reads what the function returns into `W`: the whole of it, as for a value. For the rows of a
    /// set, see [`rows`](Self::rows).
    pub fn output<W>(self) -> Rpc<F, W, C> {
        Rpc {
            invocation: self.invocation,
            marker: PhantomData,
        }
    }

    /// Reads each row of the set that the function returns into `W`, with the same columns.
    pub fn rows<W>(self) -> Rpc<F, Vec<W>, C> {
        self.output()
    }

    /// The request, for callers that send it themselves.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::error::ErrorKind::Invalid) for arguments that do not serialize as an
    /// object, and for what the grammar cannot express.
    pub fn call(&self) -> Result<Call, Error> {
        self.invocation.call(&self.invocation.query, Format::Json)
    }
}

impl<C: Context> Invocation<C> {
    fn call(&self, query: &Query, format: Format) -> Result<Call, Error> {
        let body = self.arguments.clone()?;
        let defaults = self.context.defaults();
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
        let mut draft = query.draft(method, self.safety, format, defaults.schema.as_deref())?;
        match in_url {
            Some(parameters) => {
                for (name, value) in parameters {
                    draft.params.push(name, value);
                }
            }
            None => draft.body = Some(body),
        }
        Query::checked(draft, defaults.url_bytes)
    }
}

impl<C: Execute> Invocation<C> {
    async fn run(&self, query: &Query, format: Format) -> Result<Response, Error> {
        let prefer = &query.options.prefer;
        rollback::check(&self.context, prefer, &query.endpoint).await?;
        let response = self.context.execute(self.call(query, format)?).await?;
        response.check_dry_run(prefer)?;
        Ok(response)
    }

    /// Runs a call that returns everything in one response. Fails if rows are missing.
    async fn run_whole(&self) -> Result<Response, Error> {
        let mut query = self.query.clone();
        // A second call would do everything again, so the first must say how many rows there are.
        let once = !self.safety.is_repeatable();
        if once && self.is_set && query.window.limit.is_none() {
            query.options.prefer.count = Some(Count::Exact);
        }
        let response = self.run(&query, Format::Json).await?;
        let rows = whole::rows_of(&response);
        let is_cut = match response.total() {
            Some(total) if once && query.options.prefer.count == Some(Count::Exact) => {
                let wanted = query.window.limit.unwrap_or(u64::MAX);
                rows < wanted.min(total.saturating_sub(query.window.offset.unwrap_or_default()))
            }
            _ if once => {
                query.window.limit.is_none_or(|limit| rows < limit)
                    && !whole::is_whole(&self.context, rows)
            }
            _ => whole::has_more(self, &query, rows).await?,
        };
        if is_cut {
            return Err(self.truncated(rows));
        }
        Ok(response)
    }
}

impl<C: Execute> Paged for Invocation<C> {
    type Context = C;

    fn context(&self) -> &C {
        &self.context
    }

    fn query(&self) -> &Query {
        &self.query
    }

    fn part(&self, query: &Query) -> Result<Call, Error> {
        self.call(query, Format::Json)
    }

    fn truncated(&self, rows: u64) -> Error {
        let way_out = if self.safety.is_repeatable() {
            "the rest needs further calls; order by a unique column and read all, `.order(…).all()` or `.stream()`, or a part with `limit` or `page`"
        } else {
            "a second call would run the function again, which has run; return one JSON value from it, limit its rows, or declare it `read_only` or `.idempotent()` and read `.order(…).all()`"
        };
        whole::truncated(rows, way_out)
    }
}

/// Filters, order and limits of a function that returns a set of rows.
impl<F, O: Rows, C: Context> Rpc<F, O, C> {
    /// Keeps the rows that match.
    pub fn filter(mut self, filter: impl IntoFilter<O::Row>) -> Self {
        self.invocation.query.filter(filter.into_filter().tree);
        self
    }

    /// Orders the rows.
    pub fn order(mut self, order: impl IntoOrder<O::Row>) -> Self {
        self.invocation.query.window.keys.extend(keys_of(order));
        self
    }

    /// Returns this many rows at most.
    pub fn limit(mut self, limit: u64) -> Self {
        self.invocation.query.window.limit = Some(limit);
        self
    }

    /// Skips this many rows first.
    pub fn offset(mut self, offset: u64) -> Self {
        self.invocation.query.window.offset = Some(offset);
        self
    }

    /// Filters, orders or limits the rows of an embedded relation.
    pub fn embed<U>(mut self, nested: Nested<O::Row, U>) -> Self {
        self.invocation.query.nested.push(nested.retyped());
        self
    }

    /// Returns rows of the shape `V` instead. Call it after the filters.
    pub fn select<V: ShapeOf<O::Row>>(self) -> Rpc<F, Vec<V>, C> {
        self.selection(V::selection()).output()
    }

    /// Calls the function. Returns one page of its rows, with their position and total number. A
    /// function that only reads, or is [idempotent](Self::idempotent), also says whether more follow.
    ///
    /// # Errors
    ///
    /// Every failure of the call.
    pub async fn page(self) -> Result<Page<O::Row>, Error>
    where
        O::Row: DeserializeOwned,
        C: Execute,
    {
        let invocation = &self.invocation;
        if invocation.safety.is_repeatable() && !invocation.query.options.prefer.rollback {
            return whole::page(invocation).await;
        }
        invocation
            .run(&invocation.query, Format::Json)
            .await?
            .page()
    }

    /// Reads every row of the set, by as many calls as the server's row limit makes necessary, in the
    /// order of the call. The order must be by a unique column, and the function must only read or be
    /// [idempotent](Self::idempotent).
    ///
    /// # Errors
    ///
    /// Every failure of a call, and [`ErrorKind::Truncated`](crate::error::ErrorKind::Truncated) if the rows are cut and have no order, or
    /// if a second call could change something.
    pub async fn all(self) -> Result<Vec<O::Row>, Error>
    where
        O::Row: DeserializeOwned,
        C: Execute,
    {
        let invocation = &self.invocation;
        if !invocation.safety.is_repeatable() {
            return invocation.run_whole().await?.json();
        }
        let first = whole::fetch(invocation, &invocation.query).await?.rows;
        if whole::has_more(invocation, &invocation.query, first.len() as u64).await? {
            return whole::by_offset(invocation, first).await;
        }
        Ok(first)
    }

    /// Reads every row of the set one by one, with memory for one row. As [`all`](Self::all), it needs
    /// an order if the server cuts the rows.
    ///
    /// A stream that breaks off ends with an error. The rows before it are valid.
    pub fn stream(self) -> BoxStream<'static, Result<O::Row, Error>>
    where
        O::Row: DeserializeOwned + Send + 'static,
        C: Execute,
    {
        whole::row_by_row(self.invocation)
    }
}

impl<F, O, C: Execute> Rpc<F, O, C> {
    /// Calls the function, and returns the response as bytes in a media type that the server knows:
    /// see [`Read::bytes`](crate::query::Read::bytes).
    ///
    /// # Errors
    ///
    /// Every failure of the call, and PGRST107 if the server does not know the media type.
    pub async fn bytes(self, media_type: &str) -> Result<Bytes, Error> {
        let format = Format::Own(media_type.to_owned());
        let invocation = &self.invocation;
        Ok(invocation.run(&invocation.query, format).await?.body)
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
        // The future does not borrow what the function's type may.
        let invocation = self.invocation;
        Box::pin(async move { invocation.run_whole().await?.value() })
    }
}

debug_by!(invocation.query, Rpc<F, O, C>);

call_options!(<F, O, C> Rpc, invocation.query.options);
count_option!(<F, O, C> Rpc, invocation.query.options);
transaction_options!(<F, O, C> Rpc, invocation.query.options);
affected_option!(<F, O, C> Rpc, invocation.query.options);

/// Begins a call of a typed function.
pub(crate) fn typed<F: Function, C: Context>(context: C, function: &F) -> Rpc<F, F::Output, C> {
    let endpoint = Endpoint::function(F::NAME, F::SCHEMA);
    Rpc::new(context, endpoint, function, (F::READ_ONLY, F::RETURNS_SET))
}
