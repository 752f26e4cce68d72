//! What a request for a chat completion and one for a response have in common: a conversation with a
//! model, and how it is to be answered.

use serde_json::Value;

use super::cache_control::{CacheMode, read_content};
use super::fields::BodyFields;
use super::prompt::{PromptPost, WordLimits, posts};
use super::schema;
use crate::{
    cache::Beginnings,
    error_response::ErrorResponse,
    ledger::Tier,
    limit::{MAX_TEMPERATURE, MAX_TOP_P},
    model::{Ability, ChatAbility, Effort, find},
    tokens::Vocabulary,
};

/// A request to a chat model without errors.
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
    /// How many choices are asked for.
    pub(crate) choices: usize,
    pub(crate) effort: Effort,
    pub(crate) tier: Tier,
    pub(crate) cache_key: Option<String>,
    /// What the prompt cache may know.
    pub(crate) beginnings: Beginnings,
    /// How long the texts of an answer may be.
    pub(crate) limits: WordLimits,
}

/// A message of a conversation.
pub(super) struct PromptMessage {
    pub(super) role: String,
    pub(super) content: String,
    /// Where the content has a breakpoint of the cache, in bytes.
    pub(super) breakpoints: Vec<usize>,
}

/// The parts of a request to a chat model that are read.
pub(super) struct Conversation {
    pub(super) model: String,
    pub(super) messages: Vec<PromptMessage>,
    pub(super) schema: Option<Value>,
    pub(super) max_output_tokens: Option<usize>,
    pub(super) run: i64,
    pub(super) choices: usize,
    pub(super) effort: Effort,
    pub(super) tier: Tier,
    pub(super) cache_key: Option<String>,
    pub(super) cache_mode: CacheMode,
}

const ROLES: [&str; 4] = ["system", "developer", "user", "assistant"];

impl Conversation {
    /// Counts the tokens and finds the posts. `param` is the field that has the messages.
    pub(super) fn parsed(
        self,
        vocabulary: Vocabulary,
        ability: &ChatAbility,
        param: &'static str,
    ) -> Result<ParsedChat, ErrorResponse> {
        let schema_text = self
            .schema
            .as_ref()
            .map(Value::to_string)
            .unwrap_or_default();
        let input_tokens = count(&self.messages, &schema_text, vocabulary);
        let context = ability.context;
        if input_tokens > context {
            let message = format!("The maximum context is {context} tokens, not {input_tokens}.");
            let error = ErrorResponse::invalid(param, message);
            return Err(error.with_code("context_length_exceeded"));
        }
        let said = |by_user: bool| {
            let messages = self.messages.iter();
            let messages = messages.filter(move |message| (message.role == "user") == by_user);
            messages.map(|message| message.content.as_str())
        };
        let (prompt, breakpoints) = prompt_text(&self.messages, schema_text, self.cache_mode);
        let beginnings = match self.cache_mode {
            CacheMode::Steps => Beginnings::of(&prompt, vocabulary),
            _ => Beginnings::at(&prompt, &breakpoints, vocabulary),
        };
        Ok(ParsedChat {
            limits: WordLimits::of(said(false)),
            posts: posts(said(true)),
            beginnings,
            model: self.model,
            vocabulary,
            input_tokens,
            schema: self.schema,
            max_output_tokens: self.max_output_tokens,
            run: self.run,
            choices: self.choices,
            effort: self.effort,
            tier: self.tier,
            cache_key: self.cache_key,
        })
    }
}

/// What the table says about a chat model.
pub(super) fn chat_model(model: &str) -> Result<(Vocabulary, &'static ChatAbility), ErrorResponse> {
    let found = find(model).map(|model| (model.vocabulary, &model.ability));
    match found {
        Some((vocabulary, Ability::Chat(ability))) => Ok((vocabulary, ability)),
        _ => Err(ErrorResponse::unknown_model(model)),
    }
}

/// Whether the model charges for what is written to the prompt cache.
pub(super) fn charges_writes(model: &str) -> bool {
    find(model).is_some_and(|model| model.price.cache_write.is_some())
}

pub(super) fn unsupported(param: &'static str, message: &str) -> ErrorResponse {
    ErrorResponse::invalid(param, message).with_code("unsupported_parameter")
}

/// The effort, if the model takes it. `param` is the field that has the word.
pub(super) fn effort(
    param: &'static str,
    word: Option<String>,
    ability: &ChatAbility,
) -> Result<Effort, ErrorResponse> {
    let Some(word) = word else {
        return Ok(ability.usual_effort);
    };
    if !ability.reasons() {
        return Err(unsupported(param, "This model does not reason."));
    }
    let effort = Effort::of_word(&word).filter(|effort| ability.efforts.contains(effort));
    effort.ok_or_else(|| {
        let known: Vec<&str> = ability.efforts.iter().map(|effort| effort.word()).collect();
        let message = format!(
            "Unsupported value: '{param}' does not support '{word}' with this model. Supported \
             values are: {}.",
            known.join(", ")
        );
        ErrorResponse::invalid(param, message).with_code("unsupported_value")
    })
}

