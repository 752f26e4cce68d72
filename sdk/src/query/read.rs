//! Reading rows.

use std::future::IntoFuture;
use std::marker::PhantomData;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use http::Method;
use serde::de::DeserializeOwned;

use super::whole::{self, Paged};
use super::{Context, Execute, Keyset, Query};
use crate::error::{Error, ErrorKind};
use crate::grammar::{IntoFilter, IntoOrder, Nested, Selection, ShapeOf, keys_of};
use crate::request::{Call, Count, Format, Page, Response, Safety};

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
    ///
    /// ```
    /// # use sluice_sdk::{Client, Error, Offline, Select, Table, col, serde::{Deserialize, Serialize}};
    /// # #[derive(Table, Serialize, Deserialize)] #[serde(crate = "sluice_sdk::serde")] #[table(name = "posts")]
    /// # struct Post { #[table(primary_key)] id: i64, text: String }
    /// # #[derive(Select, Deserialize)] #[serde(crate = "sluice_sdk::serde")] #[select(from = Post)]
    /// # struct Title { text: String }
    /// let call = Offline::default().from::<Post>().select::<Title>().call()?;
    /// assert_eq!(call.request.uri(), "/posts?select=text");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `select text from posts`.
    pub fn select<W: ShapeOf<T>>(self) -> Read<T, W, C> {
        self.selection(W::selection()).rows()
    }

    /// Reads these columns instead of those of the row type.
    ///
    /// ```
    /// # use sluice_sdk::{Offline, col}; let posts = Offline::default().table("posts");
    /// # use sluice_sdk::query::Selection;
    /// let selection = Selection::new().column(col("text"));
    /// let call = posts.read().selection(selection).call()?;
    /// assert_eq!(call.request.uri(), "/posts?select=text");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `select text from posts`.
    pub fn selection(mut self, selection: Selection) -> Self {
        self.query.selection = Some(selection);
        self
    }

    /// Reads each row into `W`, with the same columns.
    ///
    /// ```
    /// # use sluice_sdk::{Offline, col}; let posts = Offline::default().table("posts");
    /// let call = posts.read().rows::<(i64, String)>().call()?;
    /// assert_eq!(call.request.uri(), "/posts");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `select * from posts`.
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
    ///
    /// ```
    /// # use sluice_sdk::{Offline, col}; let posts = Offline::default().table("posts");
    /// let call = posts.read().filter(col("url").is_null()).filter(col("id").gt(7)).call()?;
    /// assert_eq!(call.request.uri(), "/posts?url=is.null&id=gt.7");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `select * from posts where url is null and id > 7`.
    pub fn filter(mut self, filter: impl IntoFilter<T>) -> Self {
        self.query.filter(filter.into_filter().tree);
        self
    }

    /// Filters, orders or limits the rows of an embedded relation.
    ///
    /// ```
    /// # use sluice_sdk::{Offline, col}; let posts = Offline::default().table("posts");
    /// # use sluice_sdk::query::{Embedding, Selection, relation};
    /// let comments = Embedding::of("comments", Selection::new().all());
    /// let read = posts.read().selection(Selection::new().all().embed(comments));
    /// let call = read.embed(relation("comments").limit(3)).call()?;
    /// assert_eq!(call.request.uri(), "/posts?select=*,comments(*)&comments.limit=3");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `select p.*, (select json_agg(c) from (select * from comments where post_id = p.id
    /// limit 3) c) from posts p`.
    pub fn embed<U>(mut self, nested: Nested<T, U>) -> Self {
        self.query.nested.push(nested.retyped());
        self
    }

    /// Orders the rows. A second order breaks the ties of the first.
    ///
    /// ```
    /// # use sluice_sdk::{Offline, col}; let posts = Offline::default().table("posts");
    /// let call = posts.read().order((col("score").desc().nulls_last(), col("id").asc())).call()?;
    /// assert_eq!(call.request.uri(), "/posts?order=score.desc.nullslast,id.asc");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `select * from posts order by score desc nulls last, id`.
    pub fn order(mut self, order: impl IntoOrder<T>) -> Self {
        self.query.window.keys.extend(keys_of(order));
        self
    }

    /// Reads this many rows at most. If the server's own limit is lower (1,000 on hosted Supabase),
    /// the rest is read by further requests.
    ///
    /// ```
    /// # use sluice_sdk::{Offline, col}; let posts = Offline::default().table("posts");
    /// let call = posts.read().limit(20).call()?;
    /// assert_eq!(call.request.uri(), "/posts?limit=20");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `select * from posts limit 20`.
    pub fn limit(mut self, limit: u64) -> Self {
        self.query.window.limit = Some(limit);
        self
    }

    /// Skips this many rows first.
    ///
    /// ```
    /// # use sluice_sdk::{Offline, col}; let posts = Offline::default().table("posts");
    /// let call = posts.read().limit(20).offset(40).call()?;
    /// assert_eq!(call.request.uri(), "/posts?limit=20&offset=40");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `select * from posts limit 20 offset 40`.
    pub fn offset(mut self, offset: u64) -> Self {
        self.query.window.offset = Some(offset);
        self
    }

    /// Leaves null columns out of the response, which makes it shorter. `V` needs defaults for
    /// them, as an `Option` has.
    ///
    /// ```
    /// # use sluice_sdk::{Offline, col}; let posts = Offline::default().table("posts");
    /// let call = posts.read().nulls_stripped().call()?;
    /// assert_eq!(call.request.headers()["accept"], "application/vnd.pgrst.array+json;nulls=stripped");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `select json_strip_nulls(to_json(p)) from posts p`.
    ///
    /// PostgREST reference: "Stripped Nulls".
    pub fn nulls_stripped(mut self) -> Self {
        self.format = Format::JsonWithoutNulls;
        self
    }

    /// The request, for callers that send it themselves.
    ///
    /// ```
    /// # use sluice_sdk::{Offline, col}; let posts = Offline::default().table("posts");
    /// let call = posts.read().limit(5).call()?;
    /// assert_eq!(call.request.uri(), "/posts?limit=5");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `select * from posts limit 5`.
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
    ///
    /// ```no_run
    /// # use sluice_sdk::{Client, Error};
    /// # use sluice_sdk::futures_util::TryStreamExt;
    /// # async fn run(db: Client) -> Result<(), Error> {
    /// let mut posts = db.table("posts").read().stream();
    /// while let Some(post) = posts.try_next().await? {}
    /// # Ok(()) }
    /// ```
    ///
    /// Request: `GET /posts`, and `GET /posts?offset=1000` and so on if the server cuts. SQL:
    /// `select * from posts`.
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
    /// ```no_run
    /// # use sluice_sdk::{Client, Error, col};
    /// # async fn run(db: Client) -> Result<(), Error> {
    /// let post = db.table("posts").filter(col("id").eq(1)).maybe_single().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// Request: `GET /posts?id=eq.1&limit=2`. SQL: `select * from posts where id = 1 limit 2`.
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
    /// ```no_run
    /// # use sluice_sdk::{Client, Error, col};
    /// # async fn run(db: Client) -> Result<(), Error> {
    /// let post = db.table("posts").filter(col("id").eq(1)).single().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// Request: `GET /posts?id=eq.1` with `Accept: application/vnd.pgrst.object+json`. SQL:
    /// `select * from posts where id = 1`.
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
    /// ```no_run
    /// # use sluice_sdk::{Client, Count, Error};
    /// # async fn run(db: Client) -> Result<(), Error> {
    /// let many = db.table("posts").count_rows(Count::Exact).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// Request: `HEAD /posts` with `Prefer: count=exact`. SQL: `select count(*) from posts`.
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

    /// One response in this format, whether or not it is cut.
    pub(super) async fn response(&self, format: Format) -> Result<Response, Error> {
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
