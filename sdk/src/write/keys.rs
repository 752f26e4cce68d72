//! The keys of a row, found without making its values: a serializer that writes nothing.

use std::borrow::Cow;
use std::fmt;

use serde::ser::{self, Serialize, SerializeMap, SerializeStruct};

/// Collects the keys that `row` serializes, in order.
///
/// A row that leaves a key out (`skip_serializing_if`) and one that writes null are different rows:
/// only the first keeps what is stored.
pub(crate) fn collect<R: Serialize + ?Sized>(
    row: &R,
    keys: &mut Vec<Cow<'static, str>>,
) -> Result<(), NotAnObject> {
    keys.clear();
    row.serialize(Keys(keys))
}

/// Why a row has no keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotAnObject(String);

impl fmt::Display for NotAnObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotAnObject {}

impl ser::Error for NotAnObject {
    fn custom<M: fmt::Display>(message: M) -> Self {
        Self(message.to_string())
    }
}

fn not_an_object<O>() -> Result<O, NotAnObject> {
    Err(NotAnObject(
        "a row must serialize as an object with a key for each column".to_owned(),
    ))
}

struct Keys<'a>(&'a mut Vec<Cow<'static, str>>);

macro_rules! refuse {
    ($($method:ident($($kind:ty),*);)*) => {$(
        fn $method(self, $(_: $kind),*) -> Result<(), NotAnObject> {
            not_an_object()
        }
    )*};
}

impl<'a> ser::Serializer for Keys<'a> {
    type Ok = ();
    type Error = NotAnObject;
    type SerializeSeq = ser::Impossible<(), NotAnObject>;
    type SerializeTuple = ser::Impossible<(), NotAnObject>;
    type SerializeTupleStruct = ser::Impossible<(), NotAnObject>;
    type SerializeTupleVariant = ser::Impossible<(), NotAnObject>;
    type SerializeMap = KeysOfMap<'a>;
    type SerializeStruct = Keys<'a>;
    type SerializeStructVariant = ser::Impossible<(), NotAnObject>;

    refuse! {
        serialize_bool(bool);
        serialize_i8(i8);
        serialize_i16(i16);
        serialize_i32(i32);
        serialize_i64(i64);
        serialize_u8(u8);
        serialize_u16(u16);
        serialize_u32(u32);
        serialize_u64(u64);
        serialize_f32(f32);
        serialize_f64(f64);
        serialize_char(char);
        serialize_str(&str);
        serialize_bytes(&[u8]);
        serialize_none();
        serialize_unit();
        serialize_unit_struct(&'static str);
        serialize_unit_variant(&'static str, u32, &'static str);
    }

    fn serialize_some<V: Serialize + ?Sized>(self, value: &V) -> Result<(), NotAnObject> {
        value.serialize(self)
    }

    fn serialize_newtype_struct<V: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &V,
    ) -> Result<(), NotAnObject> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<V: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: &V,
    ) -> Result<(), NotAnObject> {
        self.0.push(Cow::Borrowed(variant));
        Ok(())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, NotAnObject> {
        not_an_object()
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, NotAnObject> {
        not_an_object()
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, NotAnObject> {
        not_an_object()
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, NotAnObject> {
        not_an_object()
    }

    fn serialize_map(self, _: Option<usize>) -> Result<KeysOfMap<'a>, NotAnObject> {
        Ok(KeysOfMap(self.0))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, NotAnObject> {
        Ok(self)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, NotAnObject> {
        not_an_object()
    }
}

impl SerializeStruct for Keys<'_> {
    type Ok = ();
    type Error = NotAnObject;

    fn serialize_field<V: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        _: &V,
    ) -> Result<(), NotAnObject> {
        self.0.push(Cow::Borrowed(key));
        Ok(())
    }

    fn end(self) -> Result<(), NotAnObject> {
        Ok(())
    }
}

/// The keys of a map, which are made as the row is written: a flattened struct or a JSON object.
struct KeysOfMap<'a>(&'a mut Vec<Cow<'static, str>>);

impl SerializeMap for KeysOfMap<'_> {
    type Ok = ();
    type Error = NotAnObject;

    fn serialize_key<V: Serialize + ?Sized>(&mut self, key: &V) -> Result<(), NotAnObject> {
        let value = serde_json::to_value(key).map_err(ser::Error::custom)?;
        let key = match value {
            serde_json::Value::String(key) => key,
            // JSON writes numbers and truth values as the texts of them.
            other => other.to_string(),
        };
        self.0.push(Cow::Owned(key));
        Ok(())
    }

    fn serialize_value<V: Serialize + ?Sized>(&mut self, _: &V) -> Result<(), NotAnObject> {
        Ok(())
    }

    fn end(self) -> Result<(), NotAnObject> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn keys(row: &impl Serialize) -> Result<Vec<Cow<'static, str>>, NotAnObject> {
        let mut keys = Vec::new();
        collect(row, &mut keys).map(|()| keys)
    }

    #[test]
    fn a_key_that_is_left_out_is_not_there_and_a_null_one_is() {
        #[derive(serde::Serialize)]
        struct Row {
            a: i32,
            #[serde(skip_serializing_if = "Option::is_none")]
            b: Option<i32>,
            c: Option<i32>,
        }
        assert_eq!(
            keys(&Row {
                a: 1,
                b: None,
                c: None
            })
            .unwrap(),
            ["a", "c"]
        );
        assert_eq!(
            keys(&Row {
                a: 1,
                b: Some(2),
                c: None
            })
            .unwrap(),
            ["a", "b", "c"]
        );
    }

    #[test]
    fn maps_and_flattened_structs_have_keys_too() {
        #[derive(serde::Serialize)]
        struct Row {
            a: i32,
            #[serde(flatten)]
            rest: serde_json::Value,
        }
        assert_eq!(keys(&json!({"x": 1, "y": null})).unwrap(), ["x", "y"]);
        assert_eq!(
            keys(&Row {
                a: 1,
                rest: json!({"b": 2})
            })
            .unwrap(),
            ["a", "b"]
        );
        assert_eq!(keys(&Some(&json!({"x": 1}))).unwrap(), ["x"]);
    }

    #[test]
    fn what_is_not_an_object_is_refused() {
        assert!(keys(&1).is_err());
        assert!(keys(&vec![1]).is_err());
        assert!(keys(&None::<()>).is_err());
    }
}
