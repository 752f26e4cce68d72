//! The values that a column may be compared with.

use std::borrow::Cow;

use super::{Element, Range, Value, write_array};
use crate::schema::marker::Any;

/// A value that a column of `T` that holds `V` may be compared with: `V`, `&V`, for text also
/// `&str`, for arrays also an array or a slice, for ranges also Rust's.
#[diagnostic::on_unimplemented(
    message = "a column of `{T}` that holds `{V}` cannot be compared with `{Self}`",
    label = "this column of `{T}` holds `{V}`, not `{Self}`",
    note = "columns compare with their own type, and with null by `is_null`; use `.typed::<…>()` to \
            say that a column holds another type"
)]
pub trait Operand<V, T>: Sized {
    /// The text of this value.
    #[doc(hidden)]
    fn into_scalar(self) -> Scalar;
}

/// One value, or [`any`] or [`all`] of several: what `eq`, `gt`, `gte`, `lt` and `lte` compare with.
#[diagnostic::on_unimplemented(
    message = "a column of `{T}` that holds `{V}` cannot be compared with `{Self}`",
    label = "this column of `{T}` holds `{V}`, not `{Self}`",
    note = "columns compare with their own type, and with null by `is_null`; use `.typed::<…>()` to \
            say that a column holds another type"
)]
pub trait Operands<V, T> {
    /// The text of the value, or of all of them, with the quantifier.
    #[doc(hidden)]
    fn into_quantified(self) -> (Option<Quantifier>, Scalar);
}

/// Marks single values, which are not [`Quantified`], so that both can implement [`Operands`].
/// Compiler messages name those traits instead of this one.
#[doc(hidden)]
pub trait OneValue {}

impl<V: Value> OneValue for V {}
impl<W, const N: usize> OneValue for [W; N] {}
impl<W> OneValue for &[W] {}

#[diagnostic::do_not_recommend]
impl<V, T, O: Operand<V, T> + OneValue> Operands<V, T> for O {
    fn into_quantified(self) -> (Option<Quantifier>, Scalar) {
        (None, self.into_scalar())
    }
}

#[diagnostic::do_not_recommend]
impl<V, T, O: Operand<V, T>> Operands<V, T> for Quantified<O> {
    fn into_quantified(self) -> (Option<Quantifier>, Scalar) {
        let scalars = self.values.into_iter().map(Operand::into_scalar);
        let scalars: Vec<Scalar> = scalars.collect();
        (Some(self.quantifier), array_of(&scalars))
    }
}

/// Several operands, of which one or all must match: see [`any`] and [`all`].
#[derive(Clone, Debug)]
pub struct Quantified<W> {
    pub(crate) quantifier: Quantifier,
    pub(crate) values: Vec<W>,
}

/// Whether one operand has to match, or all of them.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantifier {
    /// At least one of them.
    Any,
    /// All of them.
    All,
}

/// At least one of `values`: an operand of `eq`, `gt`, `gte`, `lt`, `lte` and of patterns.
///
/// ```
/// use sluice_sdk::{any, col};
///
/// assert_eq!(col("views").gte(any([1, 2])).to_string(), "views=gte(any).{1,2}");
/// assert_eq!(col("body").ilike(any(["%rain%", "%hail%"])).to_string(), r#"body=ilike(any).{"%rain%","%hail%"}"#);
/// ```
///
/// SQL: `where views >= any ('{1,2}')`.
///
/// PostgREST reference: "Operator Modifiers".
pub fn any<W>(values: impl IntoIterator<Item = W>) -> Quantified<W> {
    Quantified {
        quantifier: Quantifier::Any,
        values: values.into_iter().collect(),
    }
}

/// All of `values`: an operand of the same operators as [`any`].
///
/// ```
/// use sluice_sdk::{all, col};
///
/// assert_eq!(col("body").like(all(["a%", "%z"])).to_string(), r#"body=like(all).{"a%","%z"}"#);
/// ```
///
/// SQL: `where body like all ('{a%,%z}')`.
pub fn all<W>(values: impl IntoIterator<Item = W>) -> Quantified<W> {
    Quantified {
        quantifier: Quantifier::All,
        values: values.into_iter().collect(),
    }
}

/// A value as text, before it is quoted for its position.
#[doc(hidden)]
#[derive(Clone, PartialEq, Eq)]
pub struct Scalar {
    pub(crate) text: String,
    pub(crate) bare: bool,
}

impl Scalar {
    pub(crate) fn of<V: Value + ?Sized>(value: &V) -> Self {
        let mut text = String::new();
        value.write(&mut text);
        Self {
            text,
            bare: V::BARE,
        }
    }
}

/// An element of the array literal that the operators with `(any)` and `(all)` take.
impl Element for Scalar {
    fn write_in_array(&self, out: &mut String) {
        if self.bare {
            out.push_str(&self.text);
        } else {
            self.text.write_element(out);
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

impl<W: Value, T> Operand<Any, T> for W {
    fn into_scalar(self) -> Scalar {
        Scalar::of(&self)
    }
}

impl<T> Operand<String, T> for &str {
    fn into_scalar(self) -> Scalar {
        Scalar::of(self)
    }
}

impl<T> Operand<String, T> for &&str {
    fn into_scalar(self) -> Scalar {
        Scalar::of(self)
    }
}

impl<T> Operand<String, T> for Cow<'_, str> {
    fn into_scalar(self) -> Scalar {
        Scalar::of(&self)
    }
}

impl<E, T, W: Operand<E, T> + Value, const N: usize> Operand<Vec<E>, T> for [W; N] {
    fn into_scalar(self) -> Scalar {
        array_of(&self)
    }
}

impl<E, T, W: Value> Operand<Vec<E>, T> for &[W]
where
    for<'a> &'a W: Operand<E, T>,
{
    fn into_scalar(self) -> Scalar {
        array_of(self)
    }
}

impl<T, W: Value, const N: usize> Operand<Any, T> for [W; N] {
    fn into_scalar(self) -> Scalar {
        array_of(&self)
    }
}

pub(crate) fn array_of<W: Element>(values: &[W]) -> Scalar {
    let mut text = String::new();
    write_array(values, &mut text);
    Scalar { text, bare: false }
}

macro_rules! range_operands {
    ($($kind:ident),* $(,)?) => {$(
        impl<V> OneValue for std::ops::$kind<V> {}

        impl<V: Value, T> Operand<Range<V>, T> for std::ops::$kind<V> {
            fn into_scalar(self) -> Scalar {
                Scalar::of(&Range::from(self))
            }
        }
    )*};
}

range_operands! { Range, RangeInclusive, RangeFrom, RangeTo, RangeToInclusive }
