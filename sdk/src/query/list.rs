//! Lists of values that are too long for one URL.

use std::collections::HashSet;
use std::future::IntoFuture;

use futures_util::future::BoxFuture;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::de::DeserializeOwned;

use super::{Context, Execute, Read, whole};
use crate::error::Error;
use crate::grammar::{IntoFilter, IntoOrder};
use crate::grammar::{Nested, Selection, ShapeOf};
use crate::quote;
use crate::request::{Count, Page};
use crate::schema::{Any, Column, Nullable, Operand, Scalar};

/// A read of the rows whose column is one of any number of values. Awaiting it returns a `Vec`.
///
/// The values are deduplicated and split by the length of the encoded URL. A few requests run at
/// once, and the rows are in the order of the values' chunks. If the server's row limit cuts a
/// response, the rest of its rows is read too. So every row is returned exactly once, as long as
/// nobody writes meanwhile. Without values there is no request and no row.
///
/// A read with a limit, an offset or an aggregate is refused, because it would apply to each
/// request and not to the whole.
///
/// ```
/// use sluice_sdk::{Offline, col};
///
/// let slugs = (0..1_000).map(|number| format!("quarter, ({number})"));
/// let reads = Offline::default().table("neighborhoods").filter_in(col("slug"), slugs).reads()?;
/// assert_eq!(reads.len(), 4);
/// let longest = reads.iter().map(|read| read.call().unwrap().request.uri().to_string().len()).max();
/// assert!(longest <= Some(7_000));
/// # Ok::<(), sluice_sdk::Error>(())
/// ```
///
/// PostgREST reference: "Operators" (`in`).
#[must_use = "a read does nothing until it is awaited"]
pub struct List<T, V, C> {
    read: Read<T, V, C>,
    column: Column<T, Any, Nullable>,
    values: Vec<Scalar>,
}

impl<T, V, C: Context> Read<T, V, C> {
    /// Keeps the rows whose `column` is one of `values`, of which there may be any number: see
    /// [`List`].
    ///
    /// ```
    /// # use sluice_sdk::{Offline, col}; let posts = Offline::default().table("posts");
    /// let reads = posts.filter_in(col("id"), [1, 2, 2]).reads()?;
    /// assert_eq!(reads[0].call()?.request.uri(), "/posts?id=in.(1,2)");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `select * from posts where id in (1, 2)`.
    pub fn filter_in<W, N>(
        self,
        column: Column<T, W, N>,
        values: impl IntoIterator<Item = impl Operand<W, T>>,
    ) -> List<T, V, C> {
        let scalars = values.into_iter().map(Operand::into_scalar).collect();
        List::new(self, column, scalars)
    }
}

impl<T, V, C: Context> List<T, V, C> {
    pub(crate) fn new<W, N>(
        read: Read<T, V, C>,
        column: Column<T, W, N>,
        values: Vec<Scalar>,
    ) -> Self {
        let column = column.retyped();
        Self {
            read,
            column,
            values: deduplicated(values),
        }
    }

    /// Reads rows of the shape `W` instead.
    ///
    /// ```
    /// # use sluice_sdk::{Client, Error, Offline, Select, Table, col, serde::{Deserialize, Serialize}};
    /// # #[derive(Table, Serialize, Deserialize)] #[serde(crate = "sluice_sdk::serde")] #[table(name = "posts")]
    /// # struct Post { #[table(primary_key)] id: i64, text: String }
    /// # #[derive(Select, Deserialize)] #[serde(crate = "sluice_sdk::serde")] #[select(from = Post)]
    /// # struct Title { text: String }
    /// let reads = Offline::default().from::<Post>().filter_in(Post::ID, [1, 2]).select::<Title>().reads()?;
    /// assert_eq!(reads[0].call()?.request.uri(), "/posts?select=text&id=in.(1,2)");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `select text from posts where id in (1, 2)`.
    pub fn select<W: ShapeOf<T>>(self) -> List<T, W, C> {
        List {
            read: self.read.select(),
            column: self.column,
            values: self.values,
        }
    }

    /// Reads each row into `W`, with the same columns.
    ///
    /// ```
    /// # use sluice_sdk::{Offline, col}; let posts = Offline::default().table("posts");
    /// let reads = posts.filter_in(col("id"), [1, 2, 2]).rows::<(i64, String)>().reads()?;
    /// assert_eq!(reads[0].call()?.request.uri(), "/posts?id=in.(1,2)");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `select * from posts where id in (1, 2)`.
    pub fn rows<W>(self) -> List<T, W, C> {
        List {
            read: self.read.rows(),
            column: self.column,
            values: self.values,
        }
    }

