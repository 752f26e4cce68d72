//! Reading rows.

use std::future::IntoFuture;
use std::marker::PhantomData;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::Method;
use serde::de::DeserializeOwned;

use super::{Context, Execute, Query};
use crate::error::{ContentRange, Error, ErrorKind};
use crate::grammar::{IntoFilter, IntoOrder, Nested, Selection, ShapeOf, keys_of};
use crate::request::{Call, Count, Explain, Format, Handling, Page, Response, Safety, rows};

/// A read of rows of `T` as `V`. Awaiting it returns a `Vec<V>`.
///
/// ```no_run
/// # use sluice_sdk::{Client, Count, Error, Table, serde::Deserialize};
/// # #[derive(Table, Deserialize)] #[serde(crate = "sluice_sdk::serde")] #[table(name = "posts")]
/// # struct Post { #[table(primary_key)] id: i64, text: String, url: Option<String> }
/// # async fn run(db: Client) -> Result<(), Error> {
/// let posts = db.from::<Post>().filter(Post::URL.is_null()).order(Post::ID.desc()).limit(20).await?;
/// let page = db.from::<Post>().limit(20).count(Count::Exact).fetch().await?;
/// assert!(page.total >= Some(page.rows.len() as u64));
/// # Ok(()) }
/// ```
///
/// The request:
///
/// ```
/// use sluice_sdk::{Offline, col};
///
/// let read = Offline::default().table("posts").filter(col("url").is_null()).limit(20);
/// assert_eq!(read.call()?.request.uri(), "/posts?url=is.null&limit=20");
/// # Ok::<(), sluice_sdk::Error>(())
/// ```
///
/// PostgREST reference: "Tables and Views", "Limits and Pagination", "Counting".
#[must_use = "a read does nothing until it is awaited"]
pub struct Read<T, V, C> {
    pub(crate) context: C,
    pub(crate) query: Query,
    format: Format,
    marker: PhantomData<fn() -> (T, V)>,
}

impl<T, V, C: Context> Read<T, V, C> {
    pub(crate) fn new(context: C, query: Query) -> Self {
        Self {
            context,
            query,
            format: Format::Json,
            marker: PhantomData,
        }
    }

    /// Reads rows of the shape `W` instead, with the columns and embedded rows it names.
    pub fn select<W: ShapeOf<T>>(self) -> Read<T, W, C> {
        self.selection(W::selection()).rows()
    }

    /// Reads these columns instead of those of the row type.
    pub fn selection(mut self, selection: Selection) -> Self {
        self.query.selection = Some(selection);
        self
    }

    /// Reads each row into `W`, with the same columns.
    pub fn rows<W>(self) -> Read<T, W, C> {
        Read {
            context: self.context,
            query: self.query,
            format: self.format,
            marker: PhantomData,
        }
    }

    /// Keeps the rows that match. Rows must match every filter.
    pub fn filter(mut self, filter: impl IntoFilter<T>) -> Self {
        self.query.filter(filter.into_filter().tree);
        self
    }

    /// Filters, orders or limits the rows of an embedded relation.
    pub fn embed<U>(mut self, nested: Nested<T, U>) -> Self {
        self.query.nested.push(nested.retyped());
        self
    }

    /// Orders the rows. A second order breaks the ties of the first.
    pub fn order(mut self, order: impl IntoOrder<T>) -> Self {
        self.query.window.keys.extend(keys_of(order));
        self
    }

    /// Reads this many rows at most. The server has its own limit (1000 on hosted Supabase), which
    /// cuts silently. To read all rows, see [`keyset`](Self::keyset).
    pub fn limit(mut self, limit: u64) -> Self {
        self.query.window.limit = Some(limit);
        self
    }

    /// Skips this many rows first.
    pub fn offset(mut self, offset: u64) -> Self {
        self.query.window.offset = Some(offset);
        self
    }

    /// Counts all rows that match. [`fetch`](Self::fetch) returns the number.
    pub fn count(mut self, count: Count) -> Self {
        self.query.prefer.count = Some(count);
        self
    }

    /// Sets what the server does with preferences that it does not know.
    pub fn handling(mut self, handling: Handling) -> Self {
        self.query.prefer.handling = Some(handling);
        self
    }

    /// Reads times in this time zone, such as `America/Los_Angeles`.
    ///
    /// PostgREST reference: "Timezone" of the `Prefer` header.
    pub fn timezone(mut self, timezone: impl Into<String>) -> Self {
        self.query.prefer.timezone = Some(timezone.into());
        self
    }

    /// Leaves null columns out of the response, which makes it shorter. `V` needs defaults for
    /// them, as an `Option` has.
    ///
    /// PostgREST reference: "Stripped Nulls".
    pub fn nulls_stripped(mut self) -> Self {
        self.format = Format::JsonWithoutNulls;
        self
    }

    /// The request, for callers that send it themselves.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for what the grammar cannot express: an
    /// empty list of alternatives, a NUL character, a URL that is too long.
    pub fn call(&self) -> Result<Call, Error> {
        self.call_as(Method::GET, self.format)
    }

    pub(crate) fn call_as(&self, method: Method, format: Format) -> Result<Call, Error> {
        let schema = self.context.defaults().schema.as_deref();
        self.query
            .draft(method, Safety::Read, format, schema)?
            .build()
    }
}

