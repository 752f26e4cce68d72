//! `POST /v1/chat/completions`: reading the request.

use serde_json::Value;

use super::fields::BodyFields;
use super::prompt::{PromptPost, posts};
use super::schema;
use crate::{
    error_response::ErrorResponse,
    limit::{MAX_CONTEXT_TOKENS, MAX_TEMPERATURE, MAX_TOP_P},
    model::{Ability, find},
    tokens::Vocabulary,
};

/// A request for a chat completion without errors.
#[derive(Debug)]
pub(crate) struct ParsedChat {
    pub(crate) model: String,
    pub(crate) vocabulary: Vocabulary,
    pub(crate) posts: Vec<PromptPost>,
    pub(crate) input_tokens: u64,
    /// The strict schema that the response follows.
    pub(crate) schema: Option<Value>,
    pub(crate) max_output_tokens: Option<usize>,
    /// The `seed`, which differs between the runs of an ensemble.
    pub(crate) run: i64,
}

/// A message of the conversation.
struct PromptMessage {
    role: String,
    content: String,
}

const PARAMETERS: &str = "model messages response_format seed temperature top_p max_tokens max_completion_tokens reasoning_effort n stream user";

const ROLES: [&str; 4] = ["system", "developer", "user", "assistant"];

impl ParsedChat {
    /// Reads a request, or refuses it as `OpenAI` does. Source: "Create chat completion".
    pub(super) fn read(body: &[u8]) -> Result<Self, ErrorResponse> {
        let mut fields = BodyFields::read(body, PARAMETERS)?;
        let model = fields.model()?;
        let found = find(&model).map(|model| (model.vocabulary, &model.ability));
        let Some((vocabulary, &Ability::Chat { reasons })) = found else {
            return Err(ErrorResponse::unknown_model(&model));
        };
        check_reasoning(&fields, reasons)?;
        check_sampling(&mut fields, reasons)?;
        check_unsupported(&mut fields)?;
        let max_output_tokens = max_output_tokens(&mut fields)?;
        let run = fields.integer("seed")?.unwrap_or_default();
        let messages = messages(fields.take("messages"))?;
        let format = fields.take("response_format");
        let schema = format.as_ref().map(strict_schema).transpose()?.flatten();
        let input_tokens = count(&messages, schema.as_ref(), vocabulary)?;
        let said = messages.iter().filter(|message| message.role == "user");
        let posts = posts(said.map(|message| message.content.as_str()));
        Ok(Self {
            model,
            vocabulary,
            posts,
            input_tokens,
            schema,
            max_output_tokens,
            run,
        })
    }
}

fn unsupported(param: &'static str, message: &str) -> ErrorResponse {
    ErrorResponse::invalid(param, message).with_code("unsupported_parameter")
}

fn check_reasoning(fields: &BodyFields, reasons: bool) -> Result<(), ErrorResponse> {
    if reasons && fields.has("max_tokens") {
        let message = "'max_tokens' is not supported with this model: use 'max_completion_tokens'.";
        return Err(unsupported("max_tokens", message));
    }
    if !reasons && fields.has("reasoning_effort") {
        return Err(unsupported(
            "reasoning_effort",
            "This model does not reason.",
        ));
    }
    Ok(())
}

fn check_sampling(fields: &mut BodyFields, reasons: bool) -> Result<(), ErrorResponse> {
    for (param, highest) in [("temperature", MAX_TEMPERATURE), ("top_p", MAX_TOP_P)] {
        let Some(value) = fields.number(param)? else {
            continue;
        };
        if !(0.0..=highest).contains(&value) {
            let message = format!("Invalid '{param}': must be from 0 to {highest}.");
            return Err(ErrorResponse::invalid(param, message).with_code("invalid_value"));
        }
        #[expect(
            clippy::float_cmp,
            reason = "only the default is accepted, exactly as written"
        )]
        if reasons && value != 1.0 {
            let message = format!("'{param}' does not support {value} with this model.");
            return Err(ErrorResponse::invalid(param, message).with_code("unsupported_value"));
        }
    }
    Ok(())
}

