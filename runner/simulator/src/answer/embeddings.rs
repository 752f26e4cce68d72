//! `POST /v1/embeddings`: the response.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Serialize;
use serde_json::{Value, json};

use super::{corrupt::corrupt_vectors, vector::embed};
use crate::{config::Style, fault::Fault, model::MODEL_SUFFIX, request::ParsedEmbeddings};

#[derive(Serialize)]
struct EmbeddingsBody {
    object: &'static str,
    data: Vec<EmbeddingItem>,
    model: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Value>,
}

#[derive(Serialize)]
struct EmbeddingItem {
    object: &'static str,
    index: usize,
    embedding: EncodedVector,
}

#[derive(Serialize)]
#[serde(untagged)]
enum EncodedVector {
    Base64(String),
    /// NaN is written as null.
    Numbers(Vec<f32>),
}

/// The body of the response, as JSON.
pub(super) fn answer(request: &ParsedEmbeddings, fault: Option<Fault>, style: Style) -> Vec<u8> {
    let texts = request.texts.iter();
    let vectors = texts.map(|text| embed(&request.model, text, request.dimensions));
    let mut vectors = vectors.enumerate().collect();
    corrupt_vectors(&mut vectors, fault);
    let base64 = request.base64 && style != Style::Local;
    let data = vectors.into_iter().map(|(index, vector)| EmbeddingItem {
        object: "embedding",
        index,
        embedding: if base64 {
            EncodedVector::Base64(encode(&vector))
        } else {
            EncodedVector::Numbers(vector)
        },
    });
    let usage = json!({"prompt_tokens": request.tokens, "total_tokens": request.tokens});
    let body = EmbeddingsBody {
        object: "list",
        data: data.collect(),
        model: format!("{}{MODEL_SUFFIX}", request.model),
        usage: (style != Style::Local).then_some(usage),
    };
    serde_json::to_vec(&body).expect("texts and numbers always have a JSON form")
}

fn encode(vector: &[f32]) -> String {
    let bytes: Vec<u8> = vector
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect();
    BASE64_STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{ParsedRequest, Route};

    fn answered(body: &Value, style: Style) -> Value {
        let body = body.to_string();
        let request = ParsedRequest::read(Route::Embeddings, body.as_bytes()).unwrap();
        let ParsedRequest::Embeddings(request) = request else {
            panic!("{request:?}")
        };
        serde_json::from_slice(&answer(&request, None, style)).unwrap()
    }

    #[test]
    fn a_local_server_sends_numbers_only_and_no_usage() {
        let body = json!({"model": "text-embedding-3-small", "input": "a", "dimensions": 2,
            "encoding_format": "base64"});
        let answer = answered(&body, Style::Local);
        assert_eq!(answer["data"][0]["embedding"].as_array().unwrap().len(), 2);
        assert_eq!(answer.get("usage"), None);
    }

    #[test]
    fn base64_and_numbers_are_the_same_vector() {
        let in_format = |format: &str| {
            let model = "text-embedding-3-small";
            let body = json!({"model": model, "input": ["a b"], "dimensions": 3,
                "encoding_format": format});
            answered(&body, Style::OpenAi)
        };
        let (numbers, base64) = (in_format("float"), in_format("base64"));
        let list: Vec<f32> =
            serde_json::from_value(numbers["data"][0]["embedding"].clone()).unwrap();
        assert_eq!(base64["data"][0]["embedding"], encode(&list));
        assert_eq!(
            base64["usage"],
            json!({"prompt_tokens": 2, "total_tokens": 2})
        );
        assert_eq!(base64["model"], "text-embedding-3-small-simulated");
    }
}