/// A model that reasons samples in its own way.
pub(super) fn check_sampling(fields: &mut BodyFields, effort: Effort) -> Result<(), ErrorResponse> {
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
        if effort != Effort::None && value != 1.0 {
            let message = format!("'{param}' does not support {value} with this model.");
            return Err(ErrorResponse::invalid(param, message).with_code("unsupported_value"));
        }
    }
    Ok(())
}

/// Refuses what `OpenAI` supports and the simulator does not.
pub(super) fn check_stream(fields: &mut BodyFields) -> Result<(), ErrorResponse> {
    if fields.take("stream").is_some_and(|stream| stream != false) {
        return Err(unsupported("stream", "The simulator does not stream."));
    }
    Ok(())
}

/// The tier that a request asks for.
pub(super) fn tier(fields: &mut BodyFields, ability: &ChatAbility) -> Result<Tier, ErrorResponse> {
    let refuse =
        |message: &str, code| Err(ErrorResponse::invalid("service_tier", message).with_code(code));
    match fields.text("service_tier")?.as_deref() {
        None | Some("auto" | "default") => Ok(Tier::Default),
        Some("priority") => Ok(Tier::Priority),
        Some("flex") if ability.flex => Ok(Tier::Flex),
        Some("flex") => refuse("Flex is not available for this model.", "unsupported_value"),
        Some(_) => refuse("Invalid 'service_tier'.", "invalid_value"),
    }
}

/// The messages of a list. `param` is its field, and `read` finds the text in a message's content.
pub(super) fn messages(
    param: &'static str,
    value: Option<Value>,
    part: &str,
    cache_mode: CacheMode,
) -> Result<Vec<PromptMessage>, ErrorResponse> {
    let refuse = |message: &str| ErrorResponse::invalid(param, message);
    let Some(Value::Array(list)) = value else {
        return Err(refuse(&format!("'{param}' must be a list.")));
    };
    if list.is_empty() {
        let message = format!("'{param}' is too short: it must have one message at least.");
        return Err(refuse(&message));
    }
    let messages = list.iter().map(|message| {
        let role = message
            .get("role")
            .and_then(Value::as_str)
            .map(str::to_owned);
        let role = role.filter(|role| ROLES.contains(&role.as_str()));
        let role = role.ok_or_else(|| refuse("A message has no role, or an unknown one."))?;
        let content = message
            .get("content")
            .and_then(|content| read_content(content, part));
        let read = content.ok_or_else(|| refuse("A message has no text as its content."))?;
        let (content, breakpoints) = cache_mode.check(read)?;
        Ok(PromptMessage {
            role,
            content,
            breakpoints,
        })
    });
    messages.collect()
}

/// The schema of a format of type `json_schema`, whose name, schema and strictness are in `described`.
/// `param` is the field that has the format.
pub(super) fn strict_schema(
    param: &'static str,
    format: &Value,
    described: Option<&Value>,
) -> Result<Option<Value>, ErrorResponse> {
    let refuse = |message: &str| Err(ErrorResponse::invalid(param, message));
    match format.get("type").and_then(Value::as_str) {
        Some("text") => return Ok(None),
        Some("json_schema") => {}
        _ => return refuse("The simulator supports 'json_schema' and 'text'."),
    }
    let part = |name: &str| described?.get(name);
    let name = part("name").and_then(Value::as_str).unwrap_or_default();
    let (Some(schema), Some(Value::Bool(true))) = (part("schema"), part("strict")) else {
        return refuse("The simulator needs a 'schema', and 'strict' must be true.");
    };
    match schema::check(name, schema) {
        Ok(()) => Ok(Some(schema.clone())),
        Err(broken) => refuse(&format!("Invalid schema for {param} '{name}': {broken}")),
    }
}

/// Counts the input: the contents, four tokens around each message, and the schema, which the model
/// reads as well.
fn count(messages: &[PromptMessage], schema: &str, vocabulary: Vocabulary) -> u64 {
    let said = messages
        .iter()
        .map(|message| vocabulary.count(&message.content) + 4);
    (said.sum::<usize>() + vocabulary.count(schema) + 3) as u64
}

/// The prompt as the model reads it, with the schema first, and where it has breakpoints of the cache.
fn prompt_text(
    messages: &[PromptMessage],
    schema: String,
    cache_mode: CacheMode,
) -> (String, Vec<usize>) {
    let (mut prompt, mut breakpoints) = (schema, Vec::new());
    for message in messages {
        prompt.extend(["\n", &message.role, "\n"]);
        let marked = message.breakpoints.iter();
        breakpoints.extend(marked.map(|at| prompt.len() + at));
        prompt.push_str(&message.content);
    }
    if cache_mode == CacheMode::Implicit {
        breakpoints.push(prompt.len());
    }
    (prompt, breakpoints)
}