impl<T, V, C: Execute> Read<T, V, C> {
    /// Reads the rows, with their position and number from the headers.
    ///
    /// An offset past the last row returns an empty page, with the total if it was requested.
    ///
    /// # Errors
    ///
    /// Every failure of the call, and [`ErrorKind::Decode`] if a row is not a `V`.
    pub async fn fetch(self) -> Result<Page<V>, Error>
    where
        V: DeserializeOwned,
    {
        match self.context.execute(self.call()?).await {
            Ok(response) => response.page(),
            // With a count, the server refuses an offset past the end. Without one, it returns an
            // empty page.
            Err(error) if error.code() == Some("PGRST103") && error.total().is_some() => {
                let range = ContentRange {
                    rows: None,
                    total: error.total(),
                };
                Ok(Page::new(Vec::new(), Some(range)))
            }
            Err(error) => Err(error),
        }
    }

    /// Reads the rows one by one as the response arrives. There is one request, and memory for one
    /// row. The server's row limit applies: to read all rows, see [`keyset`](Self::keyset).
    ///
    /// A stream that breaks off ends with an error. The rows before it are valid.
    pub fn stream(self) -> BoxStream<'static, Result<V, Error>>
    where
        T: 'static,
        V: DeserializeOwned + Send + 'static,
    {
        let opened = async move {
            let call = self.call()?;
            let failed_call = call.clone();
            let body = self.context.open(call).await?;
            Ok::<_, Error>(rows(body).map_err(move |error| failed_call.failed(error, 0)))
        };
        stream::once(opened).try_flatten().boxed()
    }

    /// Reads the row, if there is one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::RowCount`] if more than one row matches. For
    /// [`exactly_one`](Self::exactly_one), no row is an error too.
    pub async fn maybe_one(mut self) -> Result<Option<V>, Error>
    where
        V: DeserializeOwned,
    {
        // Two rows are enough to see that there is more than one.
        self.query.window.limit = Some(self.query.window.limit.map_or(2, |limit| limit.min(2)));
        let mut rows = self.fetch().await?.rows;
        let row = rows.pop();
        if rows.is_empty() {
            Ok(row)
        } else {
            Err(Error::too_many_rows())
        }
    }

    /// Reads the row.
    ///
    /// # Errors
    ///
    /// PGRST116 if no row or more than one matches ([`Error::is_not_found`] distinguishes these).
    /// For a row that may be absent see [`maybe_one`](Self::maybe_one).
    ///
    /// PostgREST reference: "Singular or Plural".
    pub async fn exactly_one(self) -> Result<V, Error>
    where
        V: DeserializeOwned,
    {
        self.response(Format::Object).await?.json()
    }

    /// Counts the rows that match, without reading them.
    ///
    /// # Errors
    ///
    /// Every failure of the call. The response has no body, so most errors have only a status.
    pub async fn count_rows(mut self, count: Count) -> Result<u64, Error> {
        self.query.prefer.count = Some(count);
        let response = self
            .context
            .execute(self.call_as(Method::HEAD, Format::Json)?)
            .await?;
        response.total().ok_or_else(|| {
            Error::new(
                ErrorKind::Decode,
                "the server sent no count, although one was requested",
            )
        })
    }

    /// Reads the rows as comma-separated values, with a line of names first.
    ///
    /// # Errors
    ///
    /// Every failure of the call, and [`ErrorKind::Decode`] if the response is not UTF-8.
    pub async fn csv(self) -> Result<String, Error> {
        self.response(Format::Csv).await?.text()
    }

    /// Reads the rows as a `GeoJSON` `FeatureCollection`. The database needs `PostGIS`.
    ///
    /// # Errors
    ///
    /// Every failure of the call.
    pub async fn geojson(self) -> Result<serde_json::Value, Error> {
        self.response(Format::GeoJson).await?.json()
    }

    /// Returns the execution plan of this read instead of its rows. The server must allow it
    /// (`db-plan-enabled`).
    ///
    /// ```no_run
    /// # use sluice_sdk::{Client, Error, Explain, col};
    /// # async fn run(db: Client) -> Result<(), Error> {
    /// let slow = db.table("posts").filter(col("text").contains_text("rain"));
    /// let plan = slow.explain(Explain::plan().analyze().buffers()).await?;
    /// let milliseconds = plan[0]["Execution Time"].as_f64();
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Every failure of the call, and PGRST107 if the server does not allow plans.
    pub async fn explain(self, explain: Explain) -> Result<serde_json::Value, Error> {
        self.response(Format::Plan(explain)).await?.json()
    }

    /// As [`explain`](Self::explain), as `EXPLAIN` prints it.
    ///
    /// # Errors
    ///
    /// As for [`explain`](Self::explain).
    pub async fn explain_text(self, explain: Explain) -> Result<String, Error> {
        self.response(Format::PlanText(explain)).await?.text()
    }

    async fn response(&self, format: Format) -> Result<Response, Error> {
        let call = self.call_as(Method::GET, format)?;
        self.context.execute(call).await
    }
}

impl<T, V, C> IntoFuture for Read<T, V, C>
where
    T: 'static,
    V: DeserializeOwned + Send + 'static,
    C: Execute,
{
    type Output = Result<Vec<V>, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { Ok(self.fetch().await?.rows) })
    }
}

impl<T, V, C: Clone> Clone for Read<T, V, C> {
    fn clone(&self) -> Self {
        Self {
            context: self.context.clone(),
            query: self.query.clone(),
            format: self.format,
            marker: PhantomData,
        }
    }
}

debug_by!(query, Read<T, V, C>);
