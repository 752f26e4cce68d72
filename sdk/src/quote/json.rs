//! JSON as PostgREST reads it: as `serde_json` writes it, but for `NaN` and the infinities. JSON has no
//! number for these, and `serde_json` writes null. Postgres reads them from a text.
//!
//! The serializer is this crate's own, because it notes the members of a row while it writes them, and
//! because it looks at sixteen bytes of a text at once.

use std::fmt::Display;
use std::io::Write;

use serde::Serialize;
use serde::ser::{
    Error as _, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant, Serializer,
};
use serde_json::{Error, Result};

use super::row::Notes;

/// Writes a value as JSON.
pub(crate) fn to_vec<V: Serialize + ?Sized>(value: &V) -> Result<Vec<u8>> {
    const USUAL_BYTES: usize = 128;
    let mut out = Vec::with_capacity(USUAL_BYTES);
    value.serialize(Json::new(&mut out))?;
    Ok(out)
}

/// Writes a value as JSON. If it is an object, `notes` gets its members.
pub(super) fn write_noted<V: Serialize + ?Sized>(
    value: &V,
    out: &mut Vec<u8>,
    notes: &mut Notes,
) -> Result<()> {
    value.serialize(Json {
        out,
        notes: Some(notes),
        raw: false,
    })
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

/// Writes one value.
struct Json<'a> {
    out: &'a mut Vec<u8>,
    /// Of the first object only, if nothing is around it.
    notes: Option<&'a mut Notes>,
    /// Whether a text is JSON already.
    raw: bool,
}

/// Writes the parts of a value: elements of an array, members of an object.
struct Parts<'a> {
    out: &'a mut Vec<u8>,
    notes: Option<&'a mut Notes>,
    is_first: bool,
    /// Whether the value is one text, which is JSON already.
    raw: bool,
    close: &'static [u8],
}

/// Under these names `serde_json` passes a text that is JSON already: a `RawValue`, and a `Number` with
/// its feature `arbitrary_precision`.
const RAW: &str = "$serde_json::private::";

impl<'a> Json<'a> {
    fn new(out: &'a mut Vec<u8>) -> Self {
        Self {
            out,
            notes: None,
            raw: false,
        }
    }

    fn parts(self, open: u8, close: &'static [u8]) -> Parts<'a> {
        self.out.push(open);
        Parts {
            out: self.out,
            notes: self.notes,
            is_first: true,
            raw: false,
            close,
        }
    }

    /// Begins an object whose only key is the name of a variant.
    fn variant(self, variant: &str) -> Self {
        self.out.push(b'{');
        text(variant.as_bytes(), self.out);
        self.out.push(b':');
        Self::new(self.out)
    }
}

/// Numbers, as `serde_json` writes them.
macro_rules! numbers {
    ($($method:ident($kind:ty))*) => {$(
        fn $method(self, value: $kind) -> Result<()> {
            serde_json::to_writer(self.out, &value)
        }
    )*};
}

impl<'a> Serializer for Json<'a> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Parts<'a>;
    type SerializeTuple = Parts<'a>;
    type SerializeTupleStruct = Parts<'a>;
    type SerializeTupleVariant = Parts<'a>;
    type SerializeMap = Parts<'a>;
    type SerializeStruct = Parts<'a>;
    type SerializeStructVariant = Parts<'a>;

    numbers! {
        serialize_i8(i8) serialize_i16(i16) serialize_i32(i32) serialize_i64(i64)
        serialize_i128(i128) serialize_u8(u8) serialize_u16(u16) serialize_u32(u32)
        serialize_u64(u64) serialize_u128(u128)
    }

    fn serialize_f32(self, value: f32) -> Result<()> {
        match without_digits(f64::from(value)) {
            Some(text) => self.serialize_str(text),
            None => serde_json::to_writer(self.out, &value),
        }
    }

    fn serialize_f64(self, value: f64) -> Result<()> {
        match without_digits(value) {
            Some(text) => self.serialize_str(text),
            None => serde_json::to_writer(self.out, &value),
        }
    }

