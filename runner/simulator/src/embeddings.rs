//! `POST /v1/embeddings`: what is refused, and what is answered.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Serialize;
use serde_json::Value;

use super::model::shortens_vectors;
use super::tokens::Tokenizer;
use super::{
    Fault, MODEL_SUFFIX, Style, fields::Fields, model::max_dimensions, question::Reply,
    refusal::Refusal, spoil::spoil_vectors, vector::embed,
};

/// The most inputs of a request.
const MAX_INPUTS: usize = 2_048;
/// The most tokens of an input.
const MAX_INPUT_TOKENS: usize = 8_192;
/// The most tokens of a request, also by the estimate of a token for every four bytes.
const MAX_REQUEST_TOKENS: usize = 300_000;

/// Texts to embed, found in order.
#[derive(Debug)]
pub(super) struct Inputs {
    pub(super) model: String,
    pub(super) texts: Vec<String>,
    pub(super) tokens: u64,
    dimensions: usize,
    base64: bool,
}

impl Inputs {
    /// Reads a request, or refuses it as `OpenAI` does. Source: "Create embeddings".
    pub(super) fn read(body: &[u8]) -> Result<Self, Refusal> {
        const KNOWN: [&str; 5] = ["model", "input", "dimensions", "encoding_format", "user"];
        let mut fields = Fields::read(body, &KNOWN)?;
        let model = fields.text("model")?;
        let model = model.ok_or_else(|| Refusal::invalid("model", "A model must be given."))?;
        let max = max_dimensions(&model).ok_or_else(|| Refusal::unknown_model(&model))?;
        let dimensions = dimensions(&model, max, fields.count("dimensions")?)?;
        let base64 = match fields.text("encoding_format")?.as_deref() {
            None | Some("float") => false,
            Some("base64") => true,
            Some(_) => {
                let message = "Invalid 'encoding_format': must be 'float' or 'base64'.";
                return Err(Refusal::invalid("encoding_format", message).with_code("invalid_value"));
            }
        };
        let texts = texts(fields.take("input"))?;
        let tokens = count(&texts, Tokenizer::for_model(&model))?;
        Ok(Self {
            model,
            texts,
            tokens,
            dimensions,
            base64,
        })
    }

    pub(super) fn answer(&self, fault: Option<Fault>, style: Style) -> Reply {
        let mut vectors: Vec<(usize, Vec<f32>)> = self
            .texts
            .iter()
            .map(|text| embed(&self.model, text, self.dimensions))
            .enumerate()
            .collect();
        spoil_vectors(&mut vectors, fault);
        let base64 = self.base64 && style != Style::Local;
        let data = vectors.into_iter().map(|(index, vector)| Item {
            object: "embedding",
            index,
            embedding: if base64 {
                Form::Base64(encode(&vector))
            } else {
                Form::Numbers(vector)
            },
        });
        let body = Body {
            object: "list",
            data: data.collect(),
            model: format!("{}{MODEL_SUFFIX}", self.model),
            usage: (style != Style::Local).then_some(Usage {
                prompt_tokens: self.tokens,
                total_tokens: self.tokens,
            }),
        };
        let body = serde_json::to_vec(&body).expect("texts and numbers always have a JSON form");
        Reply {
            body,
            output_tokens: 0,
        }
    }
}

fn dimensions(model: &str, max: usize, asked: Option<usize>) -> Result<usize, Refusal> {
    let refuse = |message: String| Err(Refusal::invalid("dimensions", message));
    match asked {
        None => Ok(max),
        Some(_) if !shortens_vectors(model) => {
            refuse("This model does not support specifying dimensions.".to_owned())
        }
        Some(asked) if asked > max => refuse(format!(
            "Invalid 'dimensions': {model} has at most {max}, but got {asked}."
        )),
        Some(asked) => Ok(asked),
    }
}

/// The texts of `input`: one, or a list. Lists of tokens, which `OpenAI` takes too, are refused.
fn texts(input: Option<Value>) -> Result<Vec<String>, Refusal> {
    let refuse = |message: String| Refusal::invalid("input", message);
    let list = match input {
        None => return Err(refuse("An input must be given.".to_owned())),
        Some(Value::Array(list)) => list,
        Some(single) => vec![single],
    };
    if list.is_empty() {
        return Err(refuse("Invalid 'input': the list is empty.".to_owned()));
    }
    if list.len() > MAX_INPUTS {
        let message = format!(
            "Invalid 'input': at most {MAX_INPUTS} elements are allowed, but got {}.",
            list.len()
        );
        return Err(refuse(message).with_code("array_above_max_length"));
    }
    list.into_iter()
        .enumerate()
        .map(|(index, value)| match value {
            Value::String(text) if text.is_empty() => Err(refuse(format!(
                "Invalid 'input[{index}]': the text is empty."
            ))),
            Value::String(text) => Ok(text),
            _ => Err(refuse(format!(
                "Invalid 'input[{index}]': expected a string."
            ))),
        })
        .collect()
}

