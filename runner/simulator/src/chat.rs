//! `POST /v1/chat/completions`: what is refused, and what is answered.

use serde_json::{Value, json};

use super::model::reasons;
use super::tokens::Tokenizer;
use super::{
    Fault, MODEL_SUFFIX, Style,
    fields::Fields,
    fill::fill,
    model::{MAX_CONTEXT_TOKENS, answers_chats},
    prompt::{Post, posts},
    question::Reply,
    refusal::Refusal,
    spoil::spoil_entries,
    strict,
};

/// A conversation to be continued, found in order.
#[derive(Debug)]
pub(super) struct Chat {
    pub(super) model: String,
    pub(super) posts: Vec<Post>,
    pub(super) input_tokens: u64,
    schema: Option<Value>,
    max_output_tokens: Option<usize>,
    run: i64,
}

impl Chat {
    /// Reads a request, or refuses it as `OpenAI` does. Source: "Create chat completion".
    pub(super) fn read(body: &[u8]) -> Result<Self, Refusal> {
        let mut fields = Fields::read(body, &KNOWN)?;
        let model = fields.text("model")?;
        let model = model.ok_or_else(|| Refusal::invalid("model", "A model must be given."))?;
        if !answers_chats(&model) {
            return Err(Refusal::unknown_model(&model));
        }
        check_parameters(&mut fields, reasons(&model))?;
        let max_output_tokens = max_output_tokens(&mut fields)?;
        let run = fields.integer("seed")?.unwrap_or_default();
        let messages = messages(fields.take("messages"))?;
        let format = fields.take("response_format");
        let schema = format.as_ref().map(schema).transpose()?.flatten();
        let input_tokens = count(&messages, schema.as_ref(), Tokenizer::for_model(&model))?;
        let said = messages.iter().filter(|(role, _)| role == "user");
        let posts = posts(said.map(|(_, content)| content.as_str()));
        Ok(Self {
            model,
            posts,
            input_tokens,
            schema,
            max_output_tokens,
            run,
        })
    }

    pub(super) fn answer(&self, fault: Option<Fault>, style: Style) -> Reply {
        let tokenizer = Tokenizer::for_model(&self.model);
        let content = match &self.schema {
            Some(schema) => {
                let mut answer = fill(schema, &self.posts, self.run);
                spoil_entries(&mut answer, fault);
                answer.to_string()
            }
            None => "A simulated answer.".to_owned(),
        };
        let (message, finish_reason) = self.ending(&content, fault, tokenizer);
        let said = ["content", "refusal"]
            .iter()
            .filter_map(|part| message.get(part)?.as_str());
        let output: usize = said.map(|text| tokenizer.count(text)).sum();
        let mut body = json!({
            "object": "chat.completion",
            "model": format!("{}{MODEL_SUFFIX}", self.model),
            "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
        });
        if let (true, Some(body)) = (style != Style::Local, body.as_object_mut()) {
            body.insert("usage".to_owned(), self.usage(output as u64));
        }
        Reply {
            body: body.to_string().into_bytes(),
            output_tokens: output as u64,
        }
    }

    /// What is said, and why it ends there.
    fn ending(
        &self,
        content: &str,
        fault: Option<Fault>,
        tokenizer: Tokenizer,
    ) -> (Value, &'static str) {
        let said = |content: &str| json!({"role": ROLE, "content": content, "refusal": null});
        let whole = tokenizer.count(content);
        match fault {
            Some(Fault::Refusal) => {
                let refusal = "I'm sorry, but I can't help with that.";
                (
                    json!({"role": ROLE, "content": null, "refusal": refusal}),
                    "stop",
                )
            }
            Some(Fault::ContentFilter) => (
                json!({"role": ROLE, "content": null, "refusal": null}),
                "content_filter",
            ),
            Some(Fault::Length) => (said(tokenizer.head(content, whole / 2)), "length"),
            _ => match self.max_output_tokens {
                Some(max) if whole > max => (said(tokenizer.head(content, max)), "length"),
                _ => (said(content), "stop"),
            },
        }
    }

    fn usage(&self, output: u64) -> Value {
        json!({
            "prompt_tokens": self.input_tokens,
            "completion_tokens": output,
            "total_tokens": self.input_tokens + output,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        })
    }
}

const ROLE: &str = "assistant";

