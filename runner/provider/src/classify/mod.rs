//! What to do about a response that is no success, by its status and body: a pure table.

use std::time::Duration;

use serde_json::Value;

use super::ReasoningEffort;
use super::error::{ErrorKind, Overload, RefusalCause};
use super::parameter::Parameter;

/// The provider's description of an error.
///
/// `OpenAI` sends `{"error":{"message","type","param","code"}}`. Compatible servers also send a number
/// as the code, a `status` for the type, the message alone as `error` or `detail`, the fields without the frame,
/// all of this in an array, or plain text.
///
/// Source: "Error codes".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ErrorBody {
    pub(super) message: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) param: Option<String>,
    pub(super) code: Option<String>,
}

impl ErrorBody {
    /// Reads a response's body; `None` if it describes no error.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let Ok(body) = serde_json::from_slice::<Value>(body) else {
            return Self::plain(str::from_utf8(body).ok()?);
        };
        let first = |value: &Value| value.get(0).cloned();
        let body = first(&body).unwrap_or(body);
        let framed = ["error", "errors", "detail"].into_iter();
        let framed = framed
            .filter_map(|name| body.get(name))
            .find(|value| !value.is_null());
        let error = framed.map(|error| first(error).unwrap_or_else(|| error.clone()));
        let error = error.unwrap_or(body);
        let text = |name: &str| match error.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        let message = error.as_str().map(str::to_owned);
        let read = Self {
            message: message.or_else(|| text("message")).or_else(|| text("msg")),
            kind: text("type").or_else(|| text("status")),
            param: text("param"),
            code: text("code"),
        };
        (read != Self::default()).then_some(read)
    }

    /// The error in a response with a status of success, with the status that it should have had.
    pub(super) fn disguised(body: &[u8]) -> Option<(u16, Self)> {
        let value: Value = serde_json::from_slice(body).ok()?;
        value.get("error").filter(|error| !error.is_null())?;
        let error = Self::read(body)?;
        let code = error.code.as_ref().and_then(|code| code.parse().ok());
        let status = code.filter(|code| (400..600).contains(code)).unwrap_or(400);
        Some((status, error))
    }

    /// A message in plain text, or the words of a gateway's page.
    fn plain(text: &str) -> Option<Self> {
        let text = text.trim();
        let message = match text.chars().next() {
            Some('<') => words_of_page(text),
            Some('{' | '[') => String::new(),
            _ => text.to_owned(),
        };
        (!message.is_empty()).then(|| Self {
            message: Some(message),
            ..Self::default()
        })
    }

    /// The name to report: the code, else the type. A code that is a number only repeats the status.
    pub(super) fn name(&self) -> Option<&str> {
        let named = self
            .code
            .as_deref()
            .filter(|code| code.parse::<u16>().is_err());
        named.or(self.kind.as_deref()).or(self.code.as_deref())
    }

    /// The most inputs of a request, if the message states a cap that this request exceeds.
    fn most_inputs(&self, sent: usize) -> Option<usize> {
        const INPUTS: [&str; 10] = [
            "batch",
            "inputs",
            "input array",
            "array length",
            "items",
            "texts",
            "documents",
            "contents",
            "instances",
            "requests",
        ];
        const CAP: [&str; 12] = [
            "larger than",
            "at most",
            "more than",
            "maximum",
            "max ",
            "exceed",
            "limit",
            "up to",
            "less than",
            "fewer than",
            "<=",
            "too many",
        ];
        // These are about the length of one text.
        const LENGTH: [&str; 3] = ["token", "character", "byte"];
        let any = |words: &[&str]| words.iter().any(|words| self.says(words));
        if !any(&INPUTS) || !any(&CAP) || any(&LENGTH) {
            return None;
        }
        let message = self.message.as_ref()?;
        let numbers = message.split(|c: char| !c.is_ascii_digit());
        let numbers = numbers.filter_map(|digits| digits.parse().ok());
        numbers.filter(|most| (1..sent).contains(most)).max()
    }

    /// Whether the message says that the request is too large, without a number.
    fn is_about_size(&self) -> bool {
        const SIZES: [&str; 6] = [
            "too many inputs",
            "too many items",
            "too many texts",
            "max total tokens",
            "batch size too large",
            "split into more batches",
        ];
        SIZES.into_iter().any(|words| self.says(words))
    }

    /// The parameter that the model does not take.
    pub(super) fn refused_parameter(&self) -> Option<Parameter> {
        let refuses = |label: &str| {
            matches!(
                label,
                "unsupported_parameter" | "unsupported_value" | "unknown_parameter"
            )
        };
        let words = [
            "not supported",
            "unsupported",
            "not support",
            "unrecognized",
        ];
        if !self.is(refuses) && !words.into_iter().any(|words| self.says(words)) {
            return None;
        }
        let named = |name: &&str| match &self.param {
            // A parameter within the messages is named with its path.
            Some(param) => param == name || param.rsplit('.').next() == Some(*name),
            None => self.quotes(name),
        };
        Parameter::ALL
            .into_iter()
            .find(|parameter| parameter.names().iter().any(named))
    }

    /// The efforts that the message names, other than the one that was refused.
    pub(super) fn efforts_taken(&self, refused: ReasoningEffort) -> Vec<ReasoningEffort> {
        let others = ReasoningEffort::ALL.into_iter();
        let others = others.filter(|effort| *effort != refused && self.quotes(effort.as_str()));
        others.collect()
    }

    /// Whether the message has this word in quotes.
    fn quotes(&self, word: &str) -> bool {
        ['\'', '`', '"']
            .iter()
            .any(|quote| self.says(&format!("{quote}{word}{quote}")))
    }

    /// Whether the message is about the key.
    fn is_about_key(&self) -> bool {
        const FAULTS: [&str; 10] = [
            "not valid",
            "invalid",
            "incorrect",
            "missing",
            "expired",
            "not found",
            "revoked",
            "disabled",
            "required",
            "provide",
        ];
        ["api key", "api_key", "apikey", "access token"]
            .into_iter()
            .any(|key| self.says(key))
            && FAULTS.into_iter().any(|fault| self.says(fault))
    }

    /// Whether the message is about what the key or the account may do.
    fn is_about_permission(&self) -> bool {
        self.is(|label| {
            matches!(
                label,
                "ip_not_authorized" | "PERMISSION_DENIED" | "permission_error"
            )
        }) || [
            "scope",
            "permission",
            "ip address",
            "location is not supported",
            "country",
        ]
        .into_iter()
        .any(|words| self.says(words))
    }

    fn is(&self, test: impl Fn(&str) -> bool) -> bool {
        [&self.code, &self.kind]
            .into_iter()
            .flatten()
            .any(|label| test(label))
    }

    fn says(&self, words: &str) -> bool {
        self.message
            .as_ref()
            .is_some_and(|message| message.to_ascii_lowercase().contains(words))
    }

    /// The number after a word of the message: `Limit 30000, Requested 36278`. Other text may follow the
    /// word as well (`for limit gpt-4.1`).
    fn number(&self, word: &str) -> Option<u64> {
        let message = self.message.as_ref()?.to_ascii_lowercase();
        message.split(word).skip(1).find_map(|tail| {
            let end = tail
                .find(|c: char| !(c.is_ascii_digit() || c == ','))
                .unwrap_or(tail.len());
            tail.get(..end)?.replace(',', "").parse().ok()
        })
    }
}

