//! The keys of a row: a serializer that shows them to a visitor, which need not make the values.

use std::borrow::Cow;
use std::fmt;

use serde::ser::{self, Impossible, Serialize, SerializeMap, SerializeStruct};

/// The keys that `row` serializes, in order.
///
/// A row that leaves a key out (`skip_serializing_if`) and one that writes null are different rows:
/// only the first keeps what is stored.
pub(crate) fn keys<R: Serialize + ?Sized>(row: &R) -> Result<Vec<Cow<'static, str>>, NotAnObject> {
    row.serialize(Object(Collected(Vec::new())))
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

/// Shows a visitor the keys of an object and its values.
pub(super) struct Object<V>(pub(super) V);

/// What is done with the members of an object, in their order.
pub(super) trait Visitor: Sized {
    type Ok;
    type Error: ser::Error;

    /// The key of a struct's field.
    fn field(&mut self, key: &'static str) -> Result<(), Self::Error>;

    /// The key of a map, which is made as the row is written: of a flattened struct, a JSON object.
    fn entry<K: Serialize + ?Sized>(&mut self, key: &K) -> Result<(), Self::Error>;

    /// The value of the key before.
    fn value<W: Serialize + ?Sized>(&mut self, value: &W) -> Result<(), Self::Error>;

    fn end(self) -> Result<Self::Ok, Self::Error>;
}

/// Keeps the keys.
struct Collected(Vec<Cow<'static, str>>);

impl Visitor for Collected {
    type Ok = Vec<Cow<'static, str>>;
    type Error = NotAnObject;

    fn field(&mut self, key: &'static str) -> Result<(), NotAnObject> {
        self.0.push(Cow::Borrowed(key));
        Ok(())
    }

    fn entry<K: Serialize + ?Sized>(&mut self, key: &K) -> Result<(), NotAnObject> {
        let key = match serde_json::to_value(key).map_err(ser::Error::custom)? {
            serde_json::Value::String(key) => key,
            // JSON writes numbers and truth values as the texts of them.
            other => other.to_string(),
        };
        self.0.push(Cow::Owned(key));
        Ok(())
    }

    fn value<W: Serialize + ?Sized>(&mut self, _: &W) -> Result<(), NotAnObject> {
        Ok(())
    }

    fn end(self) -> Result<Self::Ok, NotAnObject> {
        Ok(self.0)
    }
}

/// Refuses what is not an object, or not a text.
macro_rules! refuse {
    ($($method:ident($($kind:ty),*);)*) => {$(
        fn $method(self, $(_: $kind),*) -> Result<Self::Ok, Self::Error> {
            refused()
        }
    )*};
    (scalars) => {
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
            serialize_bytes(&[u8]);
            serialize_none();
            serialize_unit();
            serialize_unit_struct(&'static str);
        }
    };
    (sequences) => {
        type SerializeSeq = Impossible<Self::Ok, Self::Error>;
        type SerializeTuple = Impossible<Self::Ok, Self::Error>;
        type SerializeTupleStruct = Impossible<Self::Ok, Self::Error>;
        type SerializeTupleVariant = Impossible<Self::Ok, Self::Error>;
        type SerializeStructVariant = Impossible<Self::Ok, Self::Error>;

        fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, Self::Error> {
            refused()
        }

        fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Self::Error> {
            refused()
        }

        fn serialize_tuple_struct(
            self,
            _: &'static str,
            _: usize,
        ) -> Result<Self::SerializeTupleStruct, Self::Error> {
            refused()
        }

        fn serialize_tuple_variant(
            self,
            _: &'static str,
            _: u32,
            _: &'static str,
            _: usize,
        ) -> Result<Self::SerializeTupleVariant, Self::Error> {
            refused()
        }

        fn serialize_struct_variant(
            self,
            _: &'static str,
            _: u32,
            _: &'static str,
            _: usize,
        ) -> Result<Self::SerializeStructVariant, Self::Error> {
            refused()
        }
    };
}

fn refused<O, E: ser::Error>() -> Result<O, E> {
    Err(E::custom(
        "a row must serialize as an object with a key for each column",
    ))
}

impl<V: Visitor> ser::Serializer for Object<V> {
    type Ok = V::Ok;
    type Error = V::Error;
    type SerializeMap = Self;
    type SerializeStruct = Self;

    refuse!(scalars);
    refuse!(sequences);
    refuse! {
        serialize_str(&str);
        serialize_unit_variant(&'static str, u32, &'static str);
    }

    fn serialize_some<W: Serialize + ?Sized>(self, value: &W) -> Result<V::Ok, V::Error> {
        value.serialize(self)
    }

    fn serialize_newtype_struct<W: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &W,
    ) -> Result<V::Ok, V::Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<W: Serialize + ?Sized>(
        mut self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &W,
    ) -> Result<V::Ok, V::Error> {
        self.0.field(variant)?;
        self.0.value(value)?;
        self.0.end()
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self, V::Error> {
        Ok(self)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, V::Error> {
        Ok(self)
    }
}

impl<V: Visitor> SerializeStruct for Object<V> {
    type Ok = V::Ok;
    type Error = V::Error;

    fn serialize_field<W: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &W,
    ) -> Result<(), V::Error> {
        self.0.field(key)?;
        self.0.value(value)
    }

    fn end(self) -> Result<V::Ok, V::Error> {
        self.0.end()
    }
}

impl<V: Visitor> SerializeMap for Object<V> {
    type Ok = V::Ok;
    type Error = V::Error;

    fn serialize_key<K: Serialize + ?Sized>(&mut self, key: &K) -> Result<(), V::Error> {
        self.0.entry(key)
    }

    fn serialize_value<W: Serialize + ?Sized>(&mut self, value: &W) -> Result<(), V::Error> {
        self.0.value(value)
    }

    fn end(self) -> Result<V::Ok, V::Error> {
        self.0.end()
    }
}

/// Tells whether the key of a map is this text. A key that is no text differs, since only JSON
/// knows how it is written.
pub(super) struct Text<'a>(pub(super) &'a str);

/// Another key than the text, or none at all.
#[derive(Debug)]
pub(super) struct Differs;

impl fmt::Display for Differs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the keys differ")
    }
}

impl std::error::Error for Differs {}

impl ser::Error for Differs {
    fn custom<M: fmt::Display>(_: M) -> Self {
        Self
    }
}

impl ser::Serializer for Text<'_> {
    type Ok = ();
    type Error = Differs;
    type SerializeMap = Impossible<(), Differs>;
    type SerializeStruct = Impossible<(), Differs>;

    refuse!(scalars);
    refuse!(sequences);

    fn serialize_str(self, key: &str) -> Result<(), Differs> {
        (self.0 == key).then_some(()).ok_or(Differs)
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), Differs> {
        self.serialize_str(variant)
    }

    fn serialize_some<W: Serialize + ?Sized>(self, _: &W) -> Result<(), Differs> {
        refused()
    }

    fn serialize_newtype_struct<W: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &W,
    ) -> Result<(), Differs> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<W: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &W,
    ) -> Result<(), Differs> {
        refused()
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, Differs> {
        refused()
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeStruct, Differs> {
        refused()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
