//! JSON as PostgREST reads it: as `serde_json` writes it, but for `NaN` and the infinities. JSON has no
//! number for these, and `serde_json` writes null. Postgres reads them from a text.

use std::io::Write;

use serde::Serialize;
use serde::ser::{
    SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};
use serde_json::ser::Formatter;

/// Writes a value as JSON.
pub(crate) fn to_vec<V: Serialize + ?Sized>(value: &V) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&Whole(value))
}

/// Writes a value as JSON in a form of one's own.
pub(super) fn write_to<V, W, F>(value: &V, out: W, form: F) -> serde_json::Result<()>
where
    V: Serialize + ?Sized,
    W: Write,
    F: Formatter,
{
    value.serialize(Floats(&mut serde_json::Serializer::with_formatter(
        out, form,
    )))
}

/// A value that serializes through [`Floats`], and so do all values in it.
struct Whole<'a, V: ?Sized>(&'a V);

impl<V: Serialize + ?Sized> Serialize for Whole<'_, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(Floats(serializer))
    }
}

/// A serializer, or one of its parts, that writes numbers without digits as texts.
struct Floats<S>(S);

macro_rules! passed_on {
    ($($method:ident($kind:ty))*) => {$(
        fn $method(self, value: $kind) -> Result<S::Ok, S::Error> {
            self.0.$method(value)
        }
    )*};
}

macro_rules! parts {
    ($($part:ident, $method:ident($($argument:ident: $kind:ty),*);)*) => {$(
        type $part = Floats<S::$part>;

        fn $method(self, $($argument: $kind),*) -> Result<Self::$part, S::Error> {
            self.0.$method($($argument),*).map(Floats)
        }
    )*};
}

impl<S: Serializer> Serializer for Floats<S> {
    type Ok = S::Ok;
    type Error = S::Error;

    passed_on! {
        serialize_bool(bool) serialize_i8(i8) serialize_i16(i16) serialize_i32(i32)
        serialize_i64(i64) serialize_i128(i128) serialize_u8(u8) serialize_u16(u16)
        serialize_u32(u32) serialize_u64(u64) serialize_u128(u128) serialize_char(char)
        serialize_str(&str) serialize_bytes(&[u8]) serialize_unit_struct(&'static str)
    }

    parts! {
        SerializeSeq, serialize_seq(len: Option<usize>);
        SerializeTuple, serialize_tuple(len: usize);
        SerializeTupleStruct, serialize_tuple_struct(name: &'static str, len: usize);
        SerializeTupleVariant, serialize_tuple_variant(
            name: &'static str, index: u32, variant: &'static str, len: usize
        );
        SerializeMap, serialize_map(len: Option<usize>);
        SerializeStruct, serialize_struct(name: &'static str, len: usize);
        SerializeStructVariant, serialize_struct_variant(
            name: &'static str, index: u32, variant: &'static str, len: usize
        );
    }

    fn serialize_f32(self, value: f32) -> Result<S::Ok, S::Error> {
        match without_digits(f64::from(value)) {
            Some(text) => self.0.serialize_str(text),
            None => self.0.serialize_f32(value),
        }
    }

    fn serialize_f64(self, value: f64) -> Result<S::Ok, S::Error> {
        match without_digits(value) {
            Some(text) => self.0.serialize_str(text),
            None => self.0.serialize_f64(value),
        }
    }

    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.0.serialize_none()
    }

    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        self.0.serialize_unit()
    }

    fn serialize_some<V: Serialize + ?Sized>(self, value: &V) -> Result<S::Ok, S::Error> {
        self.0.serialize_some(&Whole(value))
    }

    fn serialize_unit_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result<S::Ok, S::Error> {
        self.0.serialize_unit_variant(name, index, variant)
    }

    fn serialize_newtype_struct<V: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &V,
    ) -> Result<S::Ok, S::Error> {
        self.0.serialize_newtype_struct(name, &Whole(value))
    }

