//! What to do about a response that is no success, by its status and body: a pure table.

use std::time::Duration;

use serde_json::Value;

use super::error::{ErrorKind, Overload, RefusalCause};

/// The provider's description of an error.
///
/// `OpenAI` sends `{"error":{"message","type","param","code"}}`. Compatible servers also send a number
/// as the code, the message alone as `error`, or the fields without the frame.
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
        let body: Value = serde_json::from_slice(body).ok()?;
        let error = body.get("error").unwrap_or(&body);
        let text = |name: &str| match error.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        let message = error.as_str().map(str::to_owned);
        let read = Self {
            message: message.or_else(|| text("message")),
            kind: text("type"),
            param: text("param"),
            code: text("code"),
        };
        (read != Self::default()).then_some(read)
    }

    /// The name to report: the code, else the type.
    pub(super) fn name(&self) -> Option<&str> {
        self.code.as_deref().or(self.kind.as_deref())
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
pub(super) fn classify(status: u16, error: &ErrorBody, retry_after: Option<Duration>) -> ErrorKind {
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
            (limit, _) => ErrorKind::TooLarge { limit },
        };
    }
    if error.is(|label| label == "rate_limit_exceeded") {
        return overloaded(Overload::RateLimit);
    }
    if error.is(|label| matches!(label, "slow_down" | "server_is_overloaded")) {
        return overloaded(Overload::Busy);
    }
    if error.is(is_about_settings) {
        return ErrorKind::Refused(RefusalCause::Settings);
    }
    by_status(status, error, retry_after)
}

fn by_status(status: u16, error: &ErrorBody, retry_after: Option<Duration>) -> ErrorKind {
    let overloaded = |cause| ErrorKind::Overloaded { cause, retry_after };
    match status {
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
        let body = ErrorBody::read(body.as_bytes()).unwrap_or_default();
        classify(status, &body, WAIT)
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
                ErrorKind::TooLarge {
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
        assert_eq!(ErrorBody::read(b"{}"), None);
        assert_eq!(ErrorBody::read(b"<html>"), None);
    }
}
