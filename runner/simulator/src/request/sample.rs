//! A request for the tests.

use serde_json::{Value, json};

/// One post and the schema of one score.
pub(crate) fn chat_request(model: &str) -> Value {
    json!({
        "model": model,
        "messages": [
            {"role": "system", "content": "Score."},
            {"role": "user", "content": "{\"index\":1,\"text\":\"Loud music.\"}"},
        ],
        "response_format": {"type": "json_schema", "json_schema": {
            "name": "scores", "strict": true, "schema": {
                "type": "object", "required": ["posts"], "additionalProperties": false,
                "properties": {"posts": {"type": "array", "items": {
                    "type": "object", "required": ["index", "drama"],
                    "additionalProperties": false,
                    "properties": {"index": {"type": "integer"}, "drama": {"type": "number"}},
                }}},
            },
        }},
    })
}
