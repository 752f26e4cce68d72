//! Builders of calls, and the query that they share: which rows, which columns, in which order.

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

mod change;
mod execute;
mod json_keys;
mod keyset;
mod list;
mod offline;
mod read;
pub(crate) mod rpc;
mod table;
mod write;

use std::borrow::Cow;

use http::Method;

use crate::error::Error;
use crate::grammar::{Key, Nested, Params, Selection, Tree, Window};
use crate::request::{Draft, Format, Path, Prefer, Safety};
use crate::schema::{Any, Column, ColumnInfo, Table};

pub(crate) use change::Patch;
pub use change::{Change, ChangeReturning, Deleting, HasFilter, NeedsFilter, Updating};
pub use execute::{CallDefaults, Context, Execute};
pub use keyset::Keyset;
pub use list::List;
pub use offline::Offline;
pub use read::Read;
pub use rpc::Rpc;
pub use table::TableRef;
pub use write::{Checkpoint, Inserting, IntoColumns, Upserting, Write, WriteReturning};

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
    pub(crate) prefer: Prefer,
}

impl Query {
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            selection: None,
            window: Window::default(),
            nested: Vec::new(),
            prefer: Prefer::default(),
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
        draft.prefer = self.prefer.clone();
        Ok(draft)
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
