//! All rows of a read, page by page. Each page begins after the last row of the page before.

mod cursor;

use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::Method;
use serde::de::DeserializeOwned;

use super::{Context, Execute, Query, Read};
use crate::error::Error;
use crate::grammar::{IntoFilter, IntoOrder, Key, Nested, Selection, ShapeOf, keys_of};
use crate::request::{Call, Format, Response, Safety};

use cursor::{Cursor, KeyNames};

/// A read of all rows in the order of a key, in pages without an offset. Each page costs the same,
/// and rows that are inserted or deleted meanwhile neither repeat nor hide others.
///
/// The key must be unique. The primary key of a typed table is added to it; for an untyped table,
/// name a unique column last. Keys may be nullable and in either direction. The read ends at an
/// *empty* page, because the server's row limit can shorten any other.
///
/// ```no_run
/// # use sluice_sdk::{Client, Error, Table, futures_util::TryStreamExt, serde::Deserialize};
/// # #[derive(Table, Deserialize)] #[serde(crate = "sluice_sdk::serde")] #[table(name = "posts")]
/// # struct Post { #[table(primary_key)] id: i64, score: Option<f64> }
/// # async fn run(db: Client) -> Result<(), Error> {
/// let mut posts = db.from::<Post>().keyset(Post::SCORE.desc()).stream();
/// while let Some(post) = posts.try_next().await? {
///     // …
/// }
/// # Ok(()) }
/// ```
///
/// The first request:
///
/// ```
/// # use sluice_sdk::{Offline, Table};
/// # #[derive(Table)] #[table(name = "posts")]
/// # struct Post { #[table(primary_key)] id: i64, score: Option<f64> }
/// let keyset = Offline::default().from::<Post>().keyset(Post::SCORE.desc());
/// let uri = keyset.call()?.request.uri().to_string();
/// assert_eq!(uri, "/posts?select=id,score&order=score.desc,id.asc&limit=1000");
/// # Ok::<(), sluice_sdk::Error>(())
/// ```
///
/// PostgREST reference: "Ordering", "Limits and Pagination".
#[must_use = "a read does nothing until its stream is polled"]
pub struct Keyset<T, V, C> {
    read: Read<T, V, C>,
    keys: Vec<Key>,
    page_rows: u64,
}

impl<T, V, C: Context> Read<T, V, C> {
    /// Reads all rows, page by page in the order of `keys`: see [`Keyset`].
    ///
    /// ```
    /// # use sluice_sdk::{Offline, col}; let posts = Offline::default().table("posts");
    /// let call = posts.keyset(col("id").asc()).call()?;
    /// assert_eq!(call.request.uri(), "/posts?select=*&order=id.asc&limit=1000");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `select * from posts order by id limit 1000`.
    pub fn keyset(self, keys: impl IntoOrder<T>) -> Keyset<T, V, C> {
        Keyset::new(self, keys_of(keys))
    }
}

impl<T, V, C: Context> Keyset<T, V, C> {
    pub(crate) fn new(read: Read<T, V, C>, mut keys: Vec<Key>) -> Self {
        const PAGE_ROWS: u64 = 1_000;
        let missing = |key: &&Key| !keys.iter().any(|other| other.target == key.target);
        let tie_breakers: Vec<Key> = read
            .query
            .endpoint
            .primary_key
            .iter()
            .filter(missing)
            .cloned()
            .collect();
        keys.extend(tie_breakers);
        Self {
            read,
            keys,
            page_rows: PAGE_ROWS,
        }
    }

    /// All rows of a read in the order of its keys, if a keyset can read them: its keys are columns of
    /// the table, and the primary key is known.
    pub(super) fn of_all(read: &Read<T, V, C>) -> Option<Self> {
        let query = &read.query;
        let is_grouped = query
            .selection
            .as_ref()
            .is_some_and(Selection::has_aggregates);
        let by_relation = query.window.keys.iter().any(|key| key.relation.is_some());
        let is_plain = query.window.offset.is_none() && !is_grouped && !by_relation;
        if query.endpoint.primary_key.is_empty() || !is_plain || !read.is_json() {
            return None;
        }
        let mut read = read.clone();
        let keys = std::mem::take(&mut read.query.window.keys);
        let limit = read.query.window.limit.take();
        let keyset = Self::new(read, keys);
        let page_rows = keyset.page_rows.min(limit.unwrap_or(u64::MAX));
        Some(keyset.page_rows(page_rows))
    }