/// Refuses what `OpenAI` supports and the simulator does not.
fn check_unsupported(fields: &mut BodyFields) -> Result<(), ErrorResponse> {
    if fields.take("stream").is_some_and(|stream| stream != false) {
        return Err(unsupported("stream", "The simulator does not stream."));
    }
    if fields.count("n")?.is_some_and(|n| n != 1) {
        let message = "The simulator returns one choice: send the request again for more.";
        return Err(unsupported("n", message));
    }
    Ok(())
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

fn messages(value: Option<Value>) -> Result<Vec<PromptMessage>, ErrorResponse> {
    let refuse = |message: &str| ErrorResponse::invalid("messages", message);
    let Some(Value::Array(list)) = value else {
        return Err(refuse("'messages' must be a list."));
    };
    if list.is_empty() {
        let message = "'messages' is too short: it must have one message at least.";
        return Err(refuse(message));
    }
    let messages = list.iter().map(|message| {
        let part = |name: &str| message.get(name).and_then(Value::as_str).map(str::to_owned);
        let role = part("role").filter(|role| ROLES.contains(&role.as_str()));
        let role = role.ok_or_else(|| refuse("A message has no role, or an unknown one."))?;
        let content = part("content");
        let content = content.ok_or_else(|| refuse("A message has no text as its content."))?;
        Ok(PromptMessage { role, content })
    });
    messages.collect()
}

/// The schema of a response format of type `json_schema`.
fn strict_schema(format: &Value) -> Result<Option<Value>, ErrorResponse> {
    let refuse = |message: &str| Err(ErrorResponse::invalid("response_format", message));
    match format.get("type").and_then(Value::as_str) {
        Some("text") => return Ok(None),
        Some("json_schema") => {}
        _ => return refuse("The simulator supports 'json_schema' and 'text'."),
    }
    let part = |name: &str| format.get("json_schema")?.get(name);
    let name = part("name").and_then(Value::as_str).unwrap_or_default();
    let (Some(schema), Some(Value::Bool(true))) = (part("schema"), part("strict")) else {
        return refuse("The simulator needs a 'schema', and 'strict' must be true.");
    };
    match schema::check(name, schema) {
        Ok(()) => Ok(Some(schema.clone())),
        Err(broken) => refuse(&format!(
            "Invalid schema for response_format '{name}': {broken}"
        )),
    }
}

/// Counts the input: the contents, four tokens around each message, and the schema, which the model
/// reads as well.
fn count(
    messages: &[PromptMessage],
    schema: Option<&Value>,
    vocabulary: Vocabulary,
) -> Result<u64, ErrorResponse> {
    let said = messages
        .iter()
        .map(|message| vocabulary.count(&message.content) + 4);
    let schema = schema.map_or(0, |schema| vocabulary.count(&schema.to_string()));
    let tokens = (said.sum::<usize>() + schema + 3) as u64;
    if tokens > MAX_CONTEXT_TOKENS {
        let message = format!("The maximum context is {MAX_CONTEXT_TOKENS} tokens, not {tokens}.");
        let error = ErrorResponse::invalid("messages", message);
        return Err(error.with_code("context_length_exceeded"));
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::request::sample::chat_request;

    fn read(body: &Value) -> Result<ParsedChat, ErrorResponse> {
        ParsedChat::read(body.to_string().as_bytes())
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
        let (plain, reasoning) = ("gpt-4o-mini", "gpt-5-mini");
        for (model, param, value, code) in [
            (reasoning, "temperature", json!(0.3), "unsupported_value"),
            (reasoning, "max_tokens", json!(100), "unsupported_parameter"),
            (
                plain,
                "reasoning_effort",
                json!("low"),
                "unsupported_parameter",
            ),
            (plain, "temperature", json!(2.5), "invalid_value"),
            (plain, "stream", json!(true), "unsupported_parameter"),
            (plain, "n", json!(2), "unsupported_parameter"),
            (plain, "max_tokens", json!("many"), "invalid_type"),
        ] {
            assert_eq!(
                refusal(model, param, &value),
                (Some(param), Some(code)),
                "{model}"
            );
        }
        for (model, param, value) in [
            (plain, "temperature", json!(0.3)),
            (plain, "max_tokens", json!(100)),
            (plain, "seed", json!(-1)),
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
