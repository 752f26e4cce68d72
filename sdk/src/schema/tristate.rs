//! Written values: what a column can be set to, and fields that may be left out.

use serde::{Deserialize, Deserializer, Serialize, Serializer, ser};

use super::marker::{Any, Nullable};
use crate::quote;

/// A field of a written row whose column can be null: left out, null, or a value.
///
/// An `Option` has only two of these three states. In an insert, a field that is left out gets the
/// column's default. In an update or an upsert, it keeps its stored value. Use a `Tristate` if a
/// column can be null *and* need not be written, and an `Option` or a plain value otherwise. Then a
/// null that the database would refuse does not compile.
///
/// ```
/// use sluice_sdk::{Tristate, serde::Serialize};
///
/// #[derive(Default, Serialize)]
/// # #[serde(crate = "sluice_sdk::serde")]
/// struct PostPatch {
///     /// Never null: set, or left as it is.
///     #[serde(skip_serializing_if = "Option::is_none")]
///     text: Option<String>,
///     /// Set, set to null, or left as it is.
///     #[serde(skip_serializing_if = "Tristate::is_absent")]
///     url: Tristate<String>,
/// }
///
/// let json = |patch: PostPatch| sluice_sdk::serde_json::to_string(&patch).unwrap();
/// assert_eq!(json(PostPatch::default()), "{}");
/// assert_eq!(json(PostPatch { url: Tristate::Null, ..PostPatch::default() }), r#"{"url":null}"#);
/// let url = Tristate::from("https://example.org".to_owned());
/// assert_eq!(json(PostPatch { url, ..PostPatch::default() }), r#"{"url":"https://example.org"}"#);
/// ```
///
/// `Tristate::from` takes a value, or an `Option` whose `None` is null. To read one, add
/// `#[serde(default)]`, so that a missing member is [`Absent`](Self::Absent).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Tristate<V> {
    /// Left out. It serializes only with `#[serde(skip_serializing_if = "Tristate::is_absent")]`.
    #[default]
    Absent,
    /// Null.
    Null,
    /// This value.
    Value(V),
}

impl<V> Tristate<V> {
    /// Whether it is left out.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// Returns the value, if it has one.
    pub fn value(&self) -> Option<&V> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }
}

impl<V> From<V> for Tristate<V> {
    fn from(value: V) -> Self {
        Self::Value(value)
    }
}

/// `None` is null.
impl<V> From<Option<V>> for Tristate<V> {
    fn from(value: Option<V>) -> Self {
        value.map_or(Self::Null, Self::Value)
    }
}

impl<V: Serialize> Serialize for Tristate<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Absent => Err(ser::Error::custom(
                "an absent field cannot be written: add `#[serde(skip_serializing_if = \"Tristate::is_absent\")]`",
            )),
            Self::Null => serializer.serialize_none(),
            Self::Value(value) => value.serialize(serializer),
        }
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Tristate<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::deserialize(deserializer).map(Self::from)
    }
}

/// What a column of `T` that holds `V` can be set to: `V`, `&V`, for text also `&str`, and
/// `Option<V>` if it can be null.
#[diagnostic::on_unimplemented(
    message = "a column of `{T}` that holds `{V}` and is `{N}` cannot be set to `{Self}`",
    label = "the column of `{T}` holds `{V}` and is `{N}`",
    note = "`None` is null, which only a column whose field is an `Option` can be set to; use \
            `.typed::<…>()` to say that a column holds another type"
)]
pub trait Assignable<T, V, N> {
    /// The value as JSON.
    #[doc(hidden)]
    fn into_json(self) -> serde_json::Result<Vec<u8>>;
}

impl<T, V: Serialize, N> Assignable<T, V, N> for V {
    fn into_json(self) -> serde_json::Result<Vec<u8>> {
        quote::to_vec(&self)
    }
}

impl<T, V: Serialize, N> Assignable<T, V, N> for &V {
    fn into_json(self) -> serde_json::Result<Vec<u8>> {
        quote::to_vec(self)
    }
}

impl<T, N> Assignable<T, String, N> for &str {
    fn into_json(self) -> serde_json::Result<Vec<u8>> {
        quote::to_vec(self)
    }
}

impl<T, W: Serialize, N> Assignable<T, Any, N> for W {
    fn into_json(self) -> serde_json::Result<Vec<u8>> {
        quote::to_vec(&self)
    }
}

/// `Option<&V>` is not implemented, so that the type of a bare `None` is clear.
impl<T, V: Serialize> Assignable<T, V, Nullable> for Option<V> {
    fn into_json(self) -> serde_json::Result<Vec<u8>> {
        quote::to_vec(&self)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Row {
        #[serde(default, skip_serializing_if = "Tristate::is_absent")]
        a: Tristate<i32>,
    }

    #[test]
    fn the_three_states_survive_a_round_trip() {
        let three = [
            (Tristate::Absent, json!({})),
            (Tristate::Null, json!({"a": null})),
            (Tristate::Value(7), json!({"a": 7})),
        ];
        for (a, json) in three {
            assert_eq!(serde_json::to_value(Row { a }).unwrap(), json);
            assert_eq!(serde_json::from_value::<Row>(json).unwrap(), Row { a });
        }
        let given: [Tristate<i32>; 3] = [None.into(), Some(1).into(), 1.into()];
        assert_eq!(
            given,
            [Tristate::Null, Tristate::Value(1), Tristate::Value(1)]
        );
        assert_eq!(given[1].value(), Some(&1));
    }

    #[test]
    fn absent_is_never_written_as_null() {
        let error = serde_json::to_string(&[Tristate::<i32>::Absent]).unwrap_err();
        assert!(error.to_string().contains("skip_serializing_if"), "{error}");
    }
}