    /// Keeps the rows that match this filter too.
    ///
    /// ```
    /// # use sluice_sdk::{Offline, col}; let posts = Offline::default().table("posts");
    /// let reads = posts.filter_in(col("id"), [1, 2, 2]).filter(col("url").is_null()).reads()?;
    /// assert_eq!(reads[0].call()?.request.uri(), "/posts?url=is.null&id=in.(1,2)");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `select * from posts where url is null and id in (1, 2)`.
    pub fn filter(mut self, filter: impl IntoFilter<T>) -> Self {
        self.read = self.read.filter(filter);
        self
    }

    /// Filters, orders or limits the rows of an embedded relation.
    ///
    /// ```
    /// # use sluice_sdk::{Offline, col}; let posts = Offline::default().table("posts");
    /// # use sluice_sdk::query::relation;
    /// let reads = posts.filter_in(col("id"), [1, 2, 2]).embed(relation("comments").limit(3)).reads()?;
    /// assert_eq!(reads[0].call()?.request.uri(), "/posts?id=in.(1,2)&comments.limit=3");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `select p.*, (select json_agg(c) from (select * from comments where post_id = p.id
    /// limit 3) c) from posts p where id in (1, 2)`.
    pub fn embed<U>(mut self, nested: Nested<T, U>) -> Self {
        self.read = self.read.embed(nested);
        self
    }

    /// Orders the rows of each request, not of all together. For a table without a known primary
    /// key, order by a unique key: this is needed to read on if the server cuts a response.
    ///
    /// ```
    /// # use sluice_sdk::{Offline, col}; let posts = Offline::default().table("posts");
    /// let reads = posts.filter_in(col("id"), [1, 2, 2]).order_within(col("id").asc()).reads()?;
    /// assert_eq!(reads[0].call()?.request.uri(), "/posts?id=in.(1,2)&order=id.asc");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `select * from posts where id in (1, 2) order by id`.
    pub fn order_within(mut self, order: impl IntoOrder<T>) -> Self {
        self.read = self.read.order(order);
        self
    }

    /// The reads, one for each chunk of values, in order.
    ///
    /// ```
    /// # use sluice_sdk::{Offline, col}; let posts = Offline::default().table("posts");
    /// let reads = posts.filter_in(col("id"), [1, 2, 2]).reads()?;
    /// assert_eq!(reads[0].call()?.request.uri(), "/posts?id=in.(1,2)");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `select * from posts where id in (1, 2)`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::error::ErrorKind::Invalid) if the read has a limit, an offset or an
    /// aggregate, or if the grammar cannot express it.
    pub fn reads(&self) -> Result<Vec<Read<T, V, C>>, Error> {
        let query = &self.read.query;
        if query.window.limit.is_some() || query.window.offset.is_some() {
            return Err(Error::invalid(
                "a limit or an offset of a split list would apply to each request; remove it, and limit the rows that come back",
            ));
        }
        if query
            .selection
            .as_ref()
            .is_some_and(Selection::has_aggregates)
        {
            return Err(Error::invalid(
                "an aggregate of a split list would be computed for each request; read the rows, and aggregate them yourself",
            ));
        }
        let uri_bytes =
            |read: &Read<T, V, C>| read.call().map(|call| call.request.uri().to_string().len());
        let column = quote::query_len(&self.column.clone().target().to_string()) + "&=in.()".len();
        let taken = uri_bytes(&self.read)? + column;
        let room = self.read.context.defaults().url_bytes.saturating_sub(taken);
        let chunks = split(&self.values, room);
        Ok(chunks
            .into_iter()
            .map(|chunk| self.read_of(chunk))
            .collect())
    }

    fn read_of(&self, chunk: &[Scalar]) -> Read<T, V, C> {
        let mut read = self.read.clone();
        read.is_piece = true;
        read.filter(self.column.clone().list(chunk.to_vec()))
    }
}

