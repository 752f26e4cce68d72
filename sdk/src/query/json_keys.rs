//! The keys of a JSON object: the columns that a written row sets.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Returns the keys of an object, in order.
///
/// A row that leaves a key out (`skip_serializing_if`) and one that writes null are different: only
/// the first keeps the stored value.
pub(super) fn json_keys(object: &[u8]) -> serde_json::Result<Vec<Cow<'_, str>>> {
    serde_json::from_slice::<Keys<'_>>(object).map(|keys| keys.0)
}

/// Returns the members of an object, in order, each with its value as it is written.
pub(super) fn json_members(object: &[u8]) -> serde_json::Result<Vec<(Cow<'_, str>, &RawValue)>> {
    serde_json::from_slice::<Members<'_>>(object).map(|members| members.0)
}

struct Keys<'a>(Vec<Cow<'a, str>>);

struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// Collects the members of an object, with values of one type.
struct MemberVisitor<V>(PhantomData<V>);

impl<'de> Deserialize<'de> for Keys<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let members = deserializer.deserialize_map(MemberVisitor::<IgnoredAny>(PhantomData))?;
        Ok(Self(members.into_iter().map(|(key, _)| key).collect()))
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_map(MemberVisitor::<&RawValue>(PhantomData))
            .map(Self)
    }
}

impl<'de, V: Deserialize<'de>> Visitor<'de> for MemberVisitor<V> {
    type Value = Vec<(Cow<'de, str>, V)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a key for each column")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut members = Vec::new();
        while let Some((Key(key), value)) = map.next_entry()? {
            members.push((key, value));
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;
    use serde_json::json;

    use super::*;

    fn keys(row: impl Serialize) -> Result<Vec<String>, serde_json::Error> {
        let json = serde_json::to_vec(&row).unwrap();
        Ok(json_keys(&json)?.into_iter().map(Cow::into_owned).collect())
    }

    #[test]
    fn a_skipped_key_is_absent_and_a_null_one_is_present() {
        #[derive(Serialize)]
        struct Row {
            a: i32,
            #[serde(skip_serializing_if = "Option::is_none")]
            b: Option<i32>,
            c: Option<i32>,
        }
        let row = |b| Row { a: 1, b, c: None };
        assert_eq!(keys(row(None)).unwrap(), ["a", "c"]);
        assert_eq!(keys(row(Some(2))).unwrap(), ["a", "b", "c"]);
    }

    #[test]
    fn maps_and_flattened_structs_have_keys_too() {
        #[derive(Serialize)]
        struct Row {
            #[serde(rename = "a\"é")]
            a: i32,
            #[serde(flatten)]
            rest: serde_json::Value,
        }
        let row = Row {
            a: 1,
            rest: json!({"b": [{"x": 2}]}),
        };
        assert_eq!(keys(row).unwrap(), ["a\"é", "b"]);
        assert_eq!(keys(Some(&json!({"x": 1, "y": null}))).unwrap(), ["x", "y"]);
    }

    #[test]
    fn only_an_object_has_keys() {
        assert!(keys(1).is_err());
        assert!(keys([1]).is_err());
        assert!(keys(None::<()>).is_err());
    }
}
