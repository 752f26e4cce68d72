//! Chat completions under a strict JSON schema: the request, and the ways an answer can end.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Breakage, Tokenizer, model::is_reasoning};

/// A question to a language model.
///
/// A model is sent only what it understands. A model that reasons gets no temperature, and its limit as `max_completion_tokens`. The others get no effort, and the limit as
/// `max_tokens`, which every server understands.
///
/// Source: "Create chat completion".
#[derive(Clone, Debug, PartialEq)]
pub struct ChatRequest<'a> {
    /// The model, such as `gpt-4o-mini`.
    pub model: &'a str,
    /// The conversation. What all requests share goes first, because the provider caches it.
    pub messages: &'a [Message],
    /// The form of the answer; free text if not given.
    pub format: Option<AnswerFormat<'a>>,
    /// The most tokens of the answer, including reasoning.
    pub max_output_tokens: Option<u32>,
    /// From 0 to 2; not sent to reasoning models.
    pub temperature: Option<f64>,
    /// Sent to reasoning models only.
    pub reasoning_effort: Option<ReasoningEffort>,
    /// Gives each run of an ensemble its own answer, as repeatable as the provider can make it.
    pub seed: Option<i64>,
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

/// A part of the conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// What is said.
    pub content: String,
}

/// Who says a [`Message`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The instructions.
    System,
    /// The material.
    User,
    /// An earlier answer of the model.
    Assistant,
}

/// How long a reasoning model thinks before it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReasoningEffort {
    /// Hardly at all.
    Minimal,
    /// A little.
    Low,
    /// As without a setting.
    Medium,
    /// Long.
    High,
}

impl ReasoningEffort {
    /// The word that the API takes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Minimal => "minimal",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }

    fn tokens(self) -> usize {
        match self {
            Self::Minimal => 512,
            Self::Low => 2_048,
            Self::Medium => 8_192,
            Self::High => 24_576,
        }
    }
}

/// How many tokens to allow a model for reasoning, on top of its answer's. They are billed as output.
/// A model that reasons without a setting does so as with [`ReasoningEffort::Medium`].
pub fn reasoning_tokens(model: &str, effort: Option<ReasoningEffort>) -> usize {
    if is_reasoning(model) {
        effort.unwrap_or(ReasoningEffort::Medium).tokens()
    } else {
        0
    }
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

/// A parameter that not every model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parameter {
    MaxTokens,
    MaxCompletionTokens,
    Temperature,
    ReasoningEffort,
    Seed,
}

impl Parameter {
    pub(super) const ALL: [Self; 5] = [
        Self::MaxTokens,
        Self::MaxCompletionTokens,
        Self::Temperature,
        Self::ReasoningEffort,
        Self::Seed,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::MaxTokens => "max_tokens",
            Self::MaxCompletionTokens => "max_completion_tokens",
            Self::Temperature => "temperature",
            Self::ReasoningEffort => "reasoning_effort",
            Self::Seed => "seed",
        }
    }

    /// The same parameter under its other name.
    fn other_name(self) -> Option<Self> {
        match self {
            Self::MaxTokens => Some(Self::MaxCompletionTokens),
            Self::MaxCompletionTokens => Some(Self::MaxTokens),
            Self::Temperature | Self::ReasoningEffort | Self::Seed => None,
        }
    }
}

/// The parameters that a model has refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Refused(u8);

impl Refused {
    fn has(self, parameter: Parameter) -> bool {
        self.0 & (1 << parameter as u8) != 0
    }
}

/// What a client has learnt about the parameters that models take. A name does not show it, because a deployment
/// can have any name.
#[derive(Debug, Default)]
pub(super) struct Learnt(Mutex<HashMap<String, Refused>>);

impl Learnt {
    /// What is known about a model.
    pub(super) fn about(&self, model: &str) -> Refused {
        let learnt = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        learnt.get(model).copied().unwrap_or_default()
    }

    /// Notes that a model has refused a parameter of a request, which was sent without those in `sent_without`.
    /// True if the next request will differ from that one.
    pub(super) fn learn(&self, model: &str, parameter: Parameter, sent_without: Refused) -> bool {
        let other = parameter.other_name();
        if sent_without.has(parameter) || other.is_some_and(|other| sent_without.has(other)) {
            return false;
        }
        let mut learnt = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        learnt.entry(model.to_owned()).or_default().0 |= 1 << parameter as u8;
        true
    }
}