/// What to do about a status other than success.
///
/// The body counts more than the status: a 429 can mean "wait", "send less" or "pay", and only the
/// body says which.
pub(super) fn classify(
    status: u16,
    error: &ErrorBody,
    retry_after: Option<Duration>,
    inputs: usize,
) -> ErrorKind {
    let overloaded = |cause| ErrorKind::Overloaded { cause, retry_after };
    if error.is(is_quota) {
        return ErrorKind::Refused(RefusalCause::Quota);
    }
    if error.is(|label| label == "invalid_api_key") {
        return ErrorKind::Refused(RefusalCause::Key);
    }
    if error.is(|label| label == "max_tokens_per_request") {
        return ErrorKind::TooLarge {
            limit: error.number("max "),
        };
    }
    if error.says("request too large") {
        return match (error.number("limit "), error.number("requested ")) {
            (Some(limit), Some(requested)) if requested <= limit => overloaded(Overload::RateLimit),
            (limit, _) => ErrorKind::AboveLimit { limit },
        };
    }
    if error.is(|label| label == "rate_limit_exceeded") {
        return overloaded(Overload::RateLimit);
    }
    if error.is(|label| label == "resource_unavailable") {
        return overloaded(Overload::NoCapacity);
    }
    if error.is(|label| matches!(label, "slow_down" | "server_is_overloaded" | "server_error")) {
        return overloaded(Overload::Busy);
    }
    if error.is(is_about_settings) {
        return ErrorKind::Refused(RefusalCause::Settings);
    }
    if let (400 | 413 | 422, Some(limit)) = (status, error.most_inputs(inputs)) {
        return ErrorKind::TooManyInputs { limit };
    }
    by_status(status, error, retry_after)
}

