//! `POST /v1/chat/completions`: reading the request.

use super::cache_control::CacheMode;
use super::conversation::{
    Conversation, ParsedChat, charges_writes, chat_model, check_sampling, check_stream, effort,
    messages, strict_schema, tier, unsupported,
};
use super::fields::BodyFields;
use crate::{error_response::ErrorResponse, limit::MAX_CHOICES, model::ChatAbility};

const PARAMETERS: &str = "model messages response_format seed temperature top_p max_tokens \
                          max_completion_tokens reasoning_effort n stream user store metadata \
                          service_tier prompt_cache_key prompt_cache_options \
                          safety_identifier";

/// Reads a request, or refuses it as `OpenAI` does. Source: "Create chat completion".
pub(super) fn read(body: &[u8]) -> Result<ParsedChat, ErrorResponse> {
    let mut fields = BodyFields::read(body, PARAMETERS)?;
    let model = fields.model()?;
    let (vocabulary, ability) = chat_model(&model)?;
    let cache_mode = CacheMode::read(&mut fields, charges_writes(&model))?;
    check_limit_names(&fields, ability)?;
    let word = fields.text("reasoning_effort")?;
    let effort = effort("reasoning_effort", word, ability)?;
    check_sampling(&mut fields, effort)?;
    check_stream(&mut fields)?;
    let format = fields.take("response_format");
    let format = format
        .as_ref()
        .map(|format| strict_schema("response_format", format, format.get("json_schema")));
    let conversation = Conversation {
        model,
        effort,
        choices: choices(&mut fields, ability)?,
        tier: tier(&mut fields, ability)?,
        max_output_tokens: max_output_tokens(&mut fields)?,
        run: fields.integer("seed")?.unwrap_or_default(),
        messages: messages("messages", fields.take("messages"), "text", cache_mode)?,
        schema: format.transpose()?.flatten(),
        cache_key: fields.text("prompt_cache_key")?,
        cache_mode,
    };
    conversation.parsed(vocabulary, ability, "messages")
}

fn check_limit_names(fields: &BodyFields, ability: &ChatAbility) -> Result<(), ErrorResponse> {
    if ability.reasons() && fields.has("max_tokens") {
        let message = "'max_tokens' is not supported with this model: use 'max_completion_tokens'.";
        return Err(unsupported("max_tokens", message));
    }
    Ok(())
}

fn choices(fields: &mut BodyFields, ability: &ChatAbility) -> Result<usize, ErrorResponse> {
    let choices = fields.count("n")?.unwrap_or(1);
    if choices > MAX_CHOICES {
        let message = format!("Invalid 'n': at most {MAX_CHOICES} choices are allowed.");
        return Err(ErrorResponse::invalid("n", message).with_code("invalid_value"));
    }
    if choices > 1 && !ability.choices {
        let message = format!("'n' does not support {choices} with this model.");
        return Err(ErrorResponse::invalid("n", message).with_code("unsupported_value"));
    }
    Ok(choices)
}

