//! Rows with the same keys, and writing a row as one of them.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;
use serde::ser;

use super::keys::{Object, Text, Visitor};

/// The rows of a write that have the same set of keys.
pub(super) struct KeyGroup {
    names: Vec<Cow<'static, str>>,
    /// The JSON that goes before each value: `{"id":` for the first, `,"code":` for the others.
    leads: Vec<String>,
    pub(super) rows: Vec<usize>,
    /// How many of them have been cut into requests.
    pub(super) taken: usize,
}

/// Why a row was not written as one of a shape.
#[derive(Debug)]
pub(super) enum Unwritten {
    /// It has other keys, or the same in another order.
    Differs,
    /// One of its values cannot be written as JSON.
    Failed(serde_json::Error),
}

impl KeyGroup {
    pub(super) fn new(names: Vec<Cow<'static, str>>) -> Self {
        let lead = |(position, name): (usize, &Cow<'static, str>)| {
            let opening = if position == 0 { '{' } else { ',' };
            format!("{opening}{}:", serde_json::Value::from(name.as_ref()))
        };
        Self {
            leads: names.iter().enumerate().map(lead).collect(),
            names,
            rows: Vec::new(),
            taken: 0,
        }
    }

    pub(super) fn names(&self) -> &[Cow<'static, str>] {
        &self.names
    }

    /// Writes a row if it has exactly these keys in this order. That is seen as it is written, so
    /// that a row is gone through once; one that differs leaves a part of itself in `out`.
    pub(super) fn write<R: Serialize + ?Sized>(
        &self,
        row: &R,
        out: &mut Vec<u8>,
    ) -> Result<(), Unwritten> {
        row.serialize(Object(Writer {
            keys: self.names.iter().zip(&self.leads),
            is_empty: self.names.is_empty(),
            out,
        }))
    }
}

/// Writes an object whose keys are known beforehand.
struct Writer<'a> {
    keys: Keys<'a>,
    is_empty: bool,
    out: &'a mut Vec<u8>,
}

type Keys<'a> =
    std::iter::Zip<std::slice::Iter<'a, Cow<'static, str>>, std::slice::Iter<'a, String>>;

impl Writer<'_> {
    fn lead_if(&mut self, is_expected: impl FnOnce(&str) -> bool) -> Result<(), Unwritten> {
        match self.keys.next() {
            Some((name, lead)) if is_expected(name) => {
                self.out.extend_from_slice(lead.as_bytes());
                Ok(())
            }
            _ => Err(Unwritten::Differs),
        }
    }
}

impl Visitor for Writer<'_> {
    type Ok = ();
    type Error = Unwritten;

    fn field(&mut self, key: &'static str) -> Result<(), Unwritten> {
        // Rows of one type share the very text, which is quicker to see than to compare.
        self.lead_if(|expected| std::ptr::eq(expected, key) || expected == key)
    }

    fn entry<K: Serialize + ?Sized>(&mut self, key: &K) -> Result<(), Unwritten> {
        self.lead_if(|expected| key.serialize(Text(expected)).is_ok())
    }

    fn value<W: Serialize + ?Sized>(&mut self, value: &W) -> Result<(), Unwritten> {
        value
            .serialize(&mut serde_json::Serializer::new(&mut *self.out))
            .map_err(Unwritten::Failed)
    }

    fn end(mut self) -> Result<(), Unwritten> {
        if self.keys.next().is_some() {
            return Err(Unwritten::Differs);
        }
        let end: &[u8] = if self.is_empty { b"{}" } else { b"}" };
        self.out.extend_from_slice(end);
        Ok(())
    }
}

impl fmt::Display for Unwritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Differs => f.write_str("the keys differ"),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Unwritten {}

impl ser::Error for Unwritten {
    fn custom<M: fmt::Display>(message: M) -> Self {
        Self::Failed(ser::Error::custom(message))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::query::write::keys::keys;

    /// A row written as one of the shape of another.
    fn written(row: &impl Serialize, like: &impl Serialize) -> Result<Vec<u8>, Unwritten> {
        let mut out = Vec::new();
        KeyGroup::new(keys(like).unwrap()).write(row, &mut out)?;
        Ok(out)
    }

    #[derive(serde::Serialize)]
    struct Row {
        #[serde(rename = "a\"é")]
        a: i32,
        #[serde(skip_serializing_if = "Option::is_none")]
        b: Option<&'static str>,
        c: Option<f64>,
    }

    const FULL: Row = Row {
        a: 1,
        b: Some("x\n"),
        c: None,
    };

    #[test]
    fn a_row_of_the_shape_is_written_as_json_writes_it() {
        for (row, like) in [
            (FULL, FULL),
            (Row { b: None, ..FULL }, Row { b: None, ..FULL }),
        ] {
            assert_eq!(
                written(&row, &like).unwrap(),
                serde_json::to_vec(&row).unwrap()
            );
        }
        assert_eq!(written(&json!({}), &json!({})).unwrap(), b"{}");
        let map = BTreeMap::from([("x", 1), ("y", 2)]);
        assert_eq!(
            written(&map, &json!({"x": null, "y": null})).unwrap(),
            br#"{"x":1,"y":2}"#
        );
        // A struct and a map with the same keys are of one shape.
        assert_eq!(
            written(&json!({"a\"é": 1, "b": [2], "c": {}}), &FULL).unwrap(),
            "{\"a\\\"é\":1,\"b\":[2],\"c\":{}}".as_bytes()
        );
    }

    #[test]
    fn a_missing_key_a_new_one_and_another_order_differ() {
        let differs =
            |row: Value, like: Value| matches!(written(&row, &like), Err(Unwritten::Differs));
        assert!(differs(json!({"a": 1}), json!({"a": 1, "b": 2})));
        assert!(differs(json!({"a": 1, "b": 2}), json!({"a": 1})));
        assert!(differs(json!({"b": 2, "a": 1}), json!({"a": 1, "b": 2})));
        assert!(differs(json!({}), json!({"a": 1})));
        assert!(matches!(
            written(&Row { b: None, ..FULL }, &FULL),
            Err(Unwritten::Differs)
        ));
    }

    #[test]
    fn what_cannot_be_written_fails() {
        let row = BTreeMap::from([("a", BTreeMap::from([(vec![1], 2)]))]);
        let failed = written(&row, &json!({"a": null})).unwrap_err();
        assert!(matches!(failed, Unwritten::Failed(_)), "{failed}");
        assert!(written(&1, &json!({"a": null})).is_err());
    }

    proptest! {
        /// Either exactly what JSON writes, or another shape; and the same shape is never taken
        /// for another.
        #[test]
        fn a_shape_is_its_keys(
            row in prop::collection::btree_map(".{0,3}", any::<Option<u8>>(), 0..4),
            like in prop::collection::btree_map(".{0,3}", any::<bool>(), 0..4),
            same in any::<bool>(),
        ) {
            let like: Vec<&String> = if same { row.keys().collect() } else { like.keys().collect() };
            let shape = KeyGroup::new(like.iter().map(|key| Cow::Owned((*key).clone())).collect());
            let mut out = Vec::new();
            let result = shape.write(&row, &mut out);
            if row.keys().eq(like) {
                result.unwrap();
                prop_assert_eq!(out, serde_json::to_vec(&row).unwrap());
            } else {
                prop_assert!(matches!(result, Err(Unwritten::Differs)));
            }
        }
    }
}
