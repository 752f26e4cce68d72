//! `POST /v1/embeddings`: reading the request.

use serde_json::Value;

use super::fields::BodyFields;
use crate::{
    error_response::ErrorResponse,
    limit::{ESTIMATED_BYTES_PER_TOKEN, MAX_INPUT_TOKENS, MAX_INPUTS, MAX_REQUEST_TOKENS},
    model::{Ability, find},
    tokens::Vocabulary,
};

/// A request for embeddings without errors.
#[derive(Debug)]
pub(crate) struct ParsedEmbeddings {
    pub(crate) model: String,
    pub(crate) texts: Vec<String>,
    pub(crate) tokens: u64,
    pub(crate) dimensions: usize,
    /// Whether the vectors are sent in base64.
    pub(crate) base64: bool,
}

impl ParsedEmbeddings {
    /// Reads a request, or refuses it as `OpenAI` does. Source: "Create embeddings".
    pub(super) fn read(body: &[u8]) -> Result<Self, ErrorResponse> {
        let known = "model input dimensions encoding_format user";
        let mut fields = BodyFields::read(body, known)?;
        let model = fields.model()?;
        let found = find(&model).map(|model| (model.vocabulary, &model.ability));
        let Some((
            vocabulary,
            &Ability::Embed {
                max_dimensions,
                shortens,
            },
        )) = found
        else {
            return Err(ErrorResponse::unknown_model(&model));
        };
        let dimensions = match fields.count("dimensions")? {
            None => max_dimensions,
            Some(_) if !shortens => {
                let message = "This model does not support specifying dimensions.";
                return Err(ErrorResponse::invalid("dimensions", message));
            }
            Some(asked) if asked > max_dimensions => {
                let message = format!(
                    "Invalid 'dimensions': {model} has at most {max_dimensions}, but got {asked}."
                );
                return Err(ErrorResponse::invalid("dimensions", message));
            }
            Some(asked) => asked,
        };
        let base64 = match fields.text("encoding_format")?.as_deref() {
            None | Some("float") => false,
            Some("base64") => true,
            Some(_) => {
                let message = "Invalid 'encoding_format': must be 'float' or 'base64'.";
                let error = ErrorResponse::invalid("encoding_format", message);
                return Err(error.with_code("invalid_value"));
            }
        };
        let texts = texts(fields.take("input"))?;
        let tokens = count(&texts, vocabulary)?;
        Ok(Self {
            model,
            texts,
            tokens,
            dimensions,
            base64,
        })
    }
}

fn refuse<T>(message: String) -> Result<T, ErrorResponse> {
    Err(ErrorResponse::invalid("input", message))
}

/// The texts of `input`: one, or a list. Lists of tokens are refused, though `OpenAI` accepts them.
fn texts(input: Option<Value>) -> Result<Vec<String>, ErrorResponse> {
    let list = match input {
        None => return refuse("An input must be given.".to_owned()),
        Some(Value::Array(list)) => list,
        Some(single) => vec![single],
    };
    if list.is_empty() {
        return refuse("Invalid 'input': the list is empty.".to_owned());
    }
    if list.len() > MAX_INPUTS {
        let count = list.len();
        let message =
            format!("Invalid 'input': at most {MAX_INPUTS} elements are allowed, but got {count}.");
        return refuse(message).map_err(|error| error.with_code("array_above_max_length"));
    }
    let texts = list
        .into_iter()
        .enumerate()
        .map(|(index, value)| match value {
            Value::String(text) if text.is_empty() => {
                refuse(format!("Invalid 'input[{index}]': the text is empty."))
            }
            Value::String(text) => Ok(text),
            _ => refuse(format!("Invalid 'input[{index}]': expected a string.")),
        });
    texts.collect()
}

fn count(texts: &[String], vocabulary: Vocabulary) -> Result<u64, ErrorResponse> {
    let mut tokens = 0;
    for (index, text) in texts.iter().enumerate() {
        let Some(count) = vocabulary.count_to(text, MAX_INPUT_TOKENS) else {
            return refuse(format!(
                "Invalid 'input[{index}]': the text has more than {MAX_INPUT_TOKENS} tokens."
            ));
        };
        tokens += count;
    }
    let bytes: usize = texts.iter().map(String::len).sum();
    let estimated = bytes.div_ceil(ESTIMATED_BYTES_PER_TOKEN);
    if estimated > MAX_REQUEST_TOKENS {
        let message = format!(
            "Invalid 'input': requested {estimated} tokens, max {MAX_REQUEST_TOKENS} tokens per request"
        );
        let kind = "max_tokens_per_request";
        return Err(ErrorResponse {
            kind,
            ..ErrorResponse::invalid("input", message).with_code(kind)
        });
    }
    Ok(tokens as u64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: &Value) -> Result<ParsedEmbeddings, ErrorResponse> {
        ParsedEmbeddings::read(body.to_string().as_bytes())
    }

    fn refusal(input: &Value) -> ErrorResponse {
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
    fn parameters_that_openai_refuses_are_refused() {
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
}
