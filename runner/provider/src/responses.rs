//! The Responses API: the same question as a chat completion, and the same ways an answer can end.
//!
//! Source: "Create a model response".

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cache::{Explicit, WireMessage, wire_messages};
use super::chat::{AnswerFormat, ChatRequest, ServiceTier};
use super::manner::Manner;
use super::response::Incomplete;
use super::{Breakage, ChatCompletion, ReasoningEffort};

/// The body of a request.
#[derive(Serialize)]
pub(super) struct ResponsesBody<'a> {
    model: &'a str,
    input: Vec<WireMessage<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<Reasoning>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_cache_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_cache_options: Option<Explicit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<ServiceTier>,
    /// Texts of posts are not to stay with the provider.
    store: bool,
}

#[derive(Serialize)]
struct Text<'a> {
    format: Format<'a>,
}

#[derive(Serialize)]
struct Format<'a> {
    r#type: &'static str,
    name: &'a str,
    strict: bool,
    schema: &'a Value,
}

#[derive(Serialize)]
struct Reasoning {
    effort: ReasoningEffort,
}

impl<'a> ChatRequest<'a> {
    /// The request in the form of this API, which has neither a seed nor several answers.
    pub(super) fn responses_body(&self, manner: &Manner<'_>) -> ResponsesBody<'a> {
        let format = |AnswerFormat { name, schema }| Format {
            r#type: "json_schema",
            name,
            strict: true,
            schema,
        };
        let effort = manner.effort(self.reasoning_effort);
        let cache_key = manner.cache_key(self.cache_key);
        ResponsesBody {
            model: self.model,
            input: wire_messages(self.messages, "input_text", cache_key.is_some()),
            text: self.format.map(format).map(|format| Text { format }),
            max_output_tokens: self.max_output_tokens,
            temperature: manner.temperature(self.temperature, self.reasoning_effort),
            reasoning: effort.map(|effort| Reasoning { effort }),
            prompt_cache_key: cache_key,
            prompt_cache_options: cache_key.map(|_| Explicit::default()),
            service_tier: self.service_tier,
            store: false,
        }
    }
}

/// A part of the output. There are others, such as the reasoning.
#[derive(Deserialize)]
pub(super) struct OutputItem {
    r#type: String,
    #[serde(default)]
    content: Vec<Content>,
}

#[derive(Deserialize)]
struct Content {
    r#type: String,
    text: Option<String>,
    refusal: Option<String>,
}

impl ChatCompletion {
    /// Reads the output of a response, which has one answer.
    pub(super) fn of_output(
        items: Vec<OutputItem>,
        incomplete: Option<&Incomplete>,
    ) -> Result<Vec<Self>, Breakage> {
        let (mut text, mut refusal) = (None, None);
        let messages = items.into_iter().filter(|item| item.r#type == "message");
        for content in messages.flat_map(|item| item.content) {
            match content.r#type.as_str() {
                "output_text" => {
                    let whole: &mut String = text.get_or_insert_default();
                    whole.push_str(&content.text.unwrap_or_default());
                }
                "refusal" => refusal = content.refusal,
                _ => {}
            }
        }
        let reason = incomplete.map(|incomplete| incomplete.reason.as_deref().unwrap_or_default());
        let completion = match (refusal, reason) {
            (Some(refusal), _) => Self::Refusal(refusal),
            (None, Some("content_filter")) => Self::ContentFilter,
            (None, Some(_)) => Self::Length(text.unwrap_or_default()),
            (None, None) => {
                Self::Content(text.ok_or_else(|| Breakage::Shape("no output_text".to_owned()))?)
            }
        };
        Ok(vec![completion])
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::response::{ResponseBody, parse};
    use crate::{Message, Models, Role, manner::Refused};

    #[test]
    fn the_question_has_the_form_of_this_api() {
        let messages = [Message {
            role: Role::User,
            content: "hi".to_owned(),
        }];
        let schema = json!({"type": "object"});
        let request = ChatRequest {
            model: "gpt-6-luna",
            messages: &messages,
            format: Some(AnswerFormat {
                name: "scores",
                schema: &schema,
            }),
            max_output_tokens: Some(900),
            temperature: Some(0.3),
            reasoning_effort: Some(ReasoningEffort::None),
            seed: Some(2),
            answers: Some(3),
            cache_key: Some("key"),
            service_tier: Some(ServiceTier::Flex),
        };
        let model = Models::default().get(request.model);
        let manner = Manner::new(&model, Refused::default());
        assert_eq!(
            serde_json::to_value(request.responses_body(&manner)).unwrap(),
            json!({
                "model": "gpt-6-luna", "input": [{"role": "user", "content": [{"type": "input_text",
                    "text": "hi", "prompt_cache_breakpoint": {"mode": "explicit"}}]}],
                "text": {"format": {"type": "json_schema", "name": "scores", "strict": true,
                    "schema": {"type": "object"}}},
                "max_output_tokens": 900, "temperature": 0.3, "reasoning": {"effort": "none"},
                "prompt_cache_key": "key", "prompt_cache_options": {"mode": "explicit"},
                "service_tier": "flex", "store": false,
            })
        );
    }

    fn read(output: &Value, incomplete: &Value) -> Result<Vec<ChatCompletion>, Breakage> {
        let body = json!({"object": "response", "output": output, "incomplete_details": incomplete,
            "usage": {"input_tokens": 3, "output_tokens": 4}});
        let body: ResponseBody<OutputItem> = parse(body.to_string().as_bytes()).unwrap();
        assert_eq!(body.usage.unwrap().total(), 7);
        ChatCompletion::of_output(body.items, body.incomplete_details.as_ref())
    }

    #[test]
    fn every_way_an_output_can_end_has_a_name() {
        let message = |content: Value| {
            json!([{"type": "reasoning", "summary": []},
                {"type": "message", "role": "assistant", "status": "completed", "content": [content]}])
        };
        let text =
            |text: &str| message(json!({"type": "output_text", "text": text, "annotations": []}));
        let why = |reason: &str| json!({"reason": reason});
        for (output, incomplete, expected) in [
            (
                text("{}"),
                Value::Null,
                ChatCompletion::Content("{}".into()),
            ),
            (
                message(json!({"type": "refusal", "refusal": "no"})),
                Value::Null,
                ChatCompletion::Refusal("no".into()),
            ),
            (
                text("{\"a"),
                why("max_output_tokens"),
                ChatCompletion::Length("{\"a".into()),
            ),
            (
                json!([{"type": "reasoning"}]),
                why("max_output_tokens"),
                ChatCompletion::Length(String::new()),
            ),
            (
                json!([]),
                why("content_filter"),
                ChatCompletion::ContentFilter,
            ),
        ] {
            assert_eq!(read(&output, &incomplete), Ok(vec![expected]));
        }
        assert!(read(&json!([]), &Value::Null).is_err());
    }
}
