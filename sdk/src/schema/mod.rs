//! Tables, columns and functions as types, and the values that columns hold.

mod capability;
mod column;
mod marker;
mod tristate;
mod value;

pub use capability::{ArrayLike, CanBeNull, JsonLike, RangeLike, Searchable, TextLike};
pub(crate) use column::Target;
pub use column::{Column, col};
pub use marker::{Any, NotNull, Nullable};
pub use tristate::{Assignable, Tristate};
#[cfg(feature = "bytes")]
pub use value::Bytea;
#[cfg(feature = "pgvector")]
pub use value::Vector;
pub use value::{Element, Operand, Operands, Quantified, Range, Value, all, any};
pub(crate) use value::{Quantifier, Scalar, array_of};

/// A table or view, as a Rust type. Derive it: see [`derive@crate::Table`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a table",
    note = "derive it: `#[derive(Table)] #[table(name = \"…\")]`; for a table without a type use `db.table(\"…\")`"
)]
pub trait Table: Send + Sync + 'static {
    /// The table's name in the database.
    const NAME: &'static str;
    /// The schema it is in, if that is not the client's.
    const SCHEMA: Option<&'static str> = None;
    /// The columns, in the order of the fields.
    const COLUMNS: &'static [ColumnInfo];
}

/// A column at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ColumnInfo {
    /// The column's name.
    pub name: &'static str,
    /// Whether it can be null.
    pub nullable: bool,
    /// Whether it belongs to the primary key.
    pub primary_key: bool,
}

impl ColumnInfo {
    /// Describes a column; the derive calls this.
    pub const fn new(name: &'static str, nullable: bool, primary_key: bool) -> Self {
        Self {
            name,
            nullable,
            primary_key,
        }
    }
}

/// A function of the database with its arguments, as a Rust type. Derive it: see
/// [`derive@crate::Function`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a function of the database",
    note = "derive it: `#[derive(Serialize, Function)] #[function(name = \"…\", returns = …)]`; for a function without a type use `db.rpc_by_name(\"…\", &args)`"
)]
pub trait Function: serde::Serialize + Send + Sync {
    /// The function's name in the database.
    const NAME: &'static str;
    /// The schema it is in, if that is not the client's.
    const SCHEMA: Option<&'static str> = None;
    /// Whether it is stable or immutable, so that calling it again cannot change anything.
    const READ_ONLY: bool = false;
    /// Whether it returns a set of rows, which the server's row limit can cut. The derive looks for a
    /// `Vec`.
    const RETURNS_SET: bool = false;
    /// What it returns: `()` for void, `Vec<Row>` for a set of rows, `Option<Row>` for a row that
    /// may be absent.
    type Output: Send + 'static;
}

/// A [`Function`] that only reads, so that it may be called by GET. The derive implements it for
/// `#[function(read_only)]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not marked as a function that only reads",
    note = "add `read_only` to its `#[function(…)]`, if it is stable or immutable in the database"
)]
pub trait ReadOnly: Function {}

/// The result of a function that returns a set of rows, so that it can be filtered, ordered and
/// limited.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a set of rows: filters, order and limits need `returns = Vec<…>`"
)]
pub trait Rows {
    /// One row of the set.
    type Row;
}

impl<R> Rows for Vec<R> {
    type Row = R;
}
