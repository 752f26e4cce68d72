//! `POST /v1/responses`: reading the request.

use serde_json::Value;

use super::cache_control::CacheMode;
use super::conversation::{
    Conversation, ParsedChat, PromptMessage, charges_writes, chat_model, check_sampling,
    check_stream, effort, messages, strict_schema, tier,
};
use super::fields::BodyFields;
use crate::{error_response::ErrorResponse, limit::MIN_RESPONSE_TOKENS};

const PARAMETERS: &str = "model input instructions text max_output_tokens reasoning temperature top_p \
                          service_tier prompt_cache_key prompt_cache_options store stream metadata user \
                          safety_identifier truncation";

/// Reads a request, or refuses it as `OpenAI` does. Source: "Create a model response".
pub(super) fn read(body: &[u8]) -> Result<ParsedChat, ErrorResponse> {
    let mut fields = BodyFields::read(body, PARAMETERS)?;
    let model = fields.model()?;
    let (vocabulary, ability) = chat_model(&model)?;
    let cache_mode = CacheMode::read(&mut fields, charges_writes(&model))?;
    let word = fields.take("reasoning");
    let word = word
        .as_ref()
        .and_then(|reasoning| reasoning.get("effort")?.as_str());
    let effort = effort("reasoning.effort", word.map(str::to_owned), ability)?;
    check_sampling(&mut fields, effort)?;
    check_stream(&mut fields)?;
    let text = fields.take("text");
    let format = text.as_ref().and_then(|text| text.get("format"));
    let format = format.map(|format| strict_schema("text.format", format, Some(format)));
    let instructions = fields.text("instructions")?.map(|content| PromptMessage {
        role: "system".to_owned(),
        content,
        breakpoints: Vec::new(),
    });
    let conversation = Conversation {
        model,
        effort,
        choices: 1,
        tier: tier(&mut fields, ability)?,
        max_output_tokens: max_output_tokens(&mut fields)?,
        // There is no seed: all runs are the same.
        run: 0,
        messages: instructions
            .into_iter()
            .chain(input(&mut fields, cache_mode)?)
            .collect(),
        schema: format.transpose()?.flatten(),
        cache_key: fields.text("prompt_cache_key")?,
        cache_mode,
    };
    conversation.parsed(vocabulary, ability, "input")
}

/// The input: a text, or a list of messages.
fn input(
    fields: &mut BodyFields,
    cache_mode: CacheMode,
) -> Result<Vec<PromptMessage>, ErrorResponse> {
    match fields.take("input") {
        Some(Value::String(content)) => Ok(vec![PromptMessage {
            role: "user".to_owned(),
            content,
            breakpoints: Vec::new(),
        }]),
        list => messages("input", list, "input_text", cache_mode),
    }
}

fn max_output_tokens(fields: &mut BodyFields) -> Result<Option<usize>, ErrorResponse> {
    let tokens = fields.count("max_output_tokens")?;
    if tokens.is_some_and(|tokens| tokens < MIN_RESPONSE_TOKENS) {
        let message = format!("Invalid 'max_output_tokens': at least {MIN_RESPONSE_TOKENS}.");
        let error = ErrorResponse::invalid("max_output_tokens", message);
        return Err(error.with_code("integer_below_min_value"));
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{model::Effort, request::sample::response_request};

    fn read(change: &[(&str, Value)]) -> Result<ParsedChat, ErrorResponse> {
        let mut body = response_request("gpt-6-luna");
        for (key, value) in change {
            body[*key] = value.clone();
        }
        super::read(body.to_string().as_bytes())
    }

    #[test]
    fn a_request_is_read_in_each_of_its_forms() {
        let parsed = read(&[]).unwrap();
        assert_eq!(parsed.posts[0].text, "Loud music.");
        assert_eq!((parsed.effort, parsed.choices), (Effort::Medium, 1));
        assert!(parsed.schema.is_some());
        let line = "{\"index\":1,\"text\":\"Loud music.\"}";
        let part = json!({"type": "input_text", "text": line});
        for input in [
            json!([{"role": "user", "content": line}]),
            json!([{"type": "message", "role": "user", "content": [part]}]),
        ] {
            let other = read(&[("input", input.clone())]).unwrap();
            assert_eq!(
                (other.posts, other.input_tokens),
                (parsed.posts.clone(), parsed.input_tokens)
            );
        }
    }

    #[test]
    fn errors_name_the_field() {
        let lax = json!({"format": {"type": "json_schema", "name": "a", "schema": {}}});
        for (key, value, param, code) in [
            ("input", json!([]), "input", None),
            (
                "input",
                json!([{"role": "user", "content": [{"type": "input_image"}]}]),
                "input",
                None,
            ),
            ("text", lax, "text.format", None),
            (
                "max_output_tokens",
                json!(15),
                "max_output_tokens",
                Some("integer_below_min_value"),
            ),
            (
                "reasoning",
                json!({"effort": "minimal"}),
                "reasoning.effort",
                Some("unsupported_value"),
            ),
            (
                "temperature",
                json!(0.3),
                "temperature",
                Some("unsupported_value"),
            ),
        ] {
            let error = read(&[(key, value)]).unwrap_err();
            assert_eq!((error.param, error.code), (Some(param), code));
        }
        for unknown in [
            "messages",
            "response_format",
            "seed",
            "n",
            "max_completion_tokens",
        ] {
            let error = read(&[(unknown, json!(1))]).unwrap_err();
            assert_eq!(error.code, Some("unknown_parameter"), "{unknown}");
        }
    }
}