    /// Reads rows of the shape `W` instead.
    ///
    /// ```
    /// # use sluice_sdk::{Client, Error, Offline, Select, Table, col, serde::{Deserialize, Serialize}};
    /// # #[derive(Table, Serialize, Deserialize)] #[serde(crate = "sluice_sdk::serde")] #[table(name = "posts")]
    /// # struct Post { #[table(primary_key)] id: i64, text: String }
    /// # #[derive(Select, Deserialize)] #[serde(crate = "sluice_sdk::serde")] #[select(from = Post)]
    /// # struct Title { text: String }
    /// let keyset = Offline::default().from::<Post>().keyset(Post::ID.asc());
    /// let call = keyset.select::<Title>().call()?;
    /// assert_eq!(call.request.uri(), "/posts?select=text,keyset_0:id&order=id.asc&limit=1000");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `select text, id from posts order by id limit 1000`.
    pub fn select<W: ShapeOf<T>>(self) -> Keyset<T, W, C> {
        Keyset {
            read: self.read.select(),
            keys: self.keys,
            page_rows: self.page_rows,
        }
    }

    /// Reads each row into `W`, with the same columns.
    ///
    /// ```
    /// # use sluice_sdk::{Offline, col}; let posts = Offline::default().table("posts");
    /// let call = posts.keyset(col("id").asc()).rows::<(i64, String)>().call()?;
    /// assert_eq!(call.request.uri(), "/posts?select=*&order=id.asc&limit=1000");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `select * from posts order by id limit 1000`.
    pub fn rows<W>(self) -> Keyset<T, W, C> {
        Keyset {
            read: self.read.rows(),
            keys: self.keys,
            page_rows: self.page_rows,
        }
    }

    /// Keeps the rows that match.
    ///
    /// ```
    /// # use sluice_sdk::{Offline, col}; let posts = Offline::default().table("posts");
    /// let call = posts.keyset(col("id").asc()).filter(col("url").is_null()).call()?;
    /// assert_eq!(call.request.uri(), "/posts?select=*&url=is.null&order=id.asc&limit=1000");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `select * from posts where url is null order by id limit 1000`.
    pub fn filter(mut self, filter: impl IntoFilter<T>) -> Self {
        self.read = self.read.filter(filter);
        self
    }

    /// Filters, orders or limits the rows of an embedded relation.
    ///
    /// ```
    /// # use sluice_sdk::{Offline, col}; let posts = Offline::default().table("posts");
    /// # use sluice_sdk::query::relation;
    /// let call = posts.keyset(col("id").asc()).embed(relation("comments").limit(3)).call()?;
    /// assert_eq!(call.request.uri(), "/posts?select=*&comments.limit=3&order=id.asc&limit=1000");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `select p.*, (select json_agg(c) from (select * from comments where post_id = p.id
    /// limit 3) c) from posts p order by id limit 1000`.
    pub fn embed<U>(mut self, nested: Nested<T, U>) -> Self {
        self.read = self.read.embed(nested);
        self
    }

    /// Reads this many rows a page (1,000 by default).
    ///
    /// ```
    /// # use sluice_sdk::{Offline, col}; let posts = Offline::default().table("posts");
    /// let call = posts.keyset(col("id").asc()).page_rows(50).call()?;
    /// assert_eq!(call.request.uri(), "/posts?select=*&order=id.asc&limit=50");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `select * from posts order by id limit 50`.
    pub fn page_rows(mut self, rows: u64) -> Self {
        self.page_rows = rows.max(1);
        self
    }

    /// The request for the first page.
    ///
    /// ```
    /// # use sluice_sdk::{Offline, col}; let posts = Offline::default().table("posts");
    /// let call = posts.keyset(col("id").asc()).call()?;
    /// assert_eq!(call.request.uri(), "/posts?select=*&order=id.asc&limit=1000");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `select * from posts order by id limit 1000`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::error::ErrorKind::Invalid) if the read has a limit, an offset or its
    /// own order, if it has no key, or if the grammar cannot express it.
    pub fn call(&self) -> Result<Call, Error> {
        self.page(None).map(|(call, _)| call)
    }

