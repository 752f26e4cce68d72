//! How a Rust value is written in a filter.

mod binary;
mod operand;
mod range;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use jiff::civil;
use uuid::Uuid;

use crate::quote;

#[cfg(feature = "bytes")]
pub use binary::Bytea;
#[cfg(feature = "pgvector")]
pub use binary::Vector;
pub use operand::{Operand, Operands, Quantified, all, any};
pub(crate) use operand::{Quantifier, Scalar, array_of};
pub use range::Range;

/// A Rust value that can be used in a filter, written as text that Postgres reads.
///
/// Implement it for your own types, such as an enum of the database or a newtype:
///
/// ```
/// use sluice_sdk::{Column, schema::Value};
///
/// enum Status { Open, Closed }
///
/// impl Value for Status {
///     fn write(&self, out: &mut String) {
///         out.push_str(match self { Self::Open => "open", Self::Closed => "closed" });
///     }
/// }
///
/// let status: Column<(), Status> = Column::new("status");
/// assert_eq!(status.in_([Status::Open, Status::Closed]).to_string(), r#"status=in.("open","closed")"#);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be written in a filter",
    note = "implement `Value` for it: its text as Postgres reads it; what a column holds is compared \
            as what it is in Rust, or as another type after `.typed::<…>()`"
)]
pub trait Value {
    /// Whether every text of this type has only letters, digits, `-`, `.` and `+`, which the
    /// grammar does not reserve. Such values need no quotes in a list, so more of them fit into a
    /// URL.
    const BARE: bool = false;

    /// Writes this value as text, without quotes.
    fn write(&self, out: &mut String);

    /// Writes this value as an element of an array literal, or as a bound of a range.
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
        write_array(self, out);
    }

    fn write_element(&self, out: &mut String) {
        // An array inside an array is not quoted: `{{1,2},{3,4}}`.
        self.write(out);
    }
}

/// Writes an array literal.
fn write_array<E: Element>(elements: &[E], out: &mut String) {
    out.push('{');
    for (position, element) in elements.iter().enumerate() {
        if position > 0 {
            out.push(',');
        }
        element.write_in_array(out);
    }
    out.push('}');
}

macro_rules! pointer_values {
    ($($kind:ty),* $(,)?) => {$(
        impl<V: Value + ?Sized> Value for $kind {
            const BARE: bool = V::BARE;

            fn write(&self, out: &mut String) {
                (**self).write(out);
            }

            fn write_element(&self, out: &mut String) {
                (**self).write_element(out);
            }
        }
    )*};
}

pointer_values! { &V, Box<V>, Arc<V> }

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
    str => false, String => false, Cow<'_, str> => false,
    bool => true,
    i8 => true, i16 => true, i32 => true, i64 => true, i128 => true, isize => true,
    u8 => true, u16 => true, u32 => true, u64 => true, u128 => true, usize => true,
    Uuid => true,
    serde_json::Number => true,
    serde_json::Value => false,
    char => false,
    jiff::Timestamp => false,
    civil::Date => true,
    civil::Time => false,
    civil::DateTime => false,
}

#[cfg(feature = "chrono")]
display_values! {
    chrono::NaiveDate => true,
    chrono::NaiveTime => false,
    chrono::NaiveDateTime => false,
}

#[cfg(feature = "chrono")]
impl<Z: chrono::TimeZone<Offset: fmt::Display>> Value for chrono::DateTime<Z> {
    fn write(&self, out: &mut String) {
        out.push_str(&self.to_rfc3339());
    }
}

#[cfg(feature = "rust_decimal")]
display_values! { rust_decimal::Decimal => true }

#[cfg(feature = "time")]
display_values! {
    time::Date => true,
    time::Time => false,
    time::PrimitiveDateTime => false,
    time::OffsetDateTime => false,
}

macro_rules! float_values {
    ($($kind:ty),*) => {$(
        impl Value for $kind {
            const BARE: bool = true;

            fn write(&self, out: &mut String) {
                // Rust writes `inf`, Postgres reads `Infinity`.
                match quote::without_digits((*self).into()) {
                    Some(text) => out.push_str(text),
                    None => display(self, out),
                }
            }
        }
    )*};
}

float_values!(f32, f64);

fn display(value: &(impl fmt::Display + ?Sized), out: &mut String) {
    // Writing to a String cannot fail.
    let _ = fmt::Write::write_fmt(out, format_args!("{value}"));
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
        assert_eq!(text(serde_json::Number::from(7)), "7");
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
    fn a_pointer_is_written_as_what_it_points_at() {
        assert_eq!(text(Arc::<str>::from("a")), "a");
        assert_eq!(text(vec![Box::new(7)]), "{7}");
    }
}
