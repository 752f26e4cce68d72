//! What a column's type allows. Each capability is a trait with a message for columns of other
//! types. It bounds the method and not the `impl` block: otherwise the compiler only says that the
//! method does not exist, and not why.

use super::marker::{Any, Nullable};
use super::value::{Range, Value};

/// A column's marker that allows `is_null`.
#[diagnostic::on_unimplemented(
    message = "this column of `{T}` is never null, so it need not be tested for null",
    label = "holds `{V}`, not `Option<{V}>`",
    note = "declare the field as `Option<{V}>` if the database allows null there"
)]
pub trait CanBeNull<T, V> {}

impl<T, V> CanBeNull<T, V> for Nullable {}

/// A column's value that `like` and regular expressions apply to.
#[diagnostic::on_unimplemented(
    message = "a column of `{T}` that holds `{Self}` is not text: patterns apply to text only",
    label = "not a text column"
)]
pub trait TextLike<T> {}

impl<T> TextLike<T> for String {}
impl<T> TextLike<T> for Any {}

/// A column's value that a full-text search applies to: text, a `tsvector`, JSON.
#[diagnostic::on_unimplemented(
    message = "a column of `{T}` that holds `{Self}` cannot be searched: full-text search applies to text, tsvector and JSON",
    label = "not a searchable column"
)]
pub trait Searchable<T> {}

impl<T> Searchable<T> for String {}
impl<T> Searchable<T> for Any {}
impl<T> Searchable<T> for serde_json::Value {}

/// A column's value that `contains` and `contained_by` apply to: an array, a range, JSON.
#[diagnostic::on_unimplemented(
    message = "a column of `{T}` that holds `{Self}` has no elements: `contains` and `overlaps` apply to arrays, ranges and JSON",
    label = "not an array, a range or JSON",
    note = "use `contains_text` to find a text within a text"
)]
pub trait ArrayLike<T> {}

impl<T, E> ArrayLike<T> for Vec<E> {}
impl<T, V: Value> ArrayLike<T> for Range<V> {}
impl<T> ArrayLike<T> for serde_json::Value {}
impl<T> ArrayLike<T> for Any {}

/// A column's value that the range operators apply to.
#[diagnostic::on_unimplemented(
    message = "a column of `{T}` that holds `{Self}` is not a range",
    label = "not a range column"
)]
pub trait RangeLike<T> {}

impl<T, V: Value> RangeLike<T> for Range<V> {}
impl<T> RangeLike<T> for Any {}

/// A column's value that has a path into it.
#[diagnostic::on_unimplemented(
    message = "a column of `{T}` that holds `{Self}` is not JSON: only JSON has a path into it",
    label = "not a JSON column",
    note = "use `.typed::<serde_json::Value>()` if the column holds JSON"
)]
pub trait JsonLike<T> {}

impl<T> JsonLike<T> for serde_json::Value {}
impl<T> JsonLike<T> for Any {}
