//! `POST /v1/responses`: the response.

use serde_json::{Value, json};

use super::{
    AnswerTerms,
    chat::{Choice, ChoiceEnd, choices, input_details},
};
use crate::{config::Style, ledger::TokenUsage, model::MODEL_SUFFIX, request::ParsedChat};

/// The body of the response, as JSON, and what it used.
pub(super) fn answer(request: &ParsedChat, terms: &AnswerTerms) -> (Vec<u8>, TokenUsage) {
    let (mut choices, usage) = choices(request, terms);
    let choice = choices.pop().unwrap_or_default();
    let reason = match choice.end {
        ChoiceEnd::Stop => None,
        ChoiceEnd::Length => Some("max_output_tokens"),
        ChoiceEnd::ContentFilter => Some("content_filter"),
    };
    let status = if reason.is_some() {
        "incomplete"
    } else {
        "completed"
    };
    let number = terms.number;
    let reasoning = (usage.reasoning > 0).then(
        || json!({"id": format!("rs_simulated_{number}"), "type": "reasoning", "summary": []}),
    );
    let message = content(&choice).map(|content| {
        json!({"id": format!("msg_simulated_{number}"), "type": "message", "role": "assistant",
            "status": status, "content": [content]})
    });
    let output: Vec<Value> = reasoning.into_iter().chain(message).collect();
    let mut body = json!({
        "id": format!("resp_simulated_{number}"),
        "object": "response",
        "created_at": terms.unix_time,
        "status": status,
        "error": null,
        "incomplete_details": reason.map(|reason| json!({"reason": reason})),
        "model": format!("{}{MODEL_SUFFIX}", request.model),
        "output": output,
    });
    if let (true, Some(body)) = (terms.style != Style::Local, body.as_object_mut()) {
        body.insert("service_tier".to_owned(), json!(terms.tier.name()));
        let usage = json!({
            "input_tokens": usage.input,
            "input_tokens_details": input_details(terms),
            "output_tokens": usage.output,
            "output_tokens_details": {"reasoning_tokens": usage.reasoning},
            "total_tokens": usage.input + usage.output,
        });
        body.insert("usage".to_owned(), usage);
    }
    (body.to_string().into_bytes(), usage)
}

/// What a message says, if it says anything.
fn content(choice: &Choice) -> Option<Value> {
    if let Some(refusal) = &choice.refusal {
        return Some(json!({"type": "refusal", "refusal": refusal}));
    }
    let said = choice.said.as_ref().filter(|said| !said.is_empty())?;
    Some(json!({"type": "output_text", "text": said, "annotations": []}))
}
