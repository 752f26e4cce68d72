//! `POST /v1/chat/completions`: the response.

use serde_json::json;

use super::{corrupt::corrupt_entries, fill::fill};
use crate::{config::Style, fault::Fault, model::MODEL_SUFFIX, request::ParsedChat};

/// The body of the response, as JSON, and its tokens.
pub(super) fn answer(request: &ParsedChat, fault: Option<Fault>, style: Style) -> (Vec<u8>, u64) {
    let content = match &request.schema {
        Some(schema) => {
            let mut answer = fill(schema, &request.posts, request.run);
            corrupt_entries(&mut answer, fault);
            answer.to_string()
        }
        None => "A simulated answer.".to_owned(),
    };
    let (said, refusal, finish_reason) = finish(request, &content, fault);
    let output = said
        .or(refusal)
        .map_or(0, |text| request.vocabulary.count(text)) as u64;
    let message = json!({"role": "assistant", "content": said, "refusal": refusal});
    let mut body = json!({
        "object": "chat.completion",
        "model": format!("{}{MODEL_SUFFIX}", request.model),
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
    });
    if let (true, Some(body)) = (style != Style::Local, body.as_object_mut()) {
        let usage = json!({
            "prompt_tokens": request.input_tokens,
            "completion_tokens": output,
            "total_tokens": request.input_tokens + output,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        });
        body.insert("usage".to_owned(), usage);
    }
    (body.to_string().into_bytes(), output)
}

/// The content, the refusal, and the reason for the end.
fn finish<'c>(
    request: &ParsedChat,
    content: &'c str,
    fault: Option<Fault>,
) -> (Option<&'c str>, Option<&'c str>, &'static str) {
    let whole = request.vocabulary.count(content);
    let max = match fault {
        Some(Fault::Refusal) => {
            return (None, Some("I'm sorry, but I can't help with that."), "stop");
        }
        Some(Fault::ContentFilter) => return (None, None, "content_filter"),
        Some(Fault::Length) => Some(whole / 2),
        _ => request.max_output_tokens,
    };
    match max.filter(|max| whole > *max) {
        Some(max) => (Some(request.vocabulary.head(content, max)), None, "length"),
        None => (Some(content), None, "stop"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::request::{ParsedRequest, Route, sample::chat_request};
    use crate::tokens::Vocabulary;

    fn answered(body: &Value, fault: Option<Fault>) -> Value {
        let body = body.to_string();
        let request = ParsedRequest::read(Route::Chat, body.as_bytes()).unwrap();
        let ParsedRequest::Chat(request) = request else {
            panic!("{request:?}")
        };
        serde_json::from_slice(&answer(&request, fault, Style::OpenAi).0).unwrap()
    }

    #[test]
    fn a_response_follows_the_schema_and_counts_its_tokens() {
        let answer = answered(&chat_request("gpt-4o-mini"), None);
        assert_eq!(answer["model"], "gpt-4o-mini-simulated");
        let content = answer["choices"][0]["message"]["content"].as_str().unwrap();
        let posts: Value = serde_json::from_str(content).unwrap();
        assert_eq!(posts["posts"][0]["index"], 1);
        let usage = &answer["usage"];
        assert_eq!(usage["completion_tokens"], Vocabulary::O200k.count(content));
    }

    #[test]
    fn a_response_ends_at_its_limit_of_tokens() {
        let mut body = chat_request("gpt-4o-mini");
        body["max_tokens"] = json!(5);
        let choice = &answered(&body, None)["choices"][0];
        assert_eq!(choice["finish_reason"], "length");
        let content = choice["message"]["content"].as_str().unwrap();
        assert_eq!(Vocabulary::O200k.count(content), 5);
    }

    #[test]
    fn faults_end_a_response_early() {
        let body = chat_request("gpt-4o-mini");
        let choice = |fault| answered(&body, Some(fault))["choices"][0].take();
        assert!(choice(Fault::Refusal)["message"]["refusal"].is_string());
        assert_eq!(
            choice(Fault::ContentFilter)["finish_reason"],
            "content_filter"
        );
        let truncated = choice(Fault::Length);
        assert_eq!(truncated["finish_reason"], "length");
        let content = truncated["message"]["content"].as_str().unwrap();
        assert!(serde_json::from_str::<Value>(content).unwrap_err().is_eof());
    }
}
