//! A table of a client: the start of every read and write.

use std::future::IntoFuture;
use std::marker::PhantomData;

use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::rollback;
use super::write::{Inserting, Many, One, Upserting, Write, WriteStream};
use super::{
    Change, Context, Deleting, Endpoint, Execute, Keyset, List, NeedsFilter, Query, Read, Updating,
};
use crate::error::Error;
use crate::grammar::{IntoFilter, IntoOrder, Nested, Select, Selection, ShapeOf};
use crate::request::{Count, Page};
use crate::schema::{Any, Column, Operand, Table};

/// A table of a client: [`Client::from`](crate::Client::from) and
/// [`Client::table`](crate::Client::table) return it.
///
/// Awaiting it reads its rows. It has the methods of [`Read`].
#[must_use = "a table does nothing until it is read or written"]
pub struct TableRef<T, V, C> {
    context: C,
    endpoint: Endpoint,
    selection: Option<Selection>,
    marker: PhantomData<fn() -> (T, V)>,
}

impl<T, V, C> TableRef<T, V, C>
where
    T: Table,
    V: Select<From = T>,
    C: Context,
{
    pub(crate) fn typed(context: C) -> Self {
        let selection = Some(V::selection());
        Self {
            context,
            endpoint: Endpoint::of::<T>(),
            selection,
            marker: PhantomData,
        }
    }
}

impl<C: Context> TableRef<Any, serde_json::Value, C> {
    pub(crate) fn untyped(context: C, name: &str) -> Self {
        Self {
            context,
            endpoint: Endpoint::table(name.to_owned()),
            selection: None,
            marker: PhantomData,
        }
    }
}

