//! `POST /v1/batches`: reading the request. Source: "Create batch".

use serde_json::{Map, Value};

use crate::{
    error_response::ErrorResponse,
    limit::{
        MAX_METADATA_KEY_CHARS, MAX_METADATA_PAIRS, MAX_METADATA_VALUE_CHARS, OUTPUT_EXPIRY_SECONDS,
    },
    request::{BodyFields, Route},
};

/// A request for a batch without errors.
#[derive(Clone, Debug)]
pub(crate) struct BatchRequest {
    pub(crate) input_file_id: String,
    pub(crate) route: Route,
    pub(crate) metadata: Option<Map<String, Value>>,
    /// How long the output files stay, in seconds.
    pub(crate) output_expires_after: Option<u64>,
}

const PARAMETERS: &str = "input_file_id endpoint completion_window metadata output_expires_after";

impl BatchRequest {
    pub(crate) fn read(body: &[u8]) -> Result<Self, ErrorResponse> {
        let mut fields = BodyFields::read(body, PARAMETERS)?;
        let input_file_id = required(&mut fields, "input_file_id")?;
        let endpoint = required(&mut fields, "endpoint")?;
        let route = Route::of_url(&endpoint).ok_or_else(|| {
            let message = format!("Invalid 'endpoint': '{endpoint}' takes no batches.");
            ErrorResponse::invalid("endpoint", message).with_code("invalid_value")
        })?;
        if required(&mut fields, "completion_window")? != "24h" {
            let message = "Invalid 'completion_window': must be '24h'.";
            let error = ErrorResponse::invalid("completion_window", message);
            return Err(error.with_code("invalid_value"));
        }
        Ok(Self {
            input_file_id,
            route,
            metadata: metadata(fields.take("metadata"))?,
            output_expires_after: expiry(fields.take("output_expires_after"))?,
        })
    }
}

fn required(fields: &mut BodyFields, name: &'static str) -> Result<String, ErrorResponse> {
    fields.text(name)?.ok_or_else(|| {
        let message = format!("Missing required parameter: '{name}'.");
        ErrorResponse::invalid(name, message).with_code("missing_required_parameter")
    })
}

/// At most 16 pairs of texts.
fn metadata(value: Option<Value>) -> Result<Option<Map<String, Value>>, ErrorResponse> {
    let Some(value) = value else { return Ok(None) };
    let is_short = |(key, value): (&String, &Value)| {
        let chars = value.as_str().map(|text| text.chars().count());
        key.chars().count() <= MAX_METADATA_KEY_CHARS
            && chars.is_some_and(|chars| chars <= MAX_METADATA_VALUE_CHARS)
    };
    match value {
        Value::Object(pairs) if pairs.len() <= MAX_METADATA_PAIRS && pairs.iter().all(is_short) => {
            Ok(Some(pairs))
        }
        _ => Err(ErrorResponse::invalid(
            "metadata",
            format!(
                "Invalid 'metadata': at most {MAX_METADATA_PAIRS} pairs of texts, keys of at most \
                 {MAX_METADATA_KEY_CHARS} characters, values of at most {MAX_METADATA_VALUE_CHARS}."
            ),
        )),
    }
}

fn expiry(value: Option<Value>) -> Result<Option<u64>, ErrorResponse> {
    let Some(value) = value else { return Ok(None) };
    let is_anchored = value
        .get("anchor")
        .is_some_and(|anchor| anchor == "created_at");
    let seconds = value.get("seconds").and_then(Value::as_u64);
    match seconds.filter(|seconds| is_anchored && OUTPUT_EXPIRY_SECONDS.contains(seconds)) {
        Some(seconds) => Ok(Some(seconds)),
        None => Err(ErrorResponse::invalid(
            "output_expires_after",
            format!(
                "Invalid 'output_expires_after': the anchor must be 'created_at', the seconds from \
                 {} to {}.",
                OUTPUT_EXPIRY_SECONDS.start(),
                OUTPUT_EXPIRY_SECONDS.end(),
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(change: &[(&str, Value)]) -> Result<BatchRequest, ErrorResponse> {
        let mut body = json!({"input_file_id": "file-1", "endpoint": "/v1/chat/completions",
            "completion_window": "24h"});
        for (key, value) in change {
            body[*key] = value.clone();
        }
        BatchRequest::read(body.to_string().as_bytes())
    }

    #[test]
    fn errors_name_the_field() {
        let pairs: Map<_, _> = (0..17).map(|n| (n.to_string(), json!("v"))).collect();
        for (param, value) in [
            ("input_file_id", json!(null)),
            ("endpoint", json!("/v1/images")),
            ("completion_window", json!("1h")),
            ("metadata", json!(pairs)),
            ("metadata", json!({"k": 1})),
            ("metadata", json!({"k": "v".repeat(513)})),
            ("metadata", json!({"k".repeat(65): "v"})),
            (
                "output_expires_after",
                json!({"anchor": "created_at", "seconds": 3599}),
            ),
            (
                "output_expires_after",
                json!({"anchor": "now", "seconds": 3600}),
            ),
        ] {
            let error = read(&[(param, value.clone())]).unwrap_err();
            assert_eq!(error.param, Some(param), "{value}");
        }
        let metadata = json!({"intent": "0b1f"});
        let expiry = json!({"anchor": "created_at", "seconds": 3600});
        let request = read(&[
            ("metadata", metadata.clone()),
            ("output_expires_after", expiry),
        ])
        .unwrap();
        assert_eq!(request.metadata, metadata.as_object().cloned());
        assert_eq!(
            (request.route, request.output_expires_after),
            (Route::Chat, Some(3600))
        );
    }
}
