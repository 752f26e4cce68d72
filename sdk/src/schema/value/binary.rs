//! Values that JSON holds as text: bytes and vectors.

#[cfg(feature = "bytes")]
pub use bytea::Bytea;
#[cfg(feature = "pgvector")]
pub use vector::Vector;

#[cfg(feature = "bytes")]
mod bytea {
    use std::fmt::Write;

    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    use crate::schema::Value;

    /// The bytes of a `bytea` column, which JSON and filters hold as `\x00ff`.
    ///
    /// ```
    /// use sluice_sdk::{schema::Bytea, col, serde_json};
    ///
    /// let bytes = Bytea::from(vec![0, 255]);
    /// assert_eq!(serde_json::to_string(&bytes).unwrap(), r#""\\x00ff""#);
    /// assert_eq!(serde_json::from_str::<Bytea>(r#""\\x00FF""#).unwrap(), bytes);
    /// assert_eq!(col("digest").typed::<Bytea>().eq(bytes).to_string(), r"digest=eq.\x00ff");
    /// ```
    #[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub struct Bytea(pub Bytes);

    impl<B: Into<Bytes>> From<B> for Bytea {
        fn from(bytes: B) -> Self {
            Self(bytes.into())
        }
    }

    impl Value for Bytea {
        fn write(&self, out: &mut String) {
            out.push_str("\\x");
            for byte in &self.0 {
                // Writing to a String cannot fail.
                let _ = write!(out, "{byte:02x}");
            }
        }
    }

    impl Serialize for Bytea {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut text = String::with_capacity(2 + 2 * self.0.len());
            self.write(&mut text);
            serializer.serialize_str(&text)
        }
    }

    impl<'de> Deserialize<'de> for Bytea {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let text = String::deserialize(deserializer)?;
            let digits = text.strip_prefix("\\x").and_then(bytes_of);
            digits
                .map(Self::from)
                .ok_or_else(|| de::Error::custom("not bytes as `\\x00ff`"))
        }
    }

    fn bytes_of(digits: &str) -> Option<Vec<u8>> {
        let digit = |byte: &u8| char::from(*byte).to_digit(16);
        let pair = |pair: &[u8]| match pair {
            [high, low] => u8::try_from(digit(high)? * 16 + digit(low)?).ok(),
            _ => None,
        };
        digits.as_bytes().chunks(2).map(pair).collect()
    }
}

#[cfg(feature = "pgvector")]
mod vector {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    use crate::schema::Value;

    /// The numbers of a `vector` or `halfvec` column of pgvector, which JSON and filters hold as
    /// `[0.1,0.2]`.
    ///
    /// ```
    /// use sluice_sdk::{schema::Vector, serde_json};
    ///
    /// let vector = Vector::from(vec![0.5, -1.0]);
    /// assert_eq!(serde_json::to_string(&vector).unwrap(), r#""[0.5,-1]""#);
    /// assert_eq!(serde_json::from_str::<Vector>(r#""[0.5,-1]""#).unwrap(), vector);
    /// let numbers: Vec<f32> = vector.into();
    /// ```
    #[derive(Clone, Debug, Default, PartialEq)]
    pub struct Vector(pub Vec<f32>);

    impl From<Vec<f32>> for Vector {
        fn from(numbers: Vec<f32>) -> Self {
            Self(numbers)
        }
    }

    impl From<Vector> for Vec<f32> {
        fn from(vector: Vector) -> Self {
            vector.0
        }
    }

    impl Value for Vector {
        fn write(&self, out: &mut String) {
            out.push('[');
            for (position, number) in self.0.iter().enumerate() {
                if position > 0 {
                    out.push(',');
                }
                number.write(out);
            }
            out.push(']');
        }
    }

    impl Serialize for Vector {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut text = String::new();
            self.write(&mut text);
            serializer.serialize_str(&text)
        }
    }

    impl<'de> Deserialize<'de> for Vector {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let text = String::deserialize(deserializer)?;
            serde_json::from_str(&text)
                .map(Self)
                .map_err(|_| de::Error::custom("not a vector as `[0.1,0.2]`"))
        }
    }
}