    fn serialize_newtype_variant<V: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &V,
    ) -> Result<S::Ok, S::Error> {
        self.0
            .serialize_newtype_variant(name, index, variant, &Whole(value))
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

macro_rules! lists {
    ($($part:ident, $method:ident;)*) => {$(
        impl<S: $part> $part for Floats<S> {
            type Ok = S::Ok;
            type Error = S::Error;

            fn $method<V: Serialize + ?Sized>(&mut self, value: &V) -> Result<(), S::Error> {
                self.0.$method(&Whole(value))
            }

            fn end(self) -> Result<S::Ok, S::Error> {
                self.0.end()
            }
        }
    )*};
}

lists! {
    SerializeSeq, serialize_element;
    SerializeTuple, serialize_element;
    SerializeTupleStruct, serialize_field;
    SerializeTupleVariant, serialize_field;
}

macro_rules! structs {
    ($($part:ident)*) => {$(
        impl<S: $part> $part for Floats<S> {
            type Ok = S::Ok;
            type Error = S::Error;

            fn serialize_field<V: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &V,
            ) -> Result<(), S::Error> {
                self.0.serialize_field(key, &Whole(value))
            }

            fn skip_field(&mut self, key: &'static str) -> Result<(), S::Error> {
                self.0.skip_field(key)
            }

            fn end(self) -> Result<S::Ok, S::Error> {
                self.0.end()
            }
        }
    )*};
}

structs! { SerializeStruct SerializeStructVariant }

impl<S: SerializeMap> SerializeMap for Floats<S> {
    type Ok = S::Ok;
    type Error = S::Error;

    fn serialize_key<K: Serialize + ?Sized>(&mut self, key: &K) -> Result<(), S::Error> {
        self.0.serialize_key(key)
    }

    fn serialize_value<V: Serialize + ?Sized>(&mut self, value: &V) -> Result<(), S::Error> {
        self.0.serialize_value(&Whole(value))
    }

    fn end(self) -> Result<S::Ok, S::Error> {
        self.0.end()
    }
}

/// The text of a number that has no digits, as Postgres reads it.
pub(crate) fn without_digits(value: f64) -> Option<&'static str> {
    match value {
        _ if value.is_nan() => Some("NaN"),
        f64::INFINITY => Some("Infinity"),
        f64::NEG_INFINITY => Some("-Infinity"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::value::RawValue;

    use super::*;

    fn written(value: impl Serialize) -> String {
        String::from_utf8(to_vec(&value).unwrap()).unwrap()
    }

    #[derive(Serialize)]
    enum Kind {
        Unit,
        One(f64),
        Two(f64, f32),
        Named { at: f64 },
    }

    #[test]
    fn a_number_without_digits_is_a_text_wherever_it_stands() {
        assert_eq!(written(f64::NAN), r#""NaN""#);
        assert_eq!(
            written([f64::INFINITY, 1.5, f64::NEG_INFINITY]),
            r#"["Infinity",1.5,"-Infinity"]"#
        );
        assert_eq!(
            written((1_u8, Some(f32::NAN), None::<f64>)),
            r#"[1,"NaN",null]"#
        );
        assert_eq!(
            written(BTreeMap::from([(1, f32::INFINITY)])),
            r#"{"1":"Infinity"}"#
        );
        let all = [
            Kind::Unit,
            Kind::One(f64::NAN),
            Kind::Two(1.0, f32::NAN),
            Kind::Named { at: f64::NAN },
        ];
        let expected = r#"["Unit",{"One":"NaN"},{"Two":[1.0,"NaN"]},{"Named":{"at":"NaN"}}]"#;
        assert_eq!(written(all), expected);
    }

    #[test]
    fn everything_else_is_as_serde_json_writes_it() {
        let raw = RawValue::from_string(r#"{"a": 1.50}"#.to_owned()).unwrap();
        let value = serde_json::json!({"a": [1, -2, 3.5, "x\n", null, true], "b": {"c": u64::MAX}});
        assert_eq!(written(&raw), raw.get());
        assert_eq!(written(&value), value.to_string());
        assert_eq!(written(()), "null");
        assert_eq!(written('c'), "\"c\"");
    }
}
