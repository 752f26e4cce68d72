//! From a refusal's status and body to what to do about it: a pure table.

use std::time::Duration;

use serde_json::Value;

use super::error::{ErrorKind, Overload, Refusal};

/// The provider's own words, as far as they could be read.
///
/// `OpenAI` sends `{"error":{"message","type","param","code"}}`. Servers that speak its protocol also
/// send a number as the code, the message alone as `error`, or the fields without the frame.
///
/// Source: "Error codes".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Complaint {
    pub(super) message: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) param: Option<String>,
    pub(super) code: Option<String>,
}

impl Complaint {
    /// Reads a body; `None` where it holds no complaint at all.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let body: Value = serde_json::from_slice(body).ok()?;
        let error = body.get("error").unwrap_or(&body);
        let text = |name: &str| match error.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        let complaint = Self {
            message: error
                .as_str()
                .map(str::to_owned)
                .or_else(|| text("message")),
            kind: text("type"),
            param: text("param"),
            code: text("code"),
        };
        (complaint != Self::default()).then_some(complaint)
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
            .is_some_and(|said| said.to_ascii_lowercase().contains(words))
    }

    /// The number behind a word of the message: `Limit 30000, Requested 36278`. The word may also
    /// stand before something else (`for limit gpt-4.1`).
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
/// The provider's words come before its status: a 429 can mean "wait", "send less" and "pay", and
/// only the words tell them apart.
pub(super) fn classify(
    status: u16,
    complaint: &Complaint,
    retry_after: Option<Duration>,
) -> ErrorKind {
    let overloaded = |cause| ErrorKind::Overloaded { cause, retry_after };
    if complaint.is(is_quota) {
        return ErrorKind::Refused(Refusal::Quota);
    }
    if complaint.is(|label| label == "invalid_api_key") {
        return ErrorKind::Refused(Refusal::Key);
    }
    if complaint.is(|label| label == "max_tokens_per_request") {
        return ErrorKind::TooLarge {
            limit: complaint.number("max "),
        };
    }
    if complaint.says("request too large") {
        return match (complaint.number("limit "), complaint.number("requested ")) {
            (Some(limit), Some(requested)) if requested <= limit => overloaded(Overload::RateLimit),
            (limit, _) => ErrorKind::TooLarge { limit },
        };
    }
    if complaint.is(|label| label == "rate_limit_exceeded") {
        return overloaded(Overload::RateLimit);
    }
    if complaint.is(|label| matches!(label, "slow_down" | "server_is_overloaded")) {
        return overloaded(Overload::Busy);
    }
    if complaint.is(is_about_settings) {
        return ErrorKind::Refused(Refusal::Settings);
    }
    by_status(status, complaint, retry_after)
}

fn by_status(status: u16, complaint: &Complaint, retry_after: Option<Duration>) -> ErrorKind {
    let overloaded = |cause| ErrorKind::Overloaded { cause, retry_after };
    match status {
        401 => ErrorKind::Refused(Refusal::Key),
        402 => ErrorKind::Refused(Refusal::Quota),
        403 => ErrorKind::Refused(Refusal::Permission),
        408 => overloaded(Overload::Timeout),
        413 => ErrorKind::TooLarge { limit: None },
        429 => overloaded(Overload::RateLimit),
        409 | 425 | 500.. => overloaded(Overload::Busy),
        400 | 422 if complaint.is(|label| label == "array_above_max_length") => {
            ErrorKind::TooLarge { limit: None }
        }
        400 | 422 if !names_a_setting(complaint) => ErrorKind::BadInput,
        _ => ErrorKind::Refused(Refusal::Settings),
    }
}

fn is_quota(label: &str) -> bool {
    matches!(label, "insufficient_quota" | "credit_balance_exhausted")
        || label.ends_with("_spend_limit_exceeded")
        || label.starts_with("billing_")
}

/// Codes that no other input would change.
fn is_about_settings(label: &str) -> bool {
    matches!(
        label,
        "model_not_found" | "unknown_parameter" | "unsupported_parameter" | "unsupported_value"
    )
}

/// Whether the complaint is about a field that every request has alike. To halve a batch for its
/// sake would set every row aside, and pay for the search.
fn names_a_setting(complaint: &Complaint) -> bool {
    let Some(param) = &complaint.param else {
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
        let complaint = Complaint::read(body.as_bytes()).unwrap_or_default();
        classify(status, &complaint, WAIT)
    }

    fn overloaded(cause: Overload) -> ErrorKind {
        ErrorKind::Overloaded {
            cause,
            retry_after: WAIT,
        }
    }

    #[test]
    fn a_used_up_account_stops_whatever_its_status() {
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
                ErrorKind::Refused(Refusal::Quota),
                "{body}"
            );
        }
    }

    #[test]
    fn a_429_is_told_apart_by_its_words() {
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
    fn the_most_tokens_a_request_are_read_from_the_message() {
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
    fn a_failing_provider_is_waited_for() {
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
    fn a_refused_key_or_account_stops() {
        let body =
            r#"{"error":{"message":"m","type":"invalid_request_error","code":"invalid_api_key"}}"#;
        assert_eq!(kind(401, body), ErrorKind::Refused(Refusal::Key));
        assert_eq!(kind(400, body), ErrorKind::Refused(Refusal::Key));
        assert_eq!(kind(401, "no"), ErrorKind::Refused(Refusal::Key));
        assert_eq!(kind(403, "no"), ErrorKind::Refused(Refusal::Permission));
    }

    #[test]
    fn a_refused_input_is_searched_for_but_a_refused_setting_stops() {
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
                ErrorKind::Refused(Refusal::Settings),
                "{body}"
            );
        }
    }

    #[test]
    fn too_many_inputs_are_sent_in_parts() {
        let body = r#"{"error":{"message":"m","param":"input","code":"array_above_max_length"}}"#;
        assert_eq!(kind(400, body), ErrorKind::TooLarge { limit: None });
    }

    #[test]
    fn complaints_of_other_servers_are_read() {
        let bare = Complaint::read(br#"{"object":"error","message":"m","code":404}"#).unwrap();
        assert_eq!(
            (bare.message.as_deref(), bare.name()),
            (Some("m"), Some("404"))
        );
        let text = Complaint::read(br#"{"error":"out of memory"}"#).unwrap();
        assert_eq!(text.message.as_deref(), Some("out of memory"));
        assert_eq!(Complaint::read(b"{}"), None);
        assert_eq!(Complaint::read(b"<html>"), None);
    }
}
