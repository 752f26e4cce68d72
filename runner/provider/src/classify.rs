//! What to do about a response that is no success, by its status and body: a pure table.

use std::time::Duration;

use serde_json::Value;

use super::chat::Parameter;
use super::error::{ErrorKind, Overload, RefusalCause};

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

    /// A message in plain text. A page of HTML says nothing.
    fn plain(text: &str) -> Option<Self> {
        let text = text.trim();
        let is_message = !text.is_empty() && !text.starts_with(['<', '{', '[']);
        is_message.then(|| Self {
            message: Some(text.to_owned()),
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
        Parameter::ALL.into_iter().find(|parameter| {
            let name = parameter.name();
            match &self.param {
                Some(param) => param == name,
                None => [
                    format!("'{name}'"),
                    format!("`{name}`"),
                    format!("\"{name}\""),
                ]
                .into_iter()
                .any(|quoted| self.says(&quoted)),
            }
        })
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
    if error.is(|label| matches!(label, "slow_down" | "server_is_overloaded")) {
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

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Option<Duration> = Some(Duration::from_millis(350));

    fn kind(status: u16, body: &str) -> ErrorKind {
        kind_of(status, body, 1)
    }

    fn kind_of(status: u16, body: &str, inputs: usize) -> ErrorKind {
        let body = ErrorBody::read(body.as_bytes()).unwrap_or_default();
        classify(status, &body, WAIT, inputs)
    }

    fn overloaded(cause: Overload) -> ErrorKind {
        ErrorKind::Overloaded {
            cause,
            retry_after: WAIT,
        }
    }

    #[test]
    fn a_used_up_account_stops_the_run_at_every_status() {
        for (status, body) in [
            (
                429,
                r#"{"error":{"message":"m","type":"insufficient_quota","code":"insufficient_quota"}}"#,
            ),
            (
                429,
                r#"{"error":{"message":"m","type":"insufficient_quota","code":null}}"#,
            ),
            (
                429,
                r#"{"error":{"message":"m","code":"credit_balance_exhausted"}}"#,
            ),
            (
                400,
                r#"{"error":{"message":"m","code":"project_spend_limit_exceeded"}}"#,
            ),
            (
                400,
                r#"{"error":{"message":"m","code":"billing_hard_limit_reached"}}"#,
            ),
            (402, "payment required"),
        ] {
            assert_eq!(
                kind(status, body),
                ErrorKind::Refused(RefusalCause::Quota),
                "{body}"
            );
        }
    }

    #[test]
    fn the_body_says_what_a_429_means() {
        let limit = r#"{"error":{"message":"Rate limit reached: Limit 10000, Used 9999, Requested 500.","type":"tokens","code":"rate_limit_exceeded"}}"#;
        assert_eq!(kind(429, limit), overloaded(Overload::RateLimit));
        assert_eq!(kind(429, "slow"), overloaded(Overload::RateLimit));
        let slow = r#"{"error":{"message":"m","code":"slow_down"}}"#;
        assert_eq!(kind(429, slow), overloaded(Overload::Busy));
        for (requested, expected) in [
            (
                36_278,
                ErrorKind::AboveLimit {
                    limit: Some(30_000),
                },
            ),
            (30_000, overloaded(Overload::RateLimit)),
        ] {
            let body = format!(
                r#"{{"error":{{"message":"Request too large for gpt-4.1-2025-04-14 (for limit gpt-4.1) on tokens per min (TPM): Limit 30000, Requested {requested}.","type":"tokens","code":"rate_limit_exceeded"}}}}"#
            );
            assert_eq!(kind(429, &body), expected);
        }
    }

    #[test]
    fn the_most_tokens_of_a_request_are_read_from_the_message() {
        let body = r#"{"error":{"message":"Requested 312,000 tokens, max 300,000 tokens per request","type":"max_tokens_per_request","code":"max_tokens_per_request"}}"#;
        assert_eq!(
            kind(400, body),
            ErrorKind::TooLarge {
                limit: Some(300_000)
            }
        );
        let silent = r#"{"error":{"code":"max_tokens_per_request"}}"#;
        assert_eq!(kind(400, silent), ErrorKind::TooLarge { limit: None });
        assert_eq!(kind(413, ""), ErrorKind::TooLarge { limit: None });
    }

    #[test]
    fn a_stated_cap_on_inputs_is_read_and_no_other_number_is() {
        for (message, expected) in [
            (
                "batch size is invalid, it should not be larger than 25.",
                Some(25),
            ),
            ("Too many inputs: at most 64 inputs are allowed", Some(64)),
            ("batch size 100 > maximum allowed batch size 32", Some(32)),
            (
                "* BatchEmbedContentsRequest.requests: at most 96 requests can be in one batch",
                Some(96),
            ),
            (
                "input array too long: maximum array length is 10, got 100",
                Some(10),
            ),
            ("The batch exceeds the limit of 200 inputs", None),
            ("inputs[3]: at most 80 tokens are allowed", None),
            ("Input 17 is not allowed", None),
            ("the batch is refused", None),
        ] {
            let body = format!(r#"{{"error":{{"message":"{message}"}}}}"#);
            let kind = match expected {
                Some(limit) => ErrorKind::TooManyInputs { limit },
                None => ErrorKind::BadInput,
            };
            assert_eq!(kind_of(400, &body, 100), kind, "{message}");
        }
    }

    #[test]
    fn a_tier_without_capacity_is_no_rate_limit() {
        let body = r#"{"error":{"message":"m","type":"resource_unavailable","code":"resource_unavailable"}}"#;
        assert_eq!(kind(429, body), overloaded(Overload::NoCapacity));
    }

    #[test]
    fn a_key_that_is_refused_with_another_status_is_a_refused_key() {
        let gemini = r#"{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT"}}"#;
        for body in [gemini.to_owned(), format!("[{gemini}]")] {
            assert_eq!(kind(400, &body), ErrorKind::Refused(RefusalCause::Key));
        }
        for message in [
            "Missing scopes: model.request.",
            "You have insufficient permissions for this operation.",
        ] {
            let body = format!(r#"{{"error":{{"message":"{message}","code":null}}}}"#);
            assert_eq!(
                kind(401, &body),
                ErrorKind::Refused(RefusalCause::Permission)
            );
        }
        let region = r#"{"error":{"code":400,"message":"User location is not supported for the API use.","status":"FAILED_PRECONDITION"}}"#;
        assert_eq!(
            kind(400, region),
            ErrorKind::Refused(RefusalCause::Permission)
        );
        // A text that speaks of a key is still a text.
        let input = r#"{"error":{"message":"invalid input: 'my api key'","param":"input"}}"#;
        assert_eq!(kind(400, input), ErrorKind::BadInput);
    }

    #[test]
    fn a_parameter_that_the_model_does_not_take_has_a_name() {
        for (body, expected) in [
            (
                r#"{"error":{"message":"m","param":"max_tokens","code":"unsupported_parameter"}}"#,
                Some(Parameter::MaxTokens),
            ),
            (
                r#"{"error":{"message":"Unsupported value: 'temperature' does not support 0.3","param":"temperature","code":"unsupported_value"}}"#,
                Some(Parameter::Temperature),
            ),
            (
                r#"{"error":{"message":"`max_completion_tokens` is not supported"}}"#,
                Some(Parameter::MaxCompletionTokens),
            ),
            (
                r#"{"error":{"message":"max_tokens is too large","param":"max_tokens","code":"invalid_value"}}"#,
                None,
            ),
            (
                r#"{"error":{"message":"m","param":"response_format","code":"unsupported_parameter"}}"#,
                None,
            ),
        ] {
            let read = ErrorBody::read(body.as_bytes()).unwrap();
            assert_eq!(read.refused_parameter(), expected, "{body}");
        }
    }

    #[test]
    fn a_failing_provider_is_an_overload() {
        let body =
            r#"{"error":{"message":"m","type":"server_error","code":"server_is_overloaded"}}"#;
        assert_eq!(kind(503, body), overloaded(Overload::Busy));
        for status in [409, 425, 500, 502, 504, 529] {
            assert_eq!(
                kind(status, "<html>"),
                overloaded(Overload::Busy),
                "{status}"
            );
        }
        assert_eq!(kind(408, ""), overloaded(Overload::Timeout));
    }

    #[test]
    fn a_refused_key_or_account_stops_the_run() {
        let body =
            r#"{"error":{"message":"m","type":"invalid_request_error","code":"invalid_api_key"}}"#;
        assert_eq!(kind(401, body), ErrorKind::Refused(RefusalCause::Key));
        assert_eq!(kind(400, body), ErrorKind::Refused(RefusalCause::Key));
        assert_eq!(kind(401, "no"), ErrorKind::Refused(RefusalCause::Key));
        assert_eq!(
            kind(403, "no"),
            ErrorKind::Refused(RefusalCause::Permission)
        );
    }

    #[test]
    fn a_refused_input_is_bad_input_but_a_refused_setting_stops_the_run() {
        let input = r#"{"error":{"message":"m","type":"invalid_request_error","param":"input","code":null}}"#;
        assert_eq!(kind(400, input), ErrorKind::BadInput);
        let message = r#"{"error":{"message":"m","param":"messages[1].content","code":null}}"#;
        assert_eq!(kind(400, message), ErrorKind::BadInput);
        assert_eq!(kind(400, r#"{"error":"bad"}"#), ErrorKind::BadInput);
        assert_eq!(kind(422, "bad"), ErrorKind::BadInput);
        for (status, body) in [
            (
                400,
                r#"{"error":{"message":"m","param":"response_format","code":null}}"#,
            ),
            (
                400,
                r#"{"error":{"message":"m","param":"dimensions","code":null}}"#,
            ),
            (
                400,
                r#"{"error":{"message":"m","code":"unsupported_value","param":"messages"}}"#,
            ),
            (404, r#"{"error":{"message":"m","code":"model_not_found"}}"#),
            (403, r#"{"error":{"message":"m","code":"model_not_found"}}"#),
            (404, "<html>"),
            (308, ""),
        ] {
            assert_eq!(
                kind(status, body),
                ErrorKind::Refused(RefusalCause::Settings),
                "{body}"
            );
        }
    }

    #[test]
    fn too_many_inputs_are_too_large() {
        let body = r#"{"error":{"message":"m","param":"input","code":"array_above_max_length"}}"#;
        assert_eq!(kind(400, body), ErrorKind::TooLarge { limit: None });
    }

    #[test]
    fn errors_of_other_servers_are_read() {
        let bare = ErrorBody::read(br#"{"object":"error","message":"m","code":404}"#).unwrap();
        assert_eq!(
            (bare.message.as_deref(), bare.name()),
            (Some("m"), Some("404"))
        );
        let text = ErrorBody::read(br#"{"error":"out of memory"}"#).unwrap();
        assert_eq!(text.message.as_deref(), Some("out of memory"));
        for body in [
            r#"[{"error":{"code":400,"message":"m","status":"INVALID_ARGUMENT"}}]"#,
            r#"{"errors":[{"code":400,"message":"m","type":"INVALID_ARGUMENT"}]}"#,
            r#"{"code":400,"message":"m","status":"INVALID_ARGUMENT"}"#,
        ] {
            let read = ErrorBody::read(body.as_bytes()).unwrap();
            assert_eq!(
                (read.message.as_deref(), read.name()),
                (Some("m"), Some("INVALID_ARGUMENT")),
                "{body}"
            );
        }
        for body in [
            "m",
            " m\n",
            r#"{"detail":"m"}"#,
            r#"{"detail":[{"msg":"m","loc":["body"]}]}"#,
            r#"{"message":"m"}"#,
            r#"["m"]"#,
            "\"m\"",
        ] {
            let read = ErrorBody::read(body.as_bytes()).unwrap();
            assert_eq!(read.message.as_deref(), Some("m"), "{body}");
        }
        assert_eq!(ErrorBody::read(b"{}"), None);
        assert_eq!(ErrorBody::read(b"<html>"), None);
    }
}
