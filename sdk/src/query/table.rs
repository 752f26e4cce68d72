//! A table of a client: the start of every read and write.

use std::future::IntoFuture;
use std::marker::PhantomData;

use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{
    Change, Context, Deleting, Endpoint, Execute, Inserting, Keyset, List, NeedsFilter, Patch,
    Query, Read, Updating, Upserting, Write,
};
use crate::error::Error;
use crate::grammar::{IntoFilter, IntoOrder, Nested, Select, Selection, ShapeOf};
use crate::request::{Count, Page};
use crate::schema::{Any, Assignable, Column, Operand, Table};

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
    /// PostgREST reference: "Schemas".
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.endpoint.schema = Some(schema.into());
        self
    }

    /// Begins a read.
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
    /// PostgREST reference: "Insert", "Bulk Insert", "Specifying Columns".
    pub fn insert<R: Serialize>(self, rows: &[R]) -> Write<'_, T, R, Inserting, C> {
        Write::new(self.context, self.endpoint, rows, false)
    }

    /// Inserts rows, and updates those that exist already. Exactly the columns that a row
    /// serializes are written.
    ///
    /// PostgREST reference: "Upsert".
    pub fn upsert<R: Serialize>(self, rows: &[R]) -> Write<'_, T, R, Upserting, C> {
        Write::new(self.context, self.endpoint, rows, true)
    }

    /// Sets columns of the rows that match a filter: exactly those that `patch` serializes. A field
    /// that can be left out, null or a value is a [`Tristate`](crate::Tristate).
    ///
    /// PostgREST reference: "Update".
    pub fn update(self, patch: &(impl Serialize + ?Sized)) -> Change<T, Updating, NeedsFilter, C> {
        Change::update(self.context, self.endpoint, Patch::of(patch))
    }

    /// Sets a column of the rows that match a filter. [`Change::set`] sets more.
    pub fn set<W, N>(
        self,
        column: Column<T, W, N>,
        value: impl Assignable<T, W, N>,
    ) -> Change<T, Updating, NeedsFilter, C> {
        Change::update(self.context, self.endpoint, Ok(Patch::default())).set(column, value)
    }

    /// Deletes the rows that match a filter.
    ///
    /// PostgREST reference: "Delete".
    pub fn delete(self) -> Change<T, Deleting, NeedsFilter, C> {
        Change::delete(self.context, self.endpoint)
    }
}

impl<T, V: DeserializeOwned, C: Execute> TableRef<T, V, C> {
    /// As [`Read::fetch`].
    ///
    /// # Errors
    ///
    /// As for [`Read::fetch`].
    pub async fn fetch(self) -> Result<Page<V>, Error> {
        self.read().fetch().await
    }

    /// As [`Read::maybe_one`].
    ///
    /// # Errors
    ///
    /// As for [`Read::maybe_one`].
    pub async fn maybe_one(self) -> Result<Option<V>, Error> {
        self.read().maybe_one().await
    }

    /// As [`Read::exactly_one`].
    ///
    /// # Errors
    ///
    /// As for [`Read::exactly_one`].
    pub async fn exactly_one(self) -> Result<V, Error> {
        self.read().exactly_one().await
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