impl<T, V, C: Context> TableRef<T, V, C> {
    /// The same table in another schema.
    ///
    /// ```
    /// # use sluice_sdk::{Offline, col}; let posts = Offline::default().table("posts");
    /// let call = posts.schema("archive").read().call()?;
    /// assert_eq!(call.request.headers()["accept-profile"], "archive");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `select * from archive.posts`.
    ///
    /// PostgREST reference: "Schemas".
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.endpoint.schema = Some(schema.into());
        self
    }

    /// Begins a read.
    ///
    /// ```
    /// # use sluice_sdk::{Offline, col}; let posts = Offline::default().table("posts");
    /// let call = posts.read().call()?;
    /// assert_eq!(call.request.uri(), "/posts");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `select * from posts`.
    pub fn read(self) -> Read<T, V, C> {
        let mut query = Query::new(self.endpoint);
        query.selection = self.selection;
        Read::new(self.context, query)
    }

    /// As [`Read::select`].
    pub fn select<W: ShapeOf<T>>(self) -> Read<T, W, C> {
        self.read().select()
    }

    /// As [`Read::selection`].
    pub fn selection(self, selection: Selection) -> Read<T, V, C> {
        self.read().selection(selection)
    }

    /// As [`Read::rows`].
    pub fn rows<W>(self) -> Read<T, W, C> {
        self.read().rows()
    }

    /// As [`Read::filter`].
    pub fn filter(self, filter: impl IntoFilter<T>) -> Read<T, V, C> {
        self.read().filter(filter)
    }

    /// As [`Read::embed`].
    pub fn embed<U>(self, nested: Nested<T, U>) -> Read<T, V, C> {
        self.read().embed(nested)
    }

    /// As [`Read::order`].
    pub fn order(self, order: impl IntoOrder<T>) -> Read<T, V, C> {
        self.read().order(order)
    }

    /// As [`Read::limit`].
    pub fn limit(self, limit: u64) -> Read<T, V, C> {
        self.read().limit(limit)
    }

    /// As [`Read::offset`].
    pub fn offset(self, offset: u64) -> Read<T, V, C> {
        self.read().offset(offset)
    }

    /// As [`Read::count`].
    pub fn count(self, count: Count) -> Read<T, V, C> {
        self.read().count(count)
    }

    /// As [`Read::filter_in`].
    pub fn filter_in<W, N>(
        self,
        column: Column<T, W, N>,
        values: impl IntoIterator<Item = impl Operand<W, T>>,
    ) -> List<T, V, C> {
        self.read().filter_in(column, values)
    }

    /// As [`Read::keyset`].
    pub fn keyset(self, keys: impl IntoOrder<T>) -> Keyset<T, V, C> {
        self.read().keyset(keys)
    }

    /// Inserts rows. A row that exists already (by a unique constraint) is refused.
    ///
    /// ```
    /// use sluice_sdk::{Offline, serde_json::json};
    ///
    /// let rows = [json!({"id": 1}), json!({"id": 2})];
    /// let calls = Offline::default().table("posts").insert(&rows).calls()?;
    /// assert_eq!(calls[0].request.uri(), "/posts?columns=id");
    /// assert_eq!(calls[0].request.body(), r#"[{"id":1},{"id":2}]"#);
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `insert into posts (id) values (1), (2)`.
    ///
    /// PostgREST reference: "Insert", "Bulk Insert", "Specifying Columns".
    pub fn insert<R: Serialize>(self, rows: &[R]) -> Write<'_, T, R, Inserting, Many, C> {
        Write::new(self.context, self.endpoint, rows, false)
    }

    /// Inserts one row. Awaiting it returns nothing; add `.returning::<V>()` to read what the database
    /// stored.
    ///
    /// ```no_run
    /// # use sluice_sdk::{Client, Error, Table, serde::{Deserialize, Serialize}};
    /// # #[derive(Table, Serialize, Deserialize)] #[serde(crate = "sluice_sdk::serde")]
    /// # #[table(name = "posts")] struct Post { #[table(primary_key)] id: i64, text: String }
    /// # async fn run(db: Client, post: Post) -> Result<(), Error> {
    /// let stored = db.from::<Post>().insert_one(&post).returning::<Post>().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// Request: `POST /posts?columns=id,text&select=id,text`. SQL: `insert into posts (id, text)
    /// values (…) returning id, text`.
    pub fn insert_one<R: Serialize>(self, row: &R) -> Write<'_, T, R, Inserting, One, C> {
        Write::new(
            self.context,
            self.endpoint,
            std::slice::from_ref(row),
            false,
        )
    }

    /// Inserts rows, and updates those that exist already. Exactly the columns that a row
    /// serializes are written.
    ///
    /// SQL: `insert into posts (…) values … on conflict (…) do update set …`.
    ///
    /// ```
    /// # use sluice_sdk::{Offline, col, serde_json::json}; let posts = Offline::default().table("posts");
    /// let rows = [json!({"id": 1, "text": "hail"})];
    /// let calls = posts.upsert(&rows).on_conflict(col("id")).calls()?;
    /// assert_eq!(calls[0].request.uri(), "/posts?on_conflict=id&columns=id,text");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// PostgREST reference: "Upsert".
    pub fn upsert<R: Serialize>(self, rows: &[R]) -> Write<'_, T, R, Upserting, Many, C> {
        Write::new(self.context, self.endpoint, rows, true)
    }

    /// Inserts one row, or updates it if it exists already: see [`insert_one`](Self::insert_one).
    ///
    /// ```
    /// # use sluice_sdk::{Offline, col, serde_json::json}; let posts = Offline::default().table("posts");
    /// let row = json!({"id": 1, "text": "hail"});
    /// let calls = posts.upsert_one(&row).on_conflict(col("id")).calls()?;
    /// assert_eq!(calls[0].request.uri(), "/posts?on_conflict=id&columns=id,text");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `insert into posts … on conflict (id) do update set id = excluded.id, text =
    /// excluded.text`.
    pub fn upsert_one<R: Serialize>(self, row: &R) -> Write<'_, T, R, Upserting, One, C> {
        Write::new(self.context, self.endpoint, std::slice::from_ref(row), true)
    }

    /// Sets columns of the rows that match a filter: one by one by [`Change::set`], or those that a
    /// struct serializes by [`Change::patch`].
    ///
    /// ```
    /// use sluice_sdk::{Offline, col};
    ///
    /// let table = Offline::default().table("posts");
    /// let call = table.update().set(col("text"), "hail").filter(col("id").eq(1)).call()?;
    /// assert_eq!((call.request.method().as_str(), call.request.uri().to_string().as_str()),
    ///     ("PATCH", "/posts?id=eq.1&columns=text"));
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `update posts set text = 'hail' where id = 1`.
    ///
    /// PostgREST reference: "Update".
    pub fn update(self) -> Change<T, Updating, NeedsFilter, C> {
        Change::update(self.context, self.endpoint)
    }

    /// Inserts the rows of a stream: see [`WriteStream`].
    ///
    /// ```no_run
    /// # use sluice_sdk::{Client, Error};
    /// # use sluice_sdk::{col, serde_json::json}; use sluice_sdk::futures_util::stream;
    /// # async fn run(db: Client) -> Result<(), Error> {
    /// let rows = stream::iter((0..9).map(|id| Ok::<_, std::io::Error>(json!({"id": id}))));
    /// let report = db.table("posts").insert_stream(rows).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// Request: `POST /posts?columns=id`. SQL: `insert into posts (id) values …`.
    pub fn insert_stream<S>(self, rows: S) -> WriteStream<T, S, Inserting, C> {
        WriteStream::new(self.context, self.endpoint, rows, false)
    }

    /// Upserts the rows of a stream: see [`WriteStream`].
    ///
    /// ```no_run
    /// # use sluice_sdk::{Client, Error};
    /// # use sluice_sdk::{col, serde_json::json}; use sluice_sdk::futures_util::stream;
    /// # async fn run(db: Client) -> Result<(), Error> {
    /// let rows = stream::iter((0..9).map(|id| Ok::<_, std::io::Error>(json!({"id": id}))));
    /// let report = db.table("posts").upsert_stream(rows).on_conflict(col("id")).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// Request: `POST /posts?on_conflict=id&columns=id`. SQL: `insert into posts (id) values … on
    /// conflict (id) do update set id = excluded.id`.
    pub fn upsert_stream<S>(self, rows: S) -> WriteStream<T, S, Upserting, C> {
        WriteStream::new(self.context, self.endpoint, rows, true)
    }

    /// Deletes the rows that match a filter.
    ///
    /// ```
    /// # use sluice_sdk::{Offline, col}; let posts = Offline::default().table("posts");
    /// let call = posts.delete().filter(col("id").eq(1)).call()?;
    /// assert_eq!(call.request.uri(), "/posts?id=eq.1");
    /// assert_eq!(call.request.method(), "DELETE");
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    ///
    /// SQL: `delete from posts where id = 1`.
    ///
    /// PostgREST reference: "Delete".
    pub fn delete(self) -> Change<T, Deleting, NeedsFilter, C> {
        Change::delete(self.context, self.endpoint)
    }
}

