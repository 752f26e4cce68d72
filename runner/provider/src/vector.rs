//! Vectors: read from the provider as base64 or numbers, written as text for pgvector.

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{
    Deserialize, Deserializer,
    de::{Error, SeqAccess, Visitor},
};

/// Appends a vector in the text form that pgvector reads, such as `[0.1,-0.25]`. Each number has the
/// fewest digits that read back as the same `f32`.
///
/// The numbers must be finite. Those of [`Embeddings`](super::Embeddings) are.
///
/// ```
/// let mut text = String::new();
/// sluice_provider::write_vector(&mut text, &[0.1, -0.25, 1e-7]);
/// assert_eq!(text, "[0.1,-0.25,1e-7]");
/// ```
pub fn write_vector(out: &mut String, vector: &[f32]) {
    out.push_str(&json(vector));
}

/// A vector in a response: base64 of little-endian numbers, or a list of numbers.
///
/// NaN and infinities are kept. The caller reports them, because it knows the input that the vector
/// belongs to.
#[derive(Debug, PartialEq)]
pub(super) struct Vector(pub(super) Vec<f32>);

impl<'de> Deserialize<'de> for Vector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(VectorVisitor)
    }
}

struct VectorVisitor;

impl<'de> Visitor<'de> for VectorVisitor {
    type Value = Vector;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a vector in base64, or as a list of numbers")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vector, E> {
        let bytes = BASE64_STANDARD
            .decode(text)
            .map_err(|_| E::custom("base64 is malformed"))?;
        let (numbers, rest) = bytes.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(E::custom("base64 ends inside a number"));
        }
        Ok(Vector(
            numbers
                .iter()
                .map(|&number| f32::from_le_bytes(number))
                .collect(),
        ))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut numbers: A) -> Result<Vector, A::Error> {
        let mut vector = Vec::with_capacity(numbers.size_hint().unwrap_or(1536).min(8192));
        // JSON has no NaN. Servers write null for it.
        while let Some(number) = numbers.next_element::<Option<f32>>()? {
            vector.push(number.unwrap_or(f32::NAN));
        }
        Ok(Vector(vector))
    }
}

/// A JSON list has the form that pgvector reads, and its writer takes a third of `Display`'s time.
fn json(vector: &[f32]) -> String {
    serde_json::to_string(vector).expect("a list of numbers always has a JSON form")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(vector: &[f32]) -> String {
        let mut text = String::new();
        write_vector(&mut text, vector);
        text
    }

    #[test]
    fn vectors_are_written_as_pgvector_reads_them() {
        assert_eq!(text(&[]), "[]");
        assert_eq!(text(&[1.0, -0.5, 0.012_345_678]), "[1.0,-0.5,0.012345678]");
        assert_eq!(
            text(&[f32::MAX, f32::MIN_POSITIVE]),
            "[3.4028235e+38,1.1754944e-38]"
        );
    }

    #[test]
    fn writing_appends() {
        let mut text = "a".to_owned();
        write_vector(&mut text, &[2.5]);
        assert_eq!(text, "a[2.5]");
    }

    #[test]
    fn base64_is_little_endian() {
        // 1.0 is 0x3f800000 and -2.0 is 0xc0000000.
        let vector: Vector = serde_json::from_str(r#""AACAPwAAAMA=""#).unwrap();
        assert_eq!(vector, Vector(vec![1.0, -2.0]));
        // Some writers escape the slash.
        let escaped: Vector = serde_json::from_str(r#""AACAPw\u0041AAMA=""#).unwrap();
        assert_eq!(escaped, vector);
    }

    #[test]
    fn lists_of_numbers_are_read_and_nulls_are_kept() {
        let vector: Vector = serde_json::from_str("[1, -0.25, 1e-3, null, 1e40]").unwrap();
        assert_eq!(vector.0[..3], [1.0, -0.25, 0.001]);
        assert!(vector.0[3].is_nan() && vector.0[4].is_infinite());
    }

    #[test]
    fn malformed_vectors_say_what_is_wrong() {
        for (json, expected) in [
            (r#""AACA?w==""#, "base64 is malformed"),
            (r#""AACAPwA=""#, "base64 ends inside a number"),
            (
                r#"{"a":1}"#,
                "expected a vector in base64, or as a list of numbers",
            ),
        ] {
            let error = serde_json::from_str::<Vector>(json)
                .unwrap_err()
                .to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    proptest! {
        #[test]
        fn every_number_reads_back_the_same(
            vector in prop::collection::vec(prop::num::f32::NORMAL | prop::num::f32::SUBNORMAL, 0..20),
        ) {
            let text = text(&vector);
            let numbers = text.trim_matches(['[', ']']);
            let read: Vec<f32> = numbers.split_terminator(',').map(|n| n.parse().unwrap()).collect();
            prop_assert_eq!(read, vector);
        }
    }
}