fn count(texts: &[String], tokenizer: Tokenizer) -> Result<u64, Refusal> {
    let mut tokens = 0;
    for (index, text) in texts.iter().enumerate() {
        tokens += tokenizer.count_to(text, MAX_INPUT_TOKENS).ok_or_else(|| {
            let message = format!(
                "Invalid 'input[{index}]': the text has more than {MAX_INPUT_TOKENS} tokens."
            );
            Refusal::invalid("input", message)
        })?;
    }
    let estimated = texts.iter().map(String::len).sum::<usize>().div_ceil(4);
    if estimated > MAX_REQUEST_TOKENS {
        let message = format!(
            "Invalid 'input': requested {estimated} tokens, max {MAX_REQUEST_TOKENS} tokens per request"
        );
        let kind = "max_tokens_per_request";
        return Err(Refusal {
            kind,
            ..Refusal::invalid("input", message).with_code(kind)
        });
    }
    Ok(tokens as u64)
}

fn encode(vector: &[f32]) -> String {
    let bytes: Vec<u8> = vector
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect();
    BASE64_STANDARD.encode(bytes)
}

#[derive(Serialize)]
struct Body {
    object: &'static str,
    data: Vec<Item>,
    model: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
}

#[derive(Serialize)]
struct Item {
    object: &'static str,
    index: usize,
    embedding: Form,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Form {
    Base64(String),
    /// What is not a number is written as null.
    Numbers(Vec<f32>),
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: u64,
    total_tokens: u64,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: &Value) -> Result<Inputs, Refusal> {
        Inputs::read(body.to_string().as_bytes())
    }

    fn refusal(input: &Value) -> Refusal {
        read(&json!({"model": "text-embedding-3-small", "input": input})).unwrap_err()
    }

    #[test]
    fn inputs_that_openai_refuses_are_refused() {
        for input in [
            json!(null),
            json!([]),
            json!(""),
            json!(["a", ""]),
            json!([1, 2]),
            json!(7),
        ] {
            let refusal = refusal(&input);
            assert_eq!(
                (refusal.status.as_u16(), refusal.param),
                (400, Some("input")),
                "{input}"
            );
        }
        assert_eq!(
            refusal(&json!(vec!["a"; 2049])).code,
            Some("array_above_max_length")
        );
        // One token a word, and one too many of them.
        assert!(
            refusal(&json!([" a".repeat(8193)]))
                .message
                .contains("more than 8192 tokens")
        );
        let texts = vec!["a".repeat(8 << 10); 147];
        let refusal = refusal(&json!(texts));
        assert_eq!(refusal.code, Some("max_tokens_per_request"));
        assert!(
            refusal.message.contains("max 300000 tokens"),
            "{}",
            refusal.message
        );
    }

    #[test]
    fn the_largest_request_that_openai_takes_is_taken() {
        let texts = vec!["a".repeat(585); 2048];
        let inputs = read(&json!({"model": "text-embedding-3-small", "input": texts})).unwrap();
        assert_eq!(inputs.texts.len(), 2048);
        let longest = json!({"model": "text-embedding-3-small", "input": " a".repeat(8192)});
        assert_eq!(read(&longest).unwrap().tokens, 8192);
    }

    #[test]
    fn settings_that_openai_refuses_are_refused() {
        let small = "text-embedding-3-small";
        for (body, param, status) in [
            (json!({"input": "a"}), Some("model"), 400),
            (json!({"model": "gpt-4o", "input": "a"}), Some("model"), 404),
            (
                json!({"model": small, "input": "a", "dimensions": 1537}),
                Some("dimensions"),
                400,
            ),
            (
                json!({"model": small, "input": "a", "dimensions": 0}),
                Some("dimensions"),
                400,
            ),
            (
                json!({"model": "text-embedding-ada-002", "input": "a", "dimensions": 1536}),
                Some("dimensions"),
                400,
            ),
            (
                json!({"model": small, "input": "a", "encoding_format": "f16"}),
                Some("encoding_format"),
                400,
            ),
            (
                json!({"model": small, "input": "a", "inputs": "a"}),
                None,
                400,
            ),
        ] {
            let refusal = read(&body).unwrap_err();
            assert_eq!(
                (refusal.param, refusal.status.as_u16()),
                (param, status),
                "{body}"
            );
        }
    }

    #[test]
    fn a_small_server_at_home_knows_numbers_only_and_counts_nothing() {
        let body = json!({"model": "text-embedding-3-small", "input": "a", "dimensions": 2,
            "encoding_format": "base64"});
        let reply = read(&body).unwrap().answer(None, Style::Local);
        let answer: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(answer["data"][0]["embedding"].as_array().unwrap().len(), 2);
        assert_eq!(answer.get("usage"), None);
    }

    #[test]
    fn both_forms_hold_the_same_numbers() {
        let ask = |format: &str| {
            let model = "text-embedding-3-small";
            let body = json!({"model": model, "input": ["a b"], "dimensions": 3,
                "encoding_format": format});
            let reply = read(&body).unwrap().answer(None, Style::OpenAi);
            serde_json::from_slice::<Value>(&reply.body).unwrap()
        };
        let (numbers, base64) = (ask("float"), ask("base64"));
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