const KNOWN: [&str; 12] = [
    "model",
    "messages",
    "response_format",
    "seed",
    "temperature",
    "top_p",
    "max_tokens",
    "max_completion_tokens",
    "reasoning_effort",
    "n",
    "stream",
    "user",
];

/// Refuses parameters that the model does not support, or that the stand-in cannot honour.
fn check_parameters(fields: &mut Fields, reasoning: bool) -> Result<(), Refusal> {
    let unsupported = |param: &'static str, message: &str| {
        Err(Refusal::invalid(param, message).with_code("unsupported_parameter"))
    };
    if reasoning && fields.has("max_tokens") {
        let message = "'max_tokens' is not supported with this model: use 'max_completion_tokens'.";
        return unsupported("max_tokens", message);
    }
    if !reasoning && fields.has("reasoning_effort") {
        return unsupported("reasoning_effort", "This model does not reason.");
    }
    for (param, highest) in [("temperature", 2.0), ("top_p", 1.0)] {
        let Some(value) = fields.number(param)? else {
            continue;
        };
        if !(0.0..=highest).contains(&value) {
            let message = format!("Invalid '{param}': must be from 0 to {highest}.");
            return Err(Refusal::invalid(param, message).with_code("invalid_value"));
        }
        #[expect(
            clippy::float_cmp,
            reason = "the default alone is accepted, exactly as written"
        )]
        if reasoning && value != 1.0 {
            let message = format!("'{param}' does not support {value} with this model.");
            return Err(Refusal::invalid(param, message).with_code("unsupported_value"));
        }
    }
    if fields.take("stream").is_some_and(|stream| stream != false) {
        return unsupported("stream", "The stand-in does not stream.");
    }
    if fields.count("n")?.is_some_and(|n| n != 1) {
        return unsupported("n", "The stand-in gives one choice: ask again for more.");
    }
    Ok(())
}

fn max_output_tokens(fields: &mut Fields) -> Result<Option<usize>, Refusal> {
    let (old, new) = (
        fields.count("max_tokens")?,
        fields.count("max_completion_tokens")?,
    );
    match (old, new) {
        (Some(_), Some(_)) => {
            let message = "Give 'max_tokens' or 'max_completion_tokens', not both.";
            Err(Refusal::invalid("max_tokens", message).with_code("invalid_parameter_combination"))
        }
        _ => Ok(new.or(old)),
    }
}

/// Role and content of each message.
fn messages(value: Option<Value>) -> Result<Vec<(String, String)>, Refusal> {
    let refuse = |message: &str| Refusal::invalid("messages", message);
    let Some(Value::Array(list)) = value else {
        return Err(refuse("'messages' must be a list."));
    };
    if list.is_empty() {
        return Err(refuse(
            "'messages' is too short: it must have one message at least.",
        ));
    }
    list.iter()
        .map(|message| {
            let part = |name: &str| message.get(name).and_then(Value::as_str).map(str::to_owned);
            let role = part("role").filter(|role| ROLES.contains(&role.as_str()));
            let role = role.ok_or_else(|| refuse("A message has no role, or an unknown one."))?;
            let content = part("content");
            let content = content.ok_or_else(|| refuse("A message has no text as its content."))?;
            Ok((role, content))
        })
        .collect()
}

const ROLES: [&str; 4] = ["system", "developer", "user", "assistant"];

/// The schema of a response format that asks for one.
fn schema(format: &Value) -> Result<Option<Value>, Refusal> {
    let refuse = |message: String| Refusal::invalid("response_format", message);
    match format.get("type").and_then(Value::as_str) {
        Some("text") => return Ok(None),
        Some("json_schema") => {}
        _ => {
            return Err(refuse(
                "The stand-in knows 'json_schema' and 'text'.".to_owned(),
            ));
        }
    }
    let part = |name: &str| format.get("json_schema").and_then(|part| part.get(name));
    let name = part("name").and_then(Value::as_str).unwrap_or_default();
    let (Some(schema), Some(true)) = (part("schema"), part("strict").and_then(Value::as_bool))
    else {
        return Err(refuse(
            "The stand-in wants a 'schema', and 'strict' to be true.".to_owned(),
        ));
    };
    strict::check(name, schema).map_err(|broken| {
        refuse(format!(
            "Invalid schema for response_format '{name}': {broken}"
        ))
    })?;
    Ok(Some(schema.clone()))
}