    fn serialize_bool(self, value: bool) -> Result<()> {
        let word: &[u8] = if value { b"true" } else { b"false" };
        self.out.extend_from_slice(word);
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<()> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<()> {
        if self.raw {
            self.out.extend_from_slice(value.as_bytes());
        } else {
            text(value.as_bytes(), self.out);
        }
        Ok(())
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<()> {
        self.out.push(b'"');
        let start = self.out.len();
        write!(self.out, "{value}").map_err(Error::custom)?;
        let written = self.out.get(start..).unwrap_or_default();
        if clean_length(written) < written.len() {
            let written = self.out.split_off(start);
            escaped(&written, self.out);
        }
        self.out.push(b'"');
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<()> {
        self.collect_seq(value)
    }

    fn serialize_none(self) -> Result<()> {
        self.serialize_unit()
    }

    fn serialize_some<V: Serialize + ?Sized>(self, value: &V) -> Result<()> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<()> {
        self.out.extend_from_slice(b"null");
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<()> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<()> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<V: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &V,
    ) -> Result<()> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<V: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &V,
    ) -> Result<()> {
        let json = self.variant(variant);
        value.serialize(Json::new(&mut *json.out))?;
        json.out.push(b'}');
        Ok(())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Parts<'a>> {
        Ok(Json::new(self.out).parts(b'[', b"]"))
    }

    fn serialize_tuple(self, _: usize) -> Result<Parts<'a>> {
        self.serialize_seq(None)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Parts<'a>> {
        self.serialize_seq(None)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Parts<'a>> {
        Ok(self.variant(variant).parts(b'[', b"]}"))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Parts<'a>> {
        Ok(self.parts(b'{', b"}"))
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Parts<'a>> {
        if name.starts_with(RAW) {
            return Ok(Parts {
                out: self.out,
                notes: None,
                is_first: true,
                raw: true,
                close: b"",
            });
        }
        Ok(self.parts(b'{', b"}"))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Parts<'a>> {
        Ok(self.variant(variant).parts(b'{', b"}}"))
    }
}

impl Parts<'_> {
    fn separate(&mut self) {
        if !self.is_first {
            self.out.push(b',');
        }
        self.is_first = false;
    }

    fn element<V: Serialize + ?Sized>(&mut self, value: &V) -> Result<()> {
        self.separate();
        value.serialize(Json::new(self.out))
    }

    fn field<V: Serialize + ?Sized>(&mut self, name: &'static str, value: &V) -> Result<()> {
        if self.raw {
            return value.serialize(Json {
                out: self.out,
                notes: None,
                raw: true,
            });
        }
        let Some(notes) = &mut self.notes else {
            self.separate();
            text(name.as_bytes(), self.out);
            self.out.push(b':');
            return value.serialize(Json::new(self.out));
        };
        notes.field(name, self.out);
        let start = self.out.len();
        value.serialize(Json::new(self.out))?;
        notes.value(start..self.out.len());
        Ok(())
    }

    fn close(self) {
        self.out.extend_from_slice(self.close);
    }
}

macro_rules! parts {
    ($($part:ident: $method:ident($($key:ident: $kind:ty)?) as $own:ident;)*) => {$(
        impl $part for Parts<'_> {
            type Ok = ();
            type Error = Error;

            fn $method<V: Serialize + ?Sized>(
                &mut self,
                $($key: $kind,)?
                value: &V,
            ) -> Result<()> {
                self.$own($($key,)? value)
            }

            fn end(self) -> Result<()> {
                self.close();
                Ok(())
            }
        }
    )*};
}

