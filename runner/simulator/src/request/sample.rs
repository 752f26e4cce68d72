//! Requests for the tests.

use serde_json::{Value, json};

/// One post and the schema of one score.
pub(crate) fn chat_request(model: &str) -> Value {
    json!({
        "model": model,
        "messages": [
            {"role": "system", "content": "Score."},
            {"role": "user", "content": POST},
        ],
        "response_format": {"type": "json_schema", "json_schema": {
            "name": "scores", "strict": true, "schema": schema(),
        }},
    })
}

/// The same for `/v1/responses`.
pub(crate) fn response_request(model: &str) -> Value {
    json!({
        "model": model,
        "instructions": "Score.",
        "input": POST,
        "text": {"format": {
            "type": "json_schema", "name": "scores", "strict": true, "schema": schema(),
        }},
    })
}

const POST: &str = "{\"index\":1,\"text\":\"Loud music.\"}";

fn schema() -> Value {
    json!({
        "type": "object", "required": ["posts"], "additionalProperties": false,
        "properties": {"posts": {"type": "array", "items": {
            "type": "object", "required": ["index", "drama"],
            "additionalProperties": false,
            "properties": {"index": {"type": "integer"}, "drama": {"type": "number"}},
        }}},
    })
}
