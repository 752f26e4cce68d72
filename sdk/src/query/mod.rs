//! Reads, changes and calls: their builders, what these are made of, and what they return.
//!
//! A [`TableRef`] begins a [`Read`], a [`List`] (`filter_in`), a [`Keyset`], a
//! [`Write`](crate::write::Write) or a [`Change`]; a function begins an [`Rpc`]. A [`Filter`], an
//! [`Order`] and a [`Selection`] say which rows, in which order, with which columns.

/// Implements `Debug` for a builder by one of its fields, without a bound on its type parameters.
macro_rules! debug_by {
    ($($field:ident).+, $kind:ident<$($parameter:tt),+>) => {
        impl<$($parameter),+> std::fmt::Debug for $kind<$($parameter),+> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_tuple(stringify!($kind)).field(&self.$($field).+).finish()
            }
        }
    };
}

#[macro_use]
mod options;

mod change;
mod csv;
mod execute;
mod export;
mod keyset;
mod learned;
mod list;
mod offline;
mod read;
mod rollback;
pub(crate) mod rpc;
mod table;
mod whole;
pub(crate) mod write;

use std::borrow::Cow;

use http::Method;

use crate::error::Error;
use crate::grammar::{Key, Params, Tree, Window};
use crate::request::{Draft, Format, LONG_LIST, Options, Path};
use crate::schema::{Any, Column, ColumnInfo, Table};

pub use change::{Change, ChangeReturning, Deleting, HasFilter, NeedsFilter, Updating};
pub use execute::{CallDefaults, Context, Execute};
pub use keyset::Keyset;
pub use learned::Learned;
pub use list::List;
pub use offline::Offline;
pub use read::Read;
pub use rpc::Rpc;
pub use table::TableRef;

pub use crate::grammar::{
    Embed, Embedding, Expression, Filter, IntoFilter, IntoOrder, Nested, Nullability, Order,
    Patterns, Reads, Relation, Search, Select, Selection, ShapeOf, relation,
};
pub use crate::request::{
    Body, Call, Count, Explain, Handling, Outcome, Page, Response, RetryPolicy, Safety,
};

/// A table or a function: its path and schema.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    path: Path,
    pub(crate) schema: Option<String>,
    /// The primary key as an order, if the table's type names it.
    pub(crate) primary_key: Vec<Key>,
}

impl Endpoint {
    pub(crate) fn table(name: impl Into<Cow<'static, str>>) -> Self {
        Self {
            path: Path::Table(name.into()),
            schema: None,
            primary_key: Vec::new(),
        }
    }

    pub(crate) fn of<T: Table>() -> Self {
        let columns = T::COLUMNS.iter().filter(|column| column.primary_key);
        let key = |column: &ColumnInfo| Column::<T, Any>::new(column.name).asc().key;
        Self {
            schema: T::SCHEMA.map(str::to_owned),
            primary_key: columns.map(key).collect(),
            ..Self::table(T::NAME)
        }
    }

    pub(crate) fn function(name: impl Into<Cow<'static, str>>, schema: Option<&str>) -> Self {
        Self {
            path: Path::Function(name.into()),
            schema: schema.map(str::to_owned),
            primary_key: Vec::new(),
        }
    }
}

/// Which rows of an endpoint, which of their columns, in which order and how many.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    pub(crate) endpoint: Endpoint,
    pub(crate) selection: Option<Selection>,
    pub(crate) window: Window,
    pub(crate) nested: Vec<Nested<Any, Any>>,
    pub(crate) options: Options,
}

impl Query {
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            selection: None,
            window: Window::default(),
            nested: Vec::new(),
            options: Options::default(),
        }
    }

    pub(crate) fn filter(&mut self, tree: Tree) {
        self.window.filters.push(tree);
    }

    /// Begins a request for this query. Refuses what the grammar cannot express.
    pub(crate) fn draft(
        &self,
        method: Method,
        safety: Safety,
        format: Format,
        default_schema: Option<&str>,
    ) -> Result<Draft, Error> {
        self.validate()?;
        let mut draft = Draft::new(method, self.endpoint.path.clone(), safety);
        draft.params = self.params();
        draft.schema = self
            .endpoint
            .schema
            .clone()
            .or_else(|| default_schema.map(str::to_owned));
        draft.format = format;
        draft.options = self.options.clone();
        Ok(draft)
    }

    /// As [`draft`](Self::draft) and `build`. A URL that common gateways do not take is refused.
    pub(crate) fn checked(draft: Draft, url_bytes: usize) -> Result<Call, Error> {
        let call = draft.build()?;
        let target = call.request.uri().path_and_query();
        let bytes = target.map_or(0, |target| target.as_str().len());
        if bytes <= url_bytes {
            return Ok(call);
        }
        Err(Error::invalid(format!(
            "a URL of {bytes} bytes is not sent, because it is longer than `url_bytes` ({url_bytes}), and gateways take about 8,000; {LONG_LIST}"
        )))
    }

    fn validate(&self) -> Result<(), Error> {
        self.window.validate()?;
        self.nested.iter().try_for_each(Nested::validate)?;
        self.selection.iter().try_for_each(Selection::validate)
    }

    fn params(&self) -> Params {
        let mut params = Params::default();
        if let Some(selection) = &self.selection {
            params.push("select", selection.to_string());
        }
        self.window.write_filters("", &mut params);
        for nested in &self.nested {
            nested.write(&mut params);
        }
        self.window.write_order("", &mut params);
        params
    }
}