    /// The request for the page after `cursor`, and the names of the keys in its rows.
    fn page(&self, cursor: Option<&Cursor>) -> Result<(Call, KeyNames), Error> {
        let mut query = self.read.query.clone();
        if query.window.limit.is_some()
            || query.window.offset.is_some()
            || !query.window.keys.is_empty()
        {
            return Err(Error::invalid(
                "a keyset read has its own order and reads all rows; remove the order, limit and offset, and take as many rows of the stream as you need",
            ));
        }
        if self.keys.is_empty() || self.keys.iter().any(|key| key.relation.is_some()) {
            return Err(Error::invalid(
                "a keyset read needs a key made of the table's own columns",
            ));
        }
        let names = KeyNames::add_to(&mut query.selection, &self.keys);
        if let Some(tree) = cursor.and_then(|cursor| cursor.after(&self.keys)) {
            query.filter(tree);
        }
        query.window.keys.clone_from(&self.keys);
        query.window.limit = Some(self.page_rows);
        let schema = self.read.context.defaults().schema.as_deref();
        let draft = query.draft(Method::GET, Safety::Read, Format::Json, schema)?;
        let call = Query::checked(draft, self.read.context.defaults().url_bytes)?;
        Ok((call, names))
    }
}

impl<T, V, C> Keyset<T, V, C>
where
    T: 'static,
    V: DeserializeOwned + Send + 'static,
    C: Execute,
{
    /// The rows, one by one. The next page is read when the rows of the last are used up.
    ///
    /// ```no_run
    /// # use sluice_sdk::{Client, Error, col};
    /// # use sluice_sdk::futures_util::TryStreamExt;
    /// # async fn run(db: Client) -> Result<(), Error> {
    /// let mut posts = db.table("posts").keyset(col("id").asc()).stream();
    /// while let Some(post) = posts.try_next().await? {}
    /// # Ok(()) }
    /// ```
    ///
    /// Request: `GET /posts?select=*&order=id.asc&limit=1000`, then with `id=gt.1000` and so on. SQL:
    /// `select * from posts where id > 1000 order by id limit 1000`.
    pub fn stream(self) -> BoxStream<'static, Result<V, Error>> {
        self.pages()
            .map_ok(|rows| stream::iter(rows).map(Ok))
            .try_flatten()
            .boxed()
    }

    /// The rows, a page at a time. No page is empty.
    ///
    /// ```no_run
    /// # use sluice_sdk::{Client, Error, col};
    /// # use sluice_sdk::futures_util::TryStreamExt;
    /// # async fn run(db: Client) -> Result<(), Error> {
    /// let mut pages = db.table("posts").keyset(col("id").asc()).pages();
    /// while let Some(rows) = pages.try_next().await? {}
    /// # Ok(()) }
    /// ```
    ///
    /// Request: `GET /posts?select=*&order=id.asc&limit=1000`, then with `id=gt.1000` and so on. SQL:
    /// `select * from posts where id > 1000 order by id limit 1000`.
    pub fn pages(self) -> BoxStream<'static, Result<Vec<V>, Error>> {
        let first = Some((self, None));
        stream::try_unfold(first, |state| async move {
            let Some((keyset, cursor)) = state else {
                return Ok(None);
            };
            let (call, names) = keyset.page(cursor.as_ref())?;
            let response = keyset.read.context.execute(call).await?;
            let rows: Vec<V> = response.json()?;
            if rows.is_empty() {
                return Ok(None);
            }
            let next = keyset.next(&response, &names, cursor.as_ref())?;
            Ok(Some((rows, next.map(|cursor| (keyset, Some(cursor))))))
        })
        .boxed()
    }

    /// The cursor after the last row of a page, or `None` if no row can follow.
    fn next(
        &self,
        response: &Response,
        names: &KeyNames,
        before: Option<&Cursor>,
    ) -> Result<Option<Cursor>, Error> {
        let cursor = Cursor::of_last_row(&response.body, names)?;
        if before == Some(&cursor) {
            return Err(Error::invalid(
                "a page ended where it began: the key is not unique, or the server ignores the filter",
            ));
        }
        let rows_may_follow = cursor.after(&self.keys).is_some();
        Ok(rows_may_follow.then_some(cursor))
    }
}

debug_by!(read, Keyset<T, V, C>);

call_options!(<T, V, C> Keyset, read.query.options);
