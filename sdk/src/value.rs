//! How a Rust value is written in a filter.

use std::borrow::Cow;
use std::fmt::Write;

use jiff::civil;
use uuid::Uuid;

use crate::quote;
use crate::schema::Any;

/// A Rust value that can stand in a filter, written as the text that Postgres reads for its type.
///
/// Implement it for your own types (an enum of the database, a newtype) where a column holds them:
///
/// ```
/// use sluice_sdk::Value;
///
/// enum Status { Open, Closed }
///
/// impl Value for Status {
///     fn write(&self, out: &mut String) {
///         out.push_str(match self { Self::Open => "open", Self::Closed => "closed" });
///     }
/// }
/// ```
pub trait Value {
    /// Whether no text of this type can hold a character that the grammar reserves: letters,
    /// digits, `-`, `.` and `+` only. Such values go into lists without quotes, so that more of
    /// them fit into a URL.
    const BARE: bool = false;

    /// Writes the text form of this value, with no quoting of any kind.
    fn write(&self, out: &mut String);

    /// Writes this value as an element of an array literal.
    #[doc(hidden)]
    fn write_element(&self, out: &mut String) {
        if Self::BARE {
            return self.write(out);
        }
        let mut text = String::new();
        self.write(&mut text);
        quote::array_element(&text, out);
    }
}

/// What a `Vec` column holds: a [`Value`], or an `Option` of one, whose `None` is SQL's `NULL`.
pub trait Element {
    /// Writes this value as an element of an array literal.
    #[doc(hidden)]
    fn write_in_array(&self, out: &mut String);
}

impl<V: Value> Element for V {
    fn write_in_array(&self, out: &mut String) {
        self.write_element(out);
    }
}

impl<V: Value> Element for Option<V> {
    fn write_in_array(&self, out: &mut String) {
        match self {
            Some(value) => value.write_element(out),
            None => out.push_str("NULL"),
        }
    }
}

impl<E: Element> Value for Vec<E> {
    fn write(&self, out: &mut String) {
        out.push('{');
        for (position, element) in self.iter().enumerate() {
            if position > 0 {
                out.push(',');
            }
            element.write_in_array(out);
        }
        out.push('}');
    }

    fn write_element(&self, out: &mut String) {
        // An array within an array is not quoted: `{{1,2},{3,4}}`.
        self.write(out);
    }
}

impl<V: Value + ?Sized> Value for &V {
    const BARE: bool = V::BARE;

    fn write(&self, out: &mut String) {
        (**self).write(out);
    }

    fn write_element(&self, out: &mut String) {
        (**self).write_element(out);
    }
}

impl Value for str {
    fn write(&self, out: &mut String) {
        out.push_str(self);
    }
}

impl Value for String {
    fn write(&self, out: &mut String) {
        out.push_str(self);
    }
}

impl Value for Cow<'_, str> {
    fn write(&self, out: &mut String) {
        out.push_str(self);
    }
}

impl Value for serde_json::Value {
    fn write(&self, out: &mut String) {
        display(self, out);
    }
}

macro_rules! display_values {
    ($($kind:ty => $bare:literal),* $(,)?) => {$(
        impl Value for $kind {
            const BARE: bool = $bare;

            fn write(&self, out: &mut String) {
                display(self, out);
            }
        }
    )*};
}

display_values! {
    bool => true,
    i8 => true, i16 => true, i32 => true, i64 => true, i128 => true, isize => true,
    u8 => true, u16 => true, u32 => true, u64 => true, u128 => true, usize => true,
    Uuid => true,
    char => false,
    jiff::Timestamp => false,
    civil::Date => true,
    civil::Time => false,
    civil::DateTime => false,
}

macro_rules! float_values {
    ($($kind:ty),*) => {$(
        impl Value for $kind {
            const BARE: bool = true;

            fn write(&self, out: &mut String) {
                if self.is_infinite() {
                    // Rust says `inf`, Postgres `Infinity`; both say `NaN`.
                    out.push_str(if *self > 0.0 { "Infinity" } else { "-Infinity" });
                } else {
                    display(self, out);
                }
            }
        }
    )*};
}

float_values!(f32, f64);

/// A Postgres range of `V`: the type of an `int4range`, `numrange`, `tstzrange` … column.
///
/// ```
/// use sluice_sdk::{Range, Value};
///
/// let mut text = String::new();
/// Range::from(10..20).write(&mut text);
/// assert_eq!(text, r#"["10","20")"#);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range<V> {
    /// The lower bound; `Unbounded` reaches down without end.
    pub lower: std::ops::Bound<V>,
    /// The upper bound; `Unbounded` reaches up without end.
    pub upper: std::ops::Bound<V>,
}

impl<V> From<std::ops::Range<V>> for Range<V> {
    fn from(range: std::ops::Range<V>) -> Self {
        use std::ops::Bound::{Excluded, Included};
        Self {
            lower: Included(range.start),
            upper: Excluded(range.end),
        }
    }
}

impl<V> From<std::ops::RangeInclusive<V>> for Range<V> {
    fn from(range: std::ops::RangeInclusive<V>) -> Self {
        use std::ops::Bound::Included;
        let (start, end) = range.into_inner();
        Self {
            lower: Included(start),
            upper: Included(end),
        }
    }
}