impl<T, V: DeserializeOwned, C: Execute> TableRef<T, V, C> {
    /// As [`Read::page`].
    ///
    /// # Errors
    ///
    /// As for [`Read::page`].
    pub async fn page(self) -> Result<Page<V>, Error> {
        self.read().page().await
    }

    /// Whether the server rolls back a [dry run](Change::dry_run), asked by a read of no rows. The
    /// client remembers it.
    ///
    /// ```no_run
    /// # use sluice_sdk::{Client, Error};
    /// # async fn run(db: Client) -> Result<(), Error> {
    /// let rolls_back = db.table("posts").rolls_back().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// Request: `GET /posts?limit=0`. SQL: `begin; select * from posts limit 0; rollback`.
    ///
    /// # Errors
    ///
    /// Every failure of the call.
    pub async fn rolls_back(self) -> Result<bool, Error> {
        rollback::ask(&self.context, &self.endpoint).await
    }

    /// As [`Read::maybe_single`].
    ///
    /// # Errors
    ///
    /// As for [`Read::maybe_single`].
    pub async fn maybe_single(self) -> Result<Option<V>, Error> {
        self.read().maybe_single().await
    }

    /// As [`Read::single`].
    ///
    /// # Errors
    ///
    /// As for [`Read::single`].
    pub async fn single(self) -> Result<V, Error> {
        self.read().single().await
    }

    /// As [`Read::count_rows`].
    ///
    /// # Errors
    ///
    /// As for [`Read::count_rows`].
    pub async fn count_rows(self, count: Count) -> Result<u64, Error> {
        self.read().count_rows(count).await
    }
}

impl<T, V, C> IntoFuture for TableRef<T, V, C>
where
    T: 'static,
    V: DeserializeOwned + Send + 'static,
    C: Execute,
{
    type Output = Result<Vec<V>, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.read().into_future()
    }
}

debug_by!(endpoint, TableRef<T, V, C>);