fn max_output_tokens(fields: &mut BodyFields) -> Result<Option<usize>, ErrorResponse> {
    let old = fields.count("max_tokens")?;
    let new = fields.count("max_completion_tokens")?;
    if old.and(new).is_some() {
        let message = "Give 'max_tokens' or 'max_completion_tokens', not both.";
        let error = ErrorResponse::invalid("max_tokens", message);
        return Err(error.with_code("invalid_parameter_combination"));
    }
    Ok(new.or(old))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::request::sample::chat_request;

    fn read(body: &Value) -> Result<ParsedChat, ErrorResponse> {
        super::read(body.to_string().as_bytes())
    }

    /// The refusal of a request in which one field is replaced.
    fn refusal(
        model: &str,
        field: &str,
        value: &Value,
    ) -> (Option<&'static str>, Option<&'static str>) {
        let mut body = chat_request(model);
        body[field] = value.clone();
        let refusal = read(&body).unwrap_err();
        (refusal.param, refusal.code)
    }

    #[test]
    fn models_refuse_parameters_they_do_not_support() {
        let (plain, reasoning, luna) = ("gpt-4o-mini", "gpt-5-mini", "gpt-6-luna");
        let (value, parameter) = ("unsupported_value", "unsupported_parameter");
        for (model, param, sent, code) in [
            (reasoning, "temperature", json!(0.3), value),
            (reasoning, "max_tokens", json!(100), parameter),
            (luna, "max_tokens", json!(100), parameter),
            (luna, "temperature", json!(0.3), value),
            (luna, "reasoning_effort", json!("minimal"), value),
            ("gpt-5.1", "reasoning_effort", json!("xhigh"), value),
            ("gpt-5.6-luna", "reasoning_effort", json!("max"), value),
            (reasoning, "reasoning_effort", json!("none"), value),
            (reasoning, "reasoning_effort", json!("little"), value),
            ("o3", "reasoning_effort", json!("minimal"), value),
            (plain, "reasoning_effort", json!("low"), parameter),
            (plain, "temperature", json!(2.5), "invalid_value"),
            (plain, "stream", json!(true), parameter),
            (reasoning, "n", json!(2), value),
            ("o4-mini", "n", json!(3), value),
            (plain, "n", json!(129), "invalid_value"),
            (plain, "service_tier", json!("flex"), value),
            ("o1", "service_tier", json!("flex"), value),
            (luna, "service_tier", json!("cheap"), "invalid_value"),
            (plain, "max_tokens", json!("many"), "invalid_type"),
        ] {
            assert_eq!(
                refusal(model, param, &sent),
                (Some(param), Some(code)),
                "{model}"
            );
        }
        for (model, param, value) in [
            (plain, "temperature", json!(0.3)),
            (plain, "max_tokens", json!(100)),
            (plain, "seed", json!(-1)),
            (plain, "n", json!(3)),
            (luna, "n", json!(3)),
            (luna, "service_tier", json!("flex")),
            (luna, "reasoning_effort", json!("max")),
            (luna, "prompt_cache_key", json!("rubric-1")),
            ("gpt-5.1", "temperature", json!(0.3)),
            (reasoning, "max_completion_tokens", json!(100)),
            (reasoning, "reasoning_effort", json!("low")),
            (reasoning, "temperature", json!(1)),
        ] {
            let mut body = chat_request(model);
            body[param] = value;
            assert!(read(&body).is_ok(), "{param}");
        }
    }

    #[test]
    fn sampling_goes_with_no_effort_only() {
        let mut body = chat_request("gpt-6-luna");
        body["temperature"] = json!(0.3);
        assert_eq!(read(&body).unwrap_err().param, Some("temperature"));
        body["reasoning_effort"] = json!("none");
        assert!(read(&body).is_ok());
    }

    #[test]
    fn errors_name_the_malformed_field() {
        let model = "gpt-4o-mini";
        for messages in [
            json!([]),
            json!("hi"),
            json!([{"role": "user"}]),
            json!([{"content": "a"}]),
        ] {
            assert_eq!(
                refusal(model, "messages", &messages).0,
                Some("messages"),
                "{messages}"
            );
        }
        let long = json!([{"role": "user", "content": " a".repeat(128_000)}]);
        assert_eq!(
            refusal(model, "messages", &long).1,
            Some("context_length_exceeded")
        );
        assert_eq!(
            refusal(model, "model", &json!("gpt-9")).1,
            Some("model_not_found")
        );
        let lax = json!({"type": "json_schema", "json_schema": {"name": "a", "schema": {}}});
        for format in [lax, json!({"type": "json_object"}), json!(1)] {
            assert_eq!(
                refusal(model, "response_format", &format).0,
                Some("response_format")
            );
        }
        let mut body = chat_request(model);
        body["response_format"]["json_schema"]["schema"]["default"] = json!({});
        let refusal = read(&body).unwrap_err();
        assert_eq!(refusal.param, Some("response_format"));
        assert!(
            refusal.message.contains("'default' is not permitted"),
            "{}",
            refusal.message
        );
    }
}
