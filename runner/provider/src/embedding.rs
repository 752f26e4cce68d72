//! Embeddings: the request, and the checks of its response.

use std::collections::HashSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Breakage, vector::Vector};

/// Texts to embed.
///
/// Source: "Create embeddings".
#[derive(Clone, Copy, Debug)]
pub struct EmbeddingRequest<'a> {
    /// The model, such as `text-embedding-3-small`.
    pub model: &'a str,
    /// The texts: 1 to [`MAX_INPUTS`](super::MAX_INPUTS), none empty.
    pub inputs: &'a [&'a str],
    /// The length that every vector must have. If it is not given, all vectors must be equally long.
    /// It is sent only to models that take it, and checked in any case.
    pub dimensions: Option<usize>,
}

/// The form in which vectors are requested.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum VectorEncoding {
    /// Little-endian bytes in base64: a quarter of the size of numbers, and far cheaper to read.
    #[default]
    Base64,
    /// Numbers, for servers that refuse base64.
    Float,
}

/// A vector of finite numbers for each input, in the order of the inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Embeddings {
    /// One vector an input.
    pub vectors: Vec<Vec<f32>>,
}

/// The body of a request.
#[derive(Serialize)]
pub(super) struct EmbeddingBody<'a> {
    model: &'a str,
    input: &'a [&'a str],
    encoding_format: VectorEncoding,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<usize>,
}

impl<'a> EmbeddingRequest<'a> {
    pub(super) fn body(
        &self,
        encoding: VectorEncoding,
        send_dimensions: bool,
    ) -> EmbeddingBody<'a> {
        EmbeddingBody {
            model: self.model,
            input: self.inputs,
            encoding_format: encoding,
            dimensions: self.dimensions.filter(|_| send_dimensions),
        }
    }

    /// Puts the vectors of a response in the order of the inputs, or says what is wrong with them.
    pub(super) fn arrange(&self, data: Vec<EmbeddingItem>) -> Result<Embeddings, Breakage> {
        let expected = self.inputs.len();
        if data.len() != expected {
            return Err(Breakage::Count {
                expected,
                found: data.len(),
            });
        }
        let places = places(&data)?;
        let dimensions = self
            .dimensions
            .or(data.first().map(|item| item.embedding.0.len()));
        if let Some(found) = other_length(&data).filter(|found| Some(*found) != dimensions) {
            return Err(Breakage::AllDimensions {
                expected: dimensions.unwrap_or_default(),
                found,
            });
        }
        // An empty vector marks a place that is still free, because dimensions are at least one.
        let mut vectors = vec![Vec::new(); expected];
        for (index, EmbeddingItem { embedding, .. }) in places.into_iter().zip(data) {
            let Vector(vector) = embedding;
            let place = vectors
                .get_mut(index)
                .ok_or(Breakage::UnknownIndex(index))?;
            if !place.is_empty() {
                return Err(Breakage::RepeatedIndex(index));
            }
            let (found, expected) = (vector.len(), dimensions.unwrap_or_default());
            if found != expected || found == 0 {
                return Err(Breakage::Dimensions {
                    index,
                    expected,
                    found,
                });
            }
            if !vector.iter().all(|number| number.is_finite()) {
                return Err(Breakage::NotFinite(index));
            }
            *place = vector;
        }
        Ok(Embeddings { vectors })
    }
}

/// A vector in the response's JSON. Some servers leave out the index, or the first one.
#[derive(Deserialize)]
pub(super) struct EmbeddingItem {
    index: Option<usize>,
    embedding: Vector,
}

/// The input that each vector belongs to. A vector without an index belongs to the input at its place, if the
/// vectors with one are in order. A single one belongs to the input that no other vector claims.
fn places(data: &[EmbeddingItem]) -> Result<Vec<usize>, Breakage> {
    let in_order = (0..).zip(data);
    let in_order = in_order.map(|(place, item)| item.index.is_none_or(|index| index == place));
    if in_order.into_iter().all(|is_in_order| is_in_order) {
        return Ok((0..data.len()).collect());
    }
    let claimed: HashSet<usize> = data.iter().filter_map(|item| item.index).collect();
    let mut free = (0..data.len()).filter(|place| !claimed.contains(place));
    let unknown = data.iter().filter(|item| item.index.is_none()).count();
    let given = (0..).zip(data).map(|(place, item)| match item.index {
        Some(index) => Ok(index),
        None if unknown == 1 => free.next().ok_or(Breakage::MissingIndex(place)),
        None => Err(Breakage::MissingIndex(place)),
    });
    given.collect()
}