parts! {
    SerializeSeq: serialize_element() as element;
    SerializeTuple: serialize_element() as element;
    SerializeTupleStruct: serialize_field() as element;
    SerializeTupleVariant: serialize_field() as element;
    SerializeStruct: serialize_field(name: &'static str) as field;
    SerializeStructVariant: serialize_field(name: &'static str) as field;
}

impl SerializeMap for Parts<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<K: Serialize + ?Sized>(&mut self, key: &K) -> Result<()> {
        self.separate();
        let start = self.out.len();
        key.serialize(Json::new(self.out))?;
        match self.out.get(start) {
            Some(b'"') => {}
            Some(b'0'..=b'9' | b'-' | b't' | b'f') => {
                self.out.insert(start, b'"');
                self.out.push(b'"');
            }
            _ => return Err(Error::custom("a key must be a text")),
        }
        if let Some(notes) = &mut self.notes {
            notes.key(self.out.get(start..).unwrap_or_default())?;
        }
        Ok(())
    }

    fn serialize_value<V: Serialize + ?Sized>(&mut self, value: &V) -> Result<()> {
        self.out.push(b':');
        let start = self.out.len();
        value.serialize(Json::new(self.out))?;
        if let Some(notes) = &mut self.notes {
            notes.value(start..self.out.len());
        }
        Ok(())
    }

    fn end(self) -> Result<()> {
        self.close();
        Ok(())
    }
}

/// Writes a text between quotes.
pub(super) fn text(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    escaped(text, out);
    out.push(b'"');
}

fn escaped(text: &[u8], out: &mut Vec<u8>) {
    const HEX: [u8; 16] = *b"0123456789abcdef";
    let mut rest = text;
    loop {
        let (clean, from) = rest.split_at(clean_length(rest));
        out.extend_from_slice(clean);
        let Some((&special, after)) = from.split_first() else {
            return;
        };
        let letter = match special {
            b'"' | b'\\' => special,
            b'\n' => b'n',
            b'\t' => b't',
            b'\r' => b'r',
            0x08 => b'b',
            0x0c => b'f',
            _ => b'u',
        };
        out.extend_from_slice(&[b'\\', letter]);
        if letter == b'u' {
            let digit = |bits: u8| HEX.get(usize::from(bits)).copied().unwrap_or_default();
            out.extend_from_slice(&[b'0', b'0', digit(special >> 4), digit(special & 15)]);
        }
        rest = after;
    }
}

/// The length of the beginning that needs no escapes.
fn clean_length(text: &[u8]) -> usize {
    let (blocks, rest) = text.as_chunks::<16>();
    let clean = blocks.iter().take_while(|block| is_clean(block)).count() * 16;
    if clean + rest.len() == text.len() && is_end_clean(text, rest) {
        return text.len();
    }
    let from = text.get(clean..).unwrap_or_default();
    let length = from.iter().position(|&byte| is_special(byte));
    clean + length.unwrap_or(from.len())
}

/// Whether the end of a text needs no escapes. It is looked at together with what is before it.
fn is_end_clean(text: &[u8], end: &[u8]) -> bool {
    match text.len() {
        16.. => text.last_chunk::<16>().is_some_and(is_clean),
        8.. => [text.first_chunk::<8>(), text.last_chunk()]
            .into_iter()
            .flatten()
            .all(is_clean),
        _ => !end.iter().any(|&byte| is_special(byte)),
    }
}

fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Looks at all bytes at once: the compiler makes a few vector instructions of it.
fn is_clean<const N: usize>(block: &[u8; N]) -> bool {
    !block
        .iter()
        .fold(false, |any, &byte| any | is_special(byte))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
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
        assert_eq!(written('"'), r#""\"""#);
        assert_eq!(written(i128::MIN), i128::MIN.to_string());
        let digits = (0.1_f32, 1e300, -0.0);
        assert_eq!(written(digits), serde_json::to_string(&digits).unwrap());
        assert_eq!(written(format_args!("{}", "a\"b")), r#""a\"b""#);
        let keys = (
            BTreeMap::from([(-1, 'a')]),
            BTreeMap::from([(true, "b")]),
            BTreeMap::from([('"', Some(1))]),
            BTreeMap::from([(Some("k\n"), None::<u8>)]),
        );
        assert_eq!(written(&keys), serde_json::to_string(&keys).unwrap());
        assert!(to_vec(&BTreeMap::from([((), 1)])).is_err());
        assert!(to_vec(&BTreeMap::from([([1], 1)])).is_err());
    }

    #[test]
    fn a_number_with_all_its_digits_is_passed_on() {
        struct Number(&'static str);
        impl Serialize for Number {
            fn serialize<S: Serializer>(
                &self,
                serializer: S,
            ) -> std::result::Result<S::Ok, S::Error> {
                let name = "$serde_json::private::Number";
                let mut parts = serializer.serialize_struct(name, 1)?;
                parts.serialize_field(name, self.0)?;
                parts.end()
            }
        }
        assert_eq!(written([Number("1.50"), Number("1e9")]), "[1.50,1e9]");
    }

    proptest! {
        #[test]
        fn any_text_is_as_serde_json_writes_it(
            text in "(?s)([a-z]{0,20}[\\x00-\\x7f]{0,3}.{0,3}){0,4}",
        ) {
            let value = BTreeMap::from([(&text, &text)]);
            prop_assert_eq!(written(&value), serde_json::to_string(&value).unwrap());
            prop_assert_eq!(written(format_args!("{text}")), serde_json::to_string(&text).unwrap());
        }
    }
}