impl<T, V, C> List<T, V, C>
where
    T: 'static,
    V: DeserializeOwned + Send + 'static,
    C: Execute,
{
    /// Reads the rows with their total number.
    ///
    /// ```no_run
    /// # use sluice_sdk::{Client, Error, col};
    /// # async fn run(db: Client) -> Result<(), Error> {
    /// let page = db.table("posts").filter_in(col("id"), 1..=9_000).page().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// Request: `GET /posts?id=in.(1,2,…)`, as often as the length of the URL makes necessary. SQL:
    /// `select * from posts where id in (1, 2, …)`.
    ///
    /// # Errors
    ///
    /// As for [`reads`](Self::reads), and the first failure of a request.
    pub async fn page(self) -> Result<Page<V>, Error> {
        let concurrency = self.read.context.defaults().concurrency.max(1);
        let reads = self.reads()?;
        let pages: Vec<Vec<V>> = stream::iter(reads.into_iter().map(every_row))
            .buffered(concurrency)
            .try_collect()
            .await?;
        let rows: Vec<V> = pages.into_iter().flatten().collect();
        let total = Some(rows.len() as u64);
        Ok(Page {
            rows,
            first: None,
            total,
            more: Some(false),
        })
    }
}

impl<T, V, C> IntoFuture for List<T, V, C>
where
    T: 'static,
    V: DeserializeOwned + Send + 'static,
    C: Execute,
{
    type Output = Result<Vec<V>, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { Ok(self.page().await?.rows) })
    }
}

debug_by!(read, List<T, V, C>);

call_options!(<T, V, C> List, read.query.options);

/// Reads every row of one chunk. A count shows whether the server cut the response. If it did, the
/// chunk is read by offset, in the order of a unique key.
async fn every_row<T, V, C>(read: Read<T, V, C>) -> Result<Vec<V>, Error>
where
    T: 'static,
    V: DeserializeOwned + Send + 'static,
    C: Execute,
{
    let mut read = read.count(Count::Exact);
    let first = read.clone().fetch().await?;
    let mut rows = first.rows;
    let total = first.total.unwrap_or(rows.len() as u64);
    if (rows.len() as u64) < total && read.query.window.keys.is_empty() {
        read.query
            .window
            .keys
            .clone_from(&read.query.endpoint.primary_key);
        if read.query.window.keys.is_empty() {
            let way_out = "the rest cannot be read without an order; declare the table's primary key, or order by a unique key with `order_within`";
            return Err(whole::truncated(rows.len() as u64, way_out));
        }
        rows.clear();
    }
    while (rows.len() as u64) < total {
        let page = read.clone().offset(rows.len() as u64).fetch().await?;
        if page.rows.is_empty() {
            // Rows were deleted since they were counted.
            break;
        }
        rows.extend(page.rows);
    }
    Ok(rows)
}

pub(super) fn deduplicated(values: Vec<Scalar>) -> Vec<Scalar> {
    let mut seen = HashSet::with_capacity(values.len());
    values
        .into_iter()
        .filter(|value| seen.insert(value.text.clone()))
        .collect()
}

/// Splits values so that the encoded list of each chunk fits into `room` bytes. A longer value goes
/// alone.
pub(super) fn split(values: &[Scalar], room: usize) -> Vec<&[Scalar]> {
    let mut chunks = Vec::new();
    let (mut start, mut used) = (0, 0);
    for (position, value) in values.iter().enumerate() {
        let bytes = encoded_len(value) + ",".len();
        if position > start && used + bytes > room {
            chunks.extend(values.get(start..position));
            (start, used) = (position, 0);
        }
        used += bytes;
    }
    if start < values.len() {
        chunks.extend(values.get(start..));
    }
    chunks
}

fn encoded_len(value: &Scalar) -> usize {
    if value.bare {
        return quote::query_len(&value.text);
    }
    let mut quoted = String::with_capacity(value.text.len() + 2);
    quote::quoted(&value.text, &mut quoted);
    quote::query_len(&quoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalars(texts: &[&str]) -> Vec<Scalar> {
        texts.iter().map(Scalar::of).collect()
    }

    #[test]
    fn a_value_is_requested_once() {
        let values = deduplicated(scalars(&["b", "a", "b", ""]));
        let texts: Vec<&str> = values.iter().map(|value| value.text.as_str()).collect();
        assert_eq!(texts, ["b", "a", ""]);
    }

    #[test]
    fn chunks_fit_and_keep_every_value_in_order() {
        // Each of these is `%22xxxx%22,` when encoded: 11 bytes.
        let values = scalars(&["aaaa", "bbbb", "cccc", "dddd", "eeee"]);
        let sizes: Vec<usize> = split(&values, 22).iter().map(|chunk| chunk.len()).collect();
        assert_eq!(sizes, [2, 2, 1]);
        assert_eq!(split(&values, 22).concat().len(), 5);
        assert_eq!(
            split(&values, 3).len(),
            5,
            "a value that does not fit goes alone"
        );
        assert!(split(&[], 10).is_empty());
    }
}
