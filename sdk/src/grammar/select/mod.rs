//! What a read returns of a row: columns, casts, aggregates and embedded rows.

mod embedding;
mod expression;
mod selection;

use crate::schema::{Column, NotNull};

pub use embedding::Embedding;
pub use expression::Expression;
pub use selection::Selection;

/// A row shape of a table: the columns and embedded rows to read. Derive it: see
/// [`derive@crate::Select`]. Every [`Table`](crate::Table) is its own row shape.
///
/// PostgREST reference: "Vertical Filtering".
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say which columns to read",
    note = "derive it: `#[derive(Select)] #[select(from = …)]`; to read rows without one use `.rows::<…>()`"
)]
pub trait Select: Send + 'static {
    /// The table it is read from.
    type From;

    /// The columns and embedded rows to read.
    fn selection() -> Selection;
}

/// A row shape of the table `T`: a [`Select`] whose `From` is `T`. The derive implements it. The
/// trait exists for its message, which a shape of another table gets.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a row shape of `{T}`",
    label = "not read from `{T}`",
    note = "derive one: `#[derive(Select)] #[select(from = {T})]`; to read rows without one use `.rows::<…>()`"
)]
pub trait ShapeOf<T>: Select<From = T> {}

/// What a field for embedded rows can hold: `V` or `Option<V>` for one row, `Vec<V>` for many.
///
/// PostgREST reference: "Resource Embedding".
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot hold embedded rows",
    note = "use `V` or `Option<V>` for one row and `Vec<V>` for many; `V` must derive `Select` or `Table`"
)]
pub trait Embed {
    /// The shape of one row.
    type Row: Select;
}

impl<V: Select> Embed for V {
    type Row = V;
}

impl<V: Select> Embed for Option<V> {
    type Row = V;
}

impl<V: Select> Embed for Vec<V> {
    type Row = V;
}

/// A field type that a column of `T` can be read into: its value, or an `Option` of it if the
/// column can be null.
#[diagnostic::on_unimplemented(
    message = "a field of type `{Self}` cannot be read from this column of `{T}`, which holds `{V}` and is `{N}`",
    label = "the column holds `{V}` and is `{N}`",
    note = "use `Option<{V}>` for a nullable column, or `#[select(unchecked)]` for a type of your own"
)]
pub trait Reads<T, V, N> {}

impl<T, V> Reads<T, V, NotNull> for V {}
impl<T, V, N> Reads<T, V, N> for Option<V> {}

/// A check that the derive of [`Select`](derive@crate::Select) makes for each field.
impl<T, V, N> Column<T, V, N> {
    /// This column, if it can be read into a field of type `F`.
    #[doc(hidden)]
    #[must_use]
    pub fn read_as<F: Reads<T, V, N>>(self) -> Self {
        self
    }
}
