//! Chat completions under a strict JSON schema: the request, and the ways an answer can end.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cache::{Explicit, WireMessage, wire_messages};
use super::manner::Manner;
use super::{Breakage, Message, ReasoningEffort, Tier, TokenLimit};

/// A question to a language model.
///
/// A model is sent only what it takes: see [`Model`](super::Model).
///
/// Source: "Create chat completion".
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChatRequest<'a> {
    /// The model, such as `gpt-6-luna`.
    pub model: &'a str,
    /// The conversation. What all requests share goes first, because the provider can cache it.
    pub messages: &'a [Message],
    /// The form of the answer; free text if not given.
    pub format: Option<AnswerFormat<'a>>,
    /// The most tokens of an answer, including reasoning.
    pub max_output_tokens: Option<u32>,
    /// From 0 to 2; sent only at efforts at which the model takes it.
    pub temperature: Option<f64>,
    /// Sent only to a model that takes it.
    pub reasoning_effort: Option<ReasoningEffort>,
    /// Gives each run of an ensemble its own answer, as repeatable as the provider can make it.
    pub seed: Option<i64>,
    /// How many answers; one if not given. The response may have fewer: a model without `n` gives one.
    pub answers: Option<u32>,
    /// The same for requests that share their first message, so that the provider's cache keeps this one alone. If not
    /// given, or if the model does not take it, the provider decides what is cached.
    pub cache_key: Option<&'a str>,
    /// The tier to be processed at; the project's own if not given.
    pub service_tier: Option<ServiceTier>,
}

/// The tier at which a request is to be processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ServiceTier {
    /// As the project is set up.
    Auto,
    /// The standard one.
    Default,
    /// Half the price, and slower. It may have no capacity.
    Flex,
    /// Faster and dearer.
    Priority,
}

impl ServiceTier {
    /// The tier at which such a request is reserved, before its response says what was billed.
    pub fn price(self) -> Tier {
        match self {
            Self::Flex => Tier::Flex,
            Self::Priority => Tier::Priority,
            Self::Auto | Self::Default => Tier::Standard,
        }
    }
}

/// A strict JSON schema that the answer must follow.
///
/// Source: "Structured outputs".
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AnswerFormat<'a> {
    /// 1 to [`MAX_SCHEMA_NAME_BYTES`](super::MAX_SCHEMA_NAME_BYTES) letters, digits, `_` and `-`.
    pub name: &'a str,
    /// The schema. Its root is an object; every object in it is closed and requires all its keys.
    pub schema: &'a Value,
}

/// How a model's answer ended. All of these are billed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChatCompletion {
    /// A whole answer: under a format, JSON that follows its schema.
    Content(String),
    /// The model refuses to answer, for this reason.
    Refusal(String),
    /// The answer reached its limit of tokens. This is its beginning.
    Length(String),
    /// The provider's filter withheld the answer.
    ContentFilter,
}

/// The body of a request.
#[derive(Serialize)]
pub(super) struct ChatBody<'a> {
    model: &'a str,
    messages: Vec<WireMessage<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<ResponseFormat<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_effort: Option<ReasoningEffort>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_cache_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_cache_options: Option<Explicit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<ServiceTier>,
}

#[derive(Serialize)]
struct ResponseFormat<'a> {
    r#type: &'static str,
    json_schema: JsonSchema<'a>,
}

#[derive(Serialize)]
struct JsonSchema<'a> {
    name: &'a str,
    strict: bool,
    schema: &'a Value,
}

impl<'a> ChatRequest<'a> {
    /// The request as a model is asked now.
    pub(super) fn body(&self, manner: &Manner<'_>) -> ChatBody<'a> {
        let response_format = self
            .format
            .map(|AnswerFormat { name, schema }| ResponseFormat {
                r#type: "json_schema",
                json_schema: JsonSchema {
                    name,
                    strict: true,
                    schema,
                },
            });
        let limit = |name| {
            self.max_output_tokens
                .filter(|_| manner.token_limit() == name)
        };
        let cache_key = manner.cache_key(self.cache_key);
        ChatBody {
            model: self.model,
            messages: wire_messages(self.messages, "text", cache_key.is_some()),
            response_format,
            max_tokens: limit(TokenLimit::MaxTokens),
            max_completion_tokens: limit(TokenLimit::MaxCompletionTokens),
            temperature: manner.temperature(self.temperature, self.reasoning_effort),
            reasoning_effort: manner.effort(self.reasoning_effort),
            seed: manner.seed(self.seed),
            n: self.answers.filter(|answers| *answers > 1 && manner.n()),
            prompt_cache_key: cache_key,
            prompt_cache_options: cache_key.map(|_| Explicit::default()),
            service_tier: self.service_tier,
        }
    }
}

/// An answer in the response's JSON.
#[derive(Deserialize)]
pub(super) struct Choice {
    message: ChoiceMessage,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct ChoiceMessage {
    content: Option<String>,
    refusal: Option<String>,
}

impl ChatCompletion {
    /// Reads the choices. One that cannot be read is left out, unless no other is there.
    pub(super) fn read(choices: Vec<Choice>) -> Result<Vec<Self>, Breakage> {
        let mut broken = Breakage::Shape("no choices".to_owned());
        let mut read = Vec::new();
        for choice in choices {
            match Self::of(choice) {
                Ok(completion) => read.push(completion),
                Err(breakage) => broken = breakage,
            }
        }
        if read.is_empty() {
            Err(broken)
        } else {
            Ok(read)
        }
    }

