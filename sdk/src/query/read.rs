//! Reading rows.

use std::future::IntoFuture;
use std::marker::PhantomData;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use http::Method;
use serde::de::DeserializeOwned;

use super::whole::{self, Paged};
use super::{Context, Execute, Keyset, Query, csv};
use crate::error::{Error, ErrorKind};
use crate::grammar::{IntoFilter, IntoOrder, Nested, Selection, ShapeOf, keys_of};
use crate::request::{Body, Call, Count, Explain, Format, Page, Response, Safety};

/// A read of rows of `T` as `V`. Awaiting it returns a `Vec<V>` of all of them.
///
/// A server with a row limit (1,000 on hosted Supabase) cuts what it returns and does not say so. An
/// awaited read is never cut: if its response may be, the next row is asked for, and if there is one,
/// the rest is read page by page, by the [keyset](Keyset) of the primary key if the row type names
/// it, else by offset in the order of the read. Without either, the read ends with
/// [`ErrorKind::Truncated`]. [`page`](Self::page) reads one page and says whether more follow.
///
/// The rows of a to-many embed are cut by the same limit. Read those that can be many on their own.
///
/// ```no_run
/// # use sluice_sdk::{Client, Count, Error, Table, serde::Deserialize};
/// # #[derive(Table, Deserialize)] #[serde(crate = "sluice_sdk::serde")] #[table(name = "posts")]
/// # struct Post { #[table(primary_key)] id: i64, text: String, url: Option<String> }
/// # async fn run(db: Client) -> Result<(), Error> {
/// let posts = db.from::<Post>().filter(Post::URL.is_null()).order(Post::ID.desc()).limit(20).await?;
/// let page = db.from::<Post>().limit(20).count(Count::Exact).page().await?;
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
    /// Whether it is a piece of a list, whose URL may be as long as one value makes it.
    pub(super) is_piece: bool,
    marker: PhantomData<fn() -> (T, V)>,
}