/// The length of all vectors, if they are equally long.
fn other_length(data: &[EmbeddingItem]) -> Option<usize> {
    let mut lengths = data.iter().map(|item| item.embedding.0.len());
    let first = lengths.next().filter(|length| *length > 0)?;
    lengths.all(|length| length == first).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(inputs: usize, dimensions: Option<usize>, data: &str) -> Result<Embeddings, Breakage> {
        let texts = vec!["a"; inputs];
        let request = EmbeddingRequest {
            model: "m",
            inputs: &texts,
            dimensions,
        };
        request.arrange(serde_json::from_str(&format!("[{data}]")).unwrap())
    }

    #[test]
    fn vectors_are_matched_by_index() {
        let shuffled = r#"{"index":1,"embedding":[3,4]},{"index":0,"embedding":[1,2]}"#;
        let vectors = vec![vec![1.0, 2.0], vec![3.0, 4.0]];
        assert_eq!(read(2, Some(2), shuffled), Ok(Embeddings { vectors }));
    }

    #[test]
    fn vectors_without_an_index_are_matched_by_place() {
        let vector = |index: &str, number: u8| format!(r#"{{{index}"embedding":[{number}]}}"#);
        let none = |number| vector("", number);
        let at = |index: usize, number| vector(&format!(r#""index":{index},"#), number);
        let by_place = Ok(Embeddings {
            vectors: vec![vec![7.0], vec![8.0], vec![9.0]],
        });
        for data in [
            [none(7), none(8), none(9)],
            [none(7), at(1, 8), at(2, 9)],
            [vector(r#""index":null,"#, 7), at(1, 8), none(9)],
            // The vector without an index belongs to the only input that is left.
            [at(2, 9), none(7), at(1, 8)],
        ] {
            assert_eq!(read(3, Some(1), &data.join(",")), by_place, "{data:?}");
        }
        // The order is not known.
        let shuffled = [at(2, 9), none(7), none(8)].join(",");
        assert_eq!(read(3, Some(1), &shuffled), Err(Breakage::MissingIndex(1)));
    }

    #[test]
    fn another_length_of_all_vectors_is_named() {
        let data = r#"{"index":0,"embedding":[1,2]},{"index":1,"embedding":[3,4]}"#;
        let other = Breakage::AllDimensions {
            expected: 3,
            found: 2,
        };
        assert_eq!(read(2, Some(3), data), Err(other));
    }

    #[test]
    fn each_breakage_has_a_name() {
        let (zero, one) = (
            r#"{"index":0,"embedding":[1,2]}"#,
            r#"{"index":1,"embedding":[3]}"#,
        );
        let both = format!("{zero},{one}");
        let short = Breakage::Dimensions {
            index: 1,
            expected: 2,
            found: 1,
        };
        assert_eq!(read(2, Some(2), &both), Err(short.clone()));
        assert_eq!(read(2, None, &both), Err(short));
        assert_eq!(
            read(2, None, zero),
            Err(Breakage::Count {
                expected: 2,
                found: 1
            })
        );
        assert_eq!(
            read(1, None, &both),
            Err(Breakage::Count {
                expected: 1,
                found: 2
            })
        );
        let twice = format!("{zero},{zero}");
        assert_eq!(read(2, None, &twice), Err(Breakage::RepeatedIndex(0)));
        assert_eq!(read(1, None, one), Err(Breakage::UnknownIndex(1)));
        for number in ["null", "1e40"] {
            let vector = format!(r#"{{"index":0,"embedding":[1,{number}]}}"#);
            assert_eq!(
                read(1, Some(2), &vector),
                Err(Breakage::NotFinite(0)),
                "{number}"
            );
        }
        let empty = r#"{"index":0,"embedding":[]}"#;
        let none = Breakage::Dimensions {
            index: 0,
            expected: 0,
            found: 0,
        };
        assert_eq!(read(1, None, empty), Err(none));
    }

    #[test]
    fn dimensions_are_sent_only_if_the_model_takes_them() {
        let request = EmbeddingRequest {
            model: "m",
            inputs: &["a"],
            dimensions: Some(3),
        };
        let json =
            |send| serde_json::to_string(&request.body(VectorEncoding::Base64, send)).unwrap();
        let without = r#"{"model":"m","input":["a"],"encoding_format":"base64"}"#;
        assert_eq!(json(false), without);
        assert_eq!(json(true), without.replace('}', r#","dimensions":3}"#));
    }
}