fn by_status(status: u16, error: &ErrorBody, retry_after: Option<Duration>) -> ErrorKind {
    let overloaded = |cause| ErrorKind::Overloaded { cause, retry_after };
    match status {
        401 if error.is_about_permission() => ErrorKind::Refused(RefusalCause::Permission),
        401 => ErrorKind::Refused(RefusalCause::Key),
        402 => ErrorKind::Refused(RefusalCause::Quota),
        403 => ErrorKind::Refused(RefusalCause::Permission),
        408 => overloaded(Overload::Timeout),
        413 => ErrorKind::TooLarge { limit: None },
        429 => overloaded(Overload::RateLimit),
        409 | 425 | 500.. => overloaded(Overload::Busy),
        400 | 422 if error.is(|label| label == "array_above_max_length") => {
            ErrorKind::TooLarge { limit: None }
        }
        400 | 422 if error.is_about_size() => ErrorKind::TooLarge { limit: None },
        400 | 422 if error.param.is_none() && error.is_about_key() => {
            ErrorKind::Refused(RefusalCause::Key)
        }
        400 | 422 if error.param.is_none() && error.is_about_permission() => {
            ErrorKind::Refused(RefusalCause::Permission)
        }
        400 | 422 if !names_a_setting(error) => ErrorKind::BadInput,
        _ => ErrorKind::Refused(RefusalCause::Settings),
    }
}

fn is_quota(label: &str) -> bool {
    matches!(label, "insufficient_quota" | "credit_balance_exhausted")
        || label.ends_with("_spend_limit_exceeded")
        || label.starts_with("billing_")
}

/// Whether the code is about the settings, so that another input would not help.
fn is_about_settings(label: &str) -> bool {
    matches!(
        label,
        "model_not_found" | "unknown_parameter" | "unsupported_parameter" | "unsupported_value"
    )
}

/// Whether the error is about a field that every request has. Halving the batch would then move every
/// row to the dead letters, and cost a request for each.
fn names_a_setting(error: &ErrorBody) -> bool {
    let Some(param) = &error.param else {
        return false;
    };
    let root = param.split(['.', '[']).next().unwrap_or(param);
    !matches!(root, "input" | "messages" | "prompt" | "")
}

/// A page of HTML without its tags.
fn words_of_page(page: &str) -> String {
    let pieces = page.split('<').filter_map(|piece| piece.split('>').nth(1));
    let text: Vec<&str> = pieces.flat_map(str::split_whitespace).collect();
    text.join(" ")
}

#[cfg(test)]
mod tests;