impl<T, V, C: Context> Read<T, V, C> {
    pub(crate) fn new(context: C, query: Query) -> Self {
        Self {
            context,
            query,
            format: Format::Json,
            is_piece: false,
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
            is_piece: self.is_piece,
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

    /// Reads this many rows at most. If the server's own limit is lower (1,000 on hosted Supabase),
    /// the rest is read by further requests.
    pub fn limit(mut self, limit: u64) -> Self {
        self.query.window.limit = Some(limit);
        self
    }

    /// Skips this many rows first.
    pub fn offset(mut self, offset: u64) -> Self {
        self.query.window.offset = Some(offset);
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
    /// [`ErrorKind::Invalid`](crate::error::ErrorKind::Invalid) for what the grammar cannot express: an
    /// empty list of alternatives, a NUL character, a URL that is too long.
    pub fn call(&self) -> Result<Call, Error> {
        self.call_as(&self.query, Method::GET, self.format.clone())
    }

    /// Whether rows come as JSON with every column.
    pub(super) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    pub(super) fn call_as(
        &self,
        query: &Query,
        method: Method,
        format: Format,
    ) -> Result<Call, Error> {
        let defaults = self.context.defaults();
        let draft = query.draft(method, Safety::Read, format, defaults.schema.as_deref())?;
        if self.is_piece {
            draft.build()
        } else {
            Query::checked(draft, defaults.url_bytes)
        }
    }
}

impl<T, V, C: Execute> Read<T, V, C> {
    /// Reads one page: the rows with their position and their total number, and whether more follow.
    /// It has as many rows as the limit says, or as the server's own limit allows.
    ///
    /// An offset past the last row returns an empty page, with the total if it was requested.
    ///
    /// ```
    /// use sluice_sdk::{Offline, col};
    ///
    /// let read = Offline::default().table("posts").order(col("id").asc()).limit(20);
    /// assert_eq!(read.call()?.request.uri(), "/posts?order=id.asc&limit=20");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// The page asks for a 21st row, which shows whether more follow. SQL: `select * from posts order
    /// by id limit 21`.
    ///
    /// # Errors
    ///
    /// Every failure of the call, and [`ErrorKind::Decode`] if a row is not a `V`.
    pub async fn page(self) -> Result<Page<V>, Error>
    where
        V: DeserializeOwned,
    {
        whole::page(&self).await
    }

    /// Reads the rows one by one as the responses arrive, with memory for one row. Without an order
    /// of its own, a table whose type has a primary key is read in its order. If the server's row
    /// limit cuts a response, the next one goes on by offset. For a table of millions of rows,
    /// [`keyset`](Self::keyset) costs less.
    ///
    /// A stream that breaks off ends with an error. The rows before it are valid.
    pub fn stream(self) -> BoxStream<'static, Result<V, Error>>
    where
        T: 'static,
        V: DeserializeOwned + Send + 'static,
    {
        whole::row_by_row(self)
    }

    /// One response, whether or not it is cut.
    pub(super) async fn fetch(&self) -> Result<Page<V>, Error>
    where
        V: DeserializeOwned,
    {
        whole::fetch(self, &self.query).await
    }

    /// Every row.
    async fn all(self) -> Result<Vec<V>, Error>
    where
        T: 'static,
        V: DeserializeOwned + Send + 'static,
    {
        let first = self.fetch().await?.rows;
        if !whole::has_more(&self, &self.query, first.len() as u64).await? {
            return Ok(first);
        }
        let limit = self.query.window.limit;
        match Keyset::of_all(&self) {
            Some(keyset) => {
                let rows = limit.and_then(|limit| usize::try_from(limit).ok());
                keyset
                    .stream()
                    .take(rows.unwrap_or(usize::MAX))
                    .try_collect()
                    .await
            }
            None => whole::by_offset(&self, first).await,
        }
    }

    /// Reads the row, if there is one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::RowCount`] if more than one row matches. For
    /// [`single`](Self::single), no row is an error too.
    pub async fn maybe_single(mut self) -> Result<Option<V>, Error>
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
    /// For a row that may be absent see [`maybe_single`](Self::maybe_single).
    ///
    /// PostgREST reference: "Singular or Plural".
    pub async fn single(self) -> Result<V, Error>
    where
        V: DeserializeOwned,
    {
        match self.response(Format::Object).await {
            Ok(response) => response.json(),
            Err(error) => Err(whole::with_row_count(&self.context, &self.query, error).await),
        }
    }

    /// Counts the rows that match, without reading them.
    ///
    /// # Errors
    ///
    /// Every failure of the call. The response has no body, so most errors have only a status.
    pub async fn count_rows(mut self, count: Count) -> Result<u64, Error> {
        self.query.options.prefer.count = Some(count);
        let call = self.call_as(&self.query, Method::HEAD, Format::Json)?;
        let response = self.context.execute(call).await?;
        response.total().ok_or_else(|| {
            Error::new(
                ErrorKind::Decode,
                "the server sent no count, although one was requested",
            )
        })
    }

    /// Reads the rows as comma-separated values, with a line of names first. If the server's row limit
    /// cuts the response, the rest is read too, as [`csv_stream`](Self::csv_stream) does.
    ///
    /// # Errors
    ///
    /// Every failure of the call, and [`ErrorKind::Decode`] if the response is not UTF-8.
    pub async fn csv(self) -> Result<String, Error>
    where
        T: 'static,
        V: 'static,
    {
        let first = self.response(Format::Csv).await?;
        if !whole::has_more(&self, &self.query, whole::rows_of(&first)).await? {
            return first.text();
        }
        let pieces: Vec<Bytes> = self.csv_stream().try_collect().await?;
        csv::text(&pieces)
    }

    /// Reads any number of rows as comma-separated values, a page of rows at a time. Memory holds one
    /// page. Only the first begins with the line of names.
    ///
    /// Without an order of its own, a table whose type has a primary key is read in its order. Other
    /// reads of more than a page need an order by a unique key.
    pub fn csv_stream(self) -> Body
    where
        T: 'static,
        V: 'static,
    {
        csv::pages(self)
    }

    /// Reads the response as bytes, in a media type that the server knows, such as that of a
    /// [media type handler](https://postgrest.org/en/stable/references/api/media_type_handlers.html).
    /// The server's row limit applies.
    ///
    /// ```no_run
    /// # use sluice_sdk::{Client, Error, col};
    /// # async fn run(db: Client) -> Result<(), Error> {
    /// let picture = db.table("pictures").filter(col("id").eq(7)).bytes("image/png").await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Every failure of the call, and PGRST107 if the server does not know the media type.
    pub async fn bytes(self, media_type: &str) -> Result<Bytes, Error> {
        Ok(self
            .response(Format::Own(media_type.to_owned()))
            .await?
            .body)
    }

    /// As [`bytes`](Self::bytes), piece by piece as they arrive.
    ///
    /// # Errors
    ///
    /// As for [`bytes`](Self::bytes), until the response has begun. Later errors are in the stream.
    pub async fn bytes_stream(self, media_type: &str) -> Result<Body, Error> {
        let format = Format::Own(media_type.to_owned());
        let call = self.call_as(&self.query, Method::GET, format)?;
        self.context.open(call).await
    }

    /// Reads the rows as a `GeoJSON` `FeatureCollection`. The database needs `PostGIS`.
    ///
    /// # Errors
    ///
    /// Every failure of the call, and [`ErrorKind::Truncated`] if the server's row limit cut it.
    pub async fn geojson(self) -> Result<serde_json::Value, Error> {
        let response = self.response(Format::GeoJson).await?;
        let rows = whole::rows_of(&response);
        if whole::has_more(&self, &self.query, rows).await? {
            let way_out =
                "a FeatureCollection is one response; read it in parts by `limit` and `offset`";
            return Err(whole::truncated(rows, way_out));
        }
        response.json()
    }

    /// Returns the execution plan of this read instead of its rows. The server must allow it
    /// (`db-plan-enabled`).
    ///
    /// ```no_run
    /// # use sluice_sdk::{Client, Error, query::Explain, col};
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
        let call = self.call_as(&self.query, Method::GET, format)?;
        self.context.execute(call).await
    }
}

impl<T, V, C: Execute> Paged for Read<T, V, C> {
    type Context = C;

    fn context(&self) -> &C {
        &self.context
    }

    fn query(&self) -> &Query {
        &self.query
    }

    fn part(&self, query: &Query) -> Result<Call, Error> {
        self.call_as(query, Method::GET, self.format.clone())
    }

    fn truncated(&self, rows: u64) -> Error {
        let way_out = "the rest cannot be read without an order; order by a unique key, declare the table's primary key, or read a part with `limit` or `page`";
        whole::truncated(rows, way_out)
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
        Box::pin(self.all())
    }
}

impl<T, V, C: Clone> Clone for Read<T, V, C> {
    fn clone(&self) -> Self {
        Self {
            context: self.context.clone(),
            query: self.query.clone(),
            format: self.format.clone(),
            is_piece: self.is_piece,
            marker: PhantomData,
        }
    }
}

debug_by!(query, Read<T, V, C>);

call_options!(<T, V, C> Read, query.options);
count_option!(<T, V, C> Read, query.options);