    fn of(choice: Choice) -> Result<Self, Breakage> {
        let ChoiceMessage { content, refusal } = choice.message;
        // Servers send the one that is absent as null or as an empty text.
        if let Some(refusal) = refusal.filter(|text| !text.is_empty()) {
            return Ok(Self::Refusal(refusal));
        }
        match choice.finish_reason.as_deref() {
            Some("content_filter") => Ok(Self::ContentFilter),
            Some("length") => Ok(Self::Length(content.unwrap_or_default())),
            _ => content
                .map(Self::Content)
                .ok_or_else(|| Breakage::Shape("no content".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::manner::Refused;
    use crate::{Models, Role};

    /// What a model is sent if everything is configured.
    fn body(model: &str, reasoning_effort: ReasoningEffort) -> Value {
        let messages = [Message {
            role: Role::User,
            content: "hi".to_owned(),
        }];
        let schema = json!({"type": "object"});
        let request = ChatRequest {
            model,
            messages: &messages,
            format: Some(AnswerFormat {
                name: "scores",
                schema: &schema,
            }),
            max_output_tokens: Some(900),
            temperature: Some(0.3),
            reasoning_effort: Some(reasoning_effort),
            seed: Some(2),
            answers: Some(3),
            cache_key: Some("key"),
            service_tier: None,
        };
        let model = Models::default().get(model);
        let manner = Manner::new(&model, Refused::default());
        let mut body = serde_json::to_value(request.body(&manner)).unwrap();
        for shared in ["model", "messages", "response_format"] {
            assert!(!body[shared].is_null());
            body.as_object_mut().unwrap().shift_remove(shared);
        }
        body
    }

    #[test]
    fn each_kind_of_model_is_sent_what_it_takes() {
        for (model, effort, expected) in [
            (
                "gpt-4o-mini",
                ReasoningEffort::Low,
                json!({ "max_tokens": 900, "temperature": 0.3, "seed": 2, "n": 3 }),
            ),
            (
                "gpt-5-mini",
                ReasoningEffort::Low,
                json!({ "max_completion_tokens": 900, "reasoning_effort": "low", "seed": 2 }),
            ),
            (
                "gpt-6-luna",
                ReasoningEffort::None,
                json!({ "max_completion_tokens": 900, "temperature": 0.3, "reasoning_effort": "none", "seed": 2,
                    "n": 3, "prompt_cache_key": "key", "prompt_cache_options": { "mode": "explicit" } }),
            ),
            (
                "gpt-6-luna",
                ReasoningEffort::Max,
                json!({ "max_completion_tokens": 900, "reasoning_effort": "max", "seed": 2, "n": 3,
                    "prompt_cache_key": "key", "prompt_cache_options": { "mode": "explicit" } }),
            ),
            (
                "our-deployment",
                ReasoningEffort::Xhigh,
                json!({ "max_tokens": 900, "temperature": 0.3, "reasoning_effort": "xhigh", "seed": 2 }),
            ),
        ] {
            assert_eq!(body(model, effort), expected, "{model}");
        }
    }

    fn completion(choice: &Value) -> Result<ChatCompletion, Breakage> {
        let read = ChatCompletion::read(serde_json::from_value(choice.clone()).unwrap());
        read.map(|mut completions| completions.remove(0))
    }

    #[test]
    fn a_choice_that_cannot_be_read_costs_only_itself() {
        let choice =
            |content: Value| json!({"message": {"content": content}, "finish_reason": "stop"});
        let choices = json!([choice(json!("a")), choice(Value::Null), choice(json!("c"))]);
        let read = ChatCompletion::read(serde_json::from_value(choices).unwrap()).unwrap();
        assert_eq!(
            read,
            ["a", "c"].map(|text| ChatCompletion::Content(text.to_owned()))
        );
    }

    #[test]
    fn every_way_an_answer_can_end_has_a_name() {
        let choice = |content: Value, refusal: Value, finish: Value| {
            let message = json!({"role": "assistant", "content": content, "refusal": refusal});
            json!([{"index": 0, "message": message, "finish_reason": finish}])
        };
        let null = Value::Null;
        for (found, expected) in [
            (
                choice(json!("{}"), null.clone(), json!("stop")),
                ChatCompletion::Content("{}".into()),
            ),
            // Local servers leave the reason out.
            (
                choice(json!("{}"), json!(""), null.clone()),
                ChatCompletion::Content("{}".into()),
            ),
            (
                choice(null.clone(), json!("no"), json!("stop")),
                ChatCompletion::Refusal("no".into()),
            ),
            (
                choice(json!("{\"a"), null.clone(), json!("length")),
                ChatCompletion::Length("{\"a".into()),
            ),
            (
                choice(null.clone(), null.clone(), json!("length")),
                ChatCompletion::Length(String::new()),
            ),
            (
                choice(null.clone(), null.clone(), json!("content_filter")),
                ChatCompletion::ContentFilter,
            ),
        ] {
            assert_eq!(completion(&found), Ok(expected));
        }
        let silent = choice(null.clone(), null, json!("stop"));
        assert_eq!(
            completion(&silent),
            Err(Breakage::Shape("no content".to_owned()))
        );
        assert_eq!(
            completion(&json!([])),
            Err(Breakage::Shape("no choices".to_owned()))
        );
    }
}