/// The tokens of the input: what is said, four around each message, and the schema, which is put
/// before the model as well.
fn count(
    messages: &[(String, String)],
    schema: Option<&Value>,
    tokenizer: Tokenizer,
) -> Result<u64, Refusal> {
    let said: usize = messages
        .iter()
        .map(|(_, content)| tokenizer.count(content) + 4)
        .sum();
    let schema = schema.map_or(0, |schema| tokenizer.count(&schema.to_string()));
    let tokens = (said + schema + 3) as u64;
    if tokens > MAX_CONTEXT_TOKENS {
        let message = format!("The maximum context is {MAX_CONTEXT_TOKENS} tokens, not {tokens}.");
        return Err(Refusal::invalid("messages", message).with_code("context_length_exceeded"));
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(model: &str) -> Value {
        json!({
            "model": model,
            "messages": [
                {"role": "system", "content": "Score."},
                {"role": "user", "content": "{\"index\":1,\"text\":\"Loud music.\"}"},
            ],
            "response_format": {"type": "json_schema", "json_schema": {
                "name": "scores", "strict": true, "schema": {
                    "type": "object", "required": ["posts"], "additionalProperties": false,
                    "properties": {"posts": {"type": "array", "items": {
                        "type": "object", "required": ["index", "drama"],
                        "additionalProperties": false,
                        "properties": {"index": {"type": "integer"}, "drama": {"type": "number"}},
                    }}},
                },
            }},
        })
    }

    fn read(body: &Value) -> Result<Chat, Refusal> {
        Chat::read(body.to_string().as_bytes())
    }

    /// The refusal of a request in which one field is replaced.
    fn refusal(
        model: &str,
        field: &str,
        value: &Value,
    ) -> (Option<&'static str>, Option<&'static str>) {
        let mut body = request(model);
        body[field] = value.clone();
        let refusal = read(&body).unwrap_err();
        (refusal.param, refusal.code)
    }

    #[test]
    fn each_kind_of_model_refuses_what_it_does_not_support() {
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
            let mut body = request(model);
            body[param] = value;
            assert!(read(&body).is_ok(), "{param}");
        }
    }

    #[test]
    fn malformed_requests_are_refused_by_name() {
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
        let mut body = request(model);
        body["response_format"]["json_schema"]["schema"]["default"] = json!({});
        let refusal = read(&body).unwrap_err();
        assert_eq!(refusal.param, Some("response_format"));
        assert!(
            refusal.message.contains("'default' is not permitted"),
            "{}",
            refusal.message
        );
    }

    fn answer(body: &Value, fault: Option<Fault>) -> Value {
        let reply = read(body).unwrap().answer(fault, Style::OpenAi);
        serde_json::from_slice(&reply.body).unwrap()
    }

    #[test]
    fn an_answer_follows_the_schema_and_counts_its_tokens() {
        let answer = answer(&request("gpt-4o-mini"), None);
        assert_eq!(answer["model"], "gpt-4o-mini-simulated");
        let content = answer["choices"][0]["message"]["content"].as_str().unwrap();
        let posts: Value = serde_json::from_str(content).unwrap();
        assert_eq!(posts["posts"][0]["index"], 1);
        let usage = &answer["usage"];
        let tokenizer = Tokenizer::for_model("gpt-4o-mini");
        assert_eq!(usage["completion_tokens"], tokenizer.count(content));
    }

    #[test]
    fn the_limit_of_tokens_is_kept() {
        let mut body = request("gpt-4o-mini");
        body["max_tokens"] = json!(5);
        let choice = &answer(&body, None)["choices"][0];
        assert_eq!(choice["finish_reason"], "length");
        let content = choice["message"]["content"].as_str().unwrap();
        assert_eq!(Tokenizer::for_model("gpt-4o-mini").count(content), 5);
    }

    #[test]
    fn faults_end_an_answer_early() {
        let body = request("gpt-4o-mini");
        let choice = |fault| answer(&body, Some(fault))["choices"][0].take();
        assert!(choice(Fault::Refusal)["message"]["refusal"].is_string());
        assert_eq!(
            choice(Fault::ContentFilter)["finish_reason"],
            "content_filter"
        );
        let cut = choice(Fault::Length);
        assert_eq!(cut["finish_reason"], "length");
        let content = cut["message"]["content"].as_str().unwrap();
        assert!(serde_json::from_str::<Value>(content).unwrap_err().is_eof());
    }
}