/// The body of a request.
#[derive(Serialize)]
pub(super) struct ChatBody<'a> {
    model: &'a str,
    messages: &'a [Message],
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
    /// The tokens of the input: the messages, their frames, and the schema, which the model reads as
    /// well. The provider's own count differs by a few.
    pub fn input_tokens(&self, tokenizer: Tokenizer) -> usize {
        let messages: usize = self
            .messages
            .iter()
            .map(|message| tokenizer.count(&message.content) + 4)
            .sum();
        let schema = self
            .format
            .map_or(0, |format| tokenizer.count(&format.schema.to_string()));
        messages + schema + 3
    }

    /// Only this function decides what each kind of model is sent. Parameters that the model has refused are left
    /// out. The limit is then sent under its other name.
    pub(super) fn body(&self, refused: Refused) -> ChatBody<'a> {
        let reasoning = is_reasoning(self.model);
        let takes = |parameter| !refused.has(parameter);
        let new_name =
            !takes(Parameter::MaxTokens) || (reasoning && takes(Parameter::MaxCompletionTokens));
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
        ChatBody {
            model: self.model,
            messages: self.messages,
            response_format,
            max_tokens: self.max_output_tokens.filter(|_| !new_name),
            max_completion_tokens: self.max_output_tokens.filter(|_| new_name),
            temperature: self
                .temperature
                .filter(|_| !reasoning && takes(Parameter::Temperature)),
            reasoning_effort: self
                .reasoning_effort
                .filter(|_| reasoning && takes(Parameter::ReasoningEffort)),
            seed: self.seed.filter(|_| takes(Parameter::Seed)),
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
    /// Reads the one choice that was requested.
    pub(super) fn read(choices: Vec<Choice>) -> Result<Self, Breakage> {
        let shape = |what: &str| Breakage::Shape(what.to_owned());
        let choice = choices
            .into_iter()
            .next()
            .ok_or_else(|| shape("no choices"))?;
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
                .ok_or_else(|| shape("no content")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn body(model: &str) -> Value {
        body_without(model, Refused::default())
    }

    fn body_without(model: &str, refused: Refused) -> Value {
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
            reasoning_effort: Some(ReasoningEffort::Low),
            seed: Some(2),
        };
        serde_json::to_value(request.body(refused)).unwrap()
    }

    #[test]
    fn each_kind_of_model_is_sent_what_it_understands() {
        let format = json!({
            "type": "json_schema",
            "json_schema": {"name": "scores", "strict": true, "schema": {"type": "object"}},
        });
        let messages = json!([{"role": "user", "content": "hi"}]);
        assert_eq!(
            body("gpt-4o-mini"),
            json!({
                "model": "gpt-4o-mini", "messages": messages, "response_format": format,
                "max_tokens": 900, "temperature": 0.3, "seed": 2,
            })
        );
        assert_eq!(
            body("gpt-5-mini"),
            json!({
                "model": "gpt-5-mini", "messages": messages, "response_format": format,
                "max_completion_tokens": 900, "reasoning_effort": "low", "seed": 2,
            })
        );
    }

    #[test]
    fn a_refused_parameter_is_left_out_and_the_limit_gets_its_other_name() {
        let learnt = Learnt::default();
        assert!(learnt.learn("any", Parameter::MaxTokens, Refused::default()));
        // Another request was in flight with the same parameter.
        assert!(learnt.learn("any", Parameter::MaxTokens, Refused::default()));
        assert!(learnt.learn("any", Parameter::Temperature, learnt.about("any")));
        let body = body_without("any", learnt.about("any"));
        assert_eq!(body["max_completion_tokens"], 900);
        for absent in ["max_tokens", "temperature"] {
            assert!(body.get(absent).is_none(), "{absent}");
        }
        // Without it, nothing else can be changed.
        let known = learnt.about("any");
        assert!(!learnt.learn("any", Parameter::MaxTokens, known));
        assert!(!learnt.learn("any", Parameter::MaxCompletionTokens, known));
        assert_eq!(learnt.about("other"), Refused::default());
        assert!(learnt.learn(
            "gpt-5-mini",
            Parameter::MaxCompletionTokens,
            Refused::default()
        ));
        let body = body_without("gpt-5-mini", learnt.about("gpt-5-mini"));
        assert_eq!(body["max_tokens"], 900);
    }

    fn completion(choice: &Value) -> Result<ChatCompletion, Breakage> {
        ChatCompletion::read(serde_json::from_value(choice.clone()).unwrap())
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