impl<V> From<std::ops::RangeFrom<V>> for Range<V> {
    fn from(range: std::ops::RangeFrom<V>) -> Self {
        use std::ops::Bound::{Included, Unbounded};
        Self {
            lower: Included(range.start),
            upper: Unbounded,
        }
    }
}

impl<V: Value> Value for Range<V> {
    fn write(&self, out: &mut String) {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        // Bounds use the quoting of arrays; an absent bound must stay unquoted, since `""` is the
        // empty text.
        let bound = |value: &V, out: &mut String| {
            let mut text = String::new();
            value.write(&mut text);
            quote::array_element(&text, out);
        };
        out.push(if matches!(self.lower, Included(_)) {
            '['
        } else {
            '('
        });
        if let Included(value) | Excluded(value) = &self.lower {
            bound(value, out);
        }
        out.push(',');
        if let Included(value) | Excluded(value) = &self.upper {
            bound(value, out);
        }
        out.push(match self.upper {
            Included(_) => ']',
            Excluded(_) | Unbounded => ')',
        });
    }
}

/// A value that must not be seen: it is sent, and is left out of errors, spans and snapshots. It
/// goes into a filter, or into a field of a row, of a change or of a function's arguments.
///
/// ```
/// # use sluice_sdk::{Secret, col, serde::Serialize};
/// let filter = col("token").eq(Secret("s3cret"));
/// assert!(!format!("{filter:?}").contains("s3cret"));
///
/// #[derive(Serialize)]
/// # #[serde(crate = "sluice_sdk::serde")]
/// struct NewSession {
///     user: i64,
///     token: Secret<String>,
/// }
/// ```
#[derive(Clone, Copy)]
pub struct Secret<W>(pub W);

impl<W> std::fmt::Debug for Secret<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What a column of `T` that holds `V` may be compared with: `V`, `&V`, and for text also `&str`.
#[diagnostic::on_unimplemented(
    message = "a column of `{T}` that holds `{V}` cannot be compared with `{Self}`",
    label = "this column of `{T}` holds `{V}`, not `{Self}`",
    note = "columns compare with their own type; use `.typed::<…>()` to say that a column holds another"
)]
pub trait Operand<V, T>: Sized {
    /// The text of this value, and how it may be shown.
    #[doc(hidden)]
    fn into_scalar(self) -> Scalar;
}

/// A value's text, ready for whichever place it is put in.
#[doc(hidden)]
#[derive(Clone, PartialEq, Eq)]
pub struct Scalar {
    pub(crate) text: String,
    pub(crate) bare: bool,
    pub(crate) secret: bool,
}

impl Scalar {
    pub(crate) fn of<V: Value + ?Sized>(value: &V) -> Self {
        let mut text = String::new();
        value.write(&mut text);
        Self {
            text,
            bare: V::BARE,
            secret: false,
        }
    }
}

impl<V: Value, T> Operand<V, T> for V {
    fn into_scalar(self) -> Scalar {
        Scalar::of(&self)
    }
}

impl<V: Value, T> Operand<V, T> for &V {
    fn into_scalar(self) -> Scalar {
        Scalar::of(self)
    }
}

impl<T> Operand<String, T> for &str {
    fn into_scalar(self) -> Scalar {
        Scalar::of(self)
    }
}

impl<T> Operand<String, T> for &&str {
    fn into_scalar(self) -> Scalar {
        Scalar::of(*self)
    }
}

impl<T> Operand<String, T> for Cow<'_, str> {
    fn into_scalar(self) -> Scalar {
        Scalar::of(&self)
    }
}

impl<W: Value, T> Operand<Any, T> for W {
    fn into_scalar(self) -> Scalar {
        Scalar::of(&self)
    }
}

impl<V, T, W: Operand<V, T>> Operand<V, T> for Secret<W> {
    fn into_scalar(self) -> Scalar {
        Scalar {
            secret: true,
            ..self.0.into_scalar()
        }
    }
}

fn display(value: &impl std::fmt::Display, out: &mut String) {
    // Writing to a String cannot fail.
    let _ = write!(out, "{value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: impl Value) -> String {
        Scalar::of(&value).text
    }

    #[test]
    fn numbers_are_written_as_postgres_reads_them() {
        assert_eq!(text(-1_i64), "-1");
        assert_eq!(text(f64::INFINITY), "Infinity");
        assert_eq!(text(f64::NEG_INFINITY), "-Infinity");
        assert_eq!(text(f64::NAN), "NaN");
        assert_eq!(text(0.1_f64), "0.1");
    }

    #[test]
    fn an_array_literal_quotes_its_elements_and_not_its_arrays() {
        assert_eq!(
            text(vec!["a,b".to_owned(), "q\"\\".to_owned()]),
            r#"{"a,b","q\"\\"}"#
        );
        assert_eq!(text(vec![vec![1, 2], vec![3]]), "{{1,2},{3}}");
        assert_eq!(
            text(vec![Some("NULL".to_owned()), None]),
            r#"{"NULL",NULL}"#
        );
    }

    #[test]
    fn a_range_leaves_an_absent_bound_empty() {
        assert_eq!(text(Range::from(1..=2)), r#"["1","2"]"#);
        assert_eq!(text(Range::from(1..)), r#"["1",)"#);
        let below = Range {
            lower: std::ops::Bound::Unbounded,
            upper: std::ops::Bound::Excluded(3),
        };
        assert_eq!(text(below), r#"(,"3")"#);
    }
}
