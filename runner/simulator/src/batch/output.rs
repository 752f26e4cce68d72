//! The files that a batch leaves. Source: "Batch", "Retrieving the results".

use serde::Serialize;
use serde_json::{Value, json, value::RawValue};

use crate::{error_response::ErrorResponse, hash::hash};

/// What became of a line.
#[derive(Debug)]
pub(crate) enum LineOutput {
    /// The body of the response.
    Answered(Vec<u8>),
    Refused(ErrorResponse),
    /// The line was not done, with a code and a message.
    Undone(&'static str, &'static str),
}

impl LineOutput {
    /// An overload leaves no response, any other error does.
    pub(crate) fn refused(error: ErrorResponse) -> Self {
        match error.status.as_u16() {
            503 => Self::Undone("server_is_overloaded", "The servers were overloaded."),
            _ => Self::Refused(error),
        }
    }

    pub(crate) fn expired() -> Self {
        let message = "This request could not be executed before the completion window expired.";
        Self::Undone("batch_expired", message)
    }

    pub(crate) fn cancelled() -> Self {
        let message = "This request was not executed, because the batch was cancelled.";
        Self::Undone("batch_cancelled", message)
    }

    /// Whether the line belongs into the output file, not into the error file.
    pub(super) fn is_answered(&self) -> bool {
        matches!(self, Self::Answered(_))
    }
}

#[derive(Serialize)]
struct OutputLine<'l> {
    id: &'l str,
    custom_id: &'l str,
    response: Option<LineResponse>,
    error: Option<Value>,
}

#[derive(Serialize)]
struct LineResponse {
    status_code: u16,
    request_id: String,
    body: Box<RawValue>,
}

/// Writes the lines of a file. They come in an order of their own.
pub(super) fn write<'l>(lines: impl Iterator<Item = (&'l str, &'l LineOutput)>) -> Vec<u8> {
    let mut lines: Vec<(u64, &str, &LineOutput)> = lines
        .map(|(custom_id, output)| (hash([custom_id.as_bytes()]), custom_id, output))
        .collect();
    lines.sort_by_key(|(hash, ..)| *hash);
    let mut file = Vec::new();
    for (hash, custom_id, output) in lines {
        let line = line(&format!("{hash:016x}"), custom_id, output);
        file.extend_from_slice(line.as_bytes());
        file.push(b'\n');
    }
    file
}

fn line(id: &str, custom_id: &str, output: &LineOutput) -> String {
    let response = |status_code, body: String| {
        let body = RawValue::from_string(body).expect("a response is JSON");
        let request_id = format!("req_simulated_{id}");
        Some(LineResponse {
            status_code,
            request_id,
            body,
        })
    };
    let (response, error) = match output {
        LineOutput::Answered(body) => (
            response(200, String::from_utf8_lossy(body).into_owned()),
            None,
        ),
        LineOutput::Refused(error) => (
            response(error.status.as_u16(), error.to_json().to_string()),
            None,
        ),
        LineOutput::Undone(code, message) => {
            (None, Some(json!({"code": code, "message": message})))
        }
    };
    let line = OutputLine {
        id: &format!("batch_req_{id}"),
        custom_id,
        response,
        error,
    };
    serde_json::to_string(&line).expect("a line always has a JSON form")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_has_its_form() {
        let outcomes = [
            ("a", LineOutput::Answered(b"{\"model\":\"m\"}".to_vec())),
            ("b", LineOutput::Refused(ErrorResponse::unknown_model("m"))),
            ("c", LineOutput::expired()),
        ];
        let file = write(outcomes.iter().map(|(id, output)| (*id, output)));
        let file = String::from_utf8(file).unwrap();
        let lines: Vec<Value> = file
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let of = |id| lines.iter().find(|line| line["custom_id"] == id).unwrap();
        assert_eq!(of("a")["response"]["status_code"], 200);
        assert_eq!(of("a")["response"]["body"], json!({"model": "m"}));
        assert_eq!(
            of("b")["response"]["body"]["error"]["code"],
            "model_not_found"
        );
        assert_eq!(
            (&of("b")["error"], &of("c")["response"]),
            (&Value::Null, &Value::Null)
        );
        assert_eq!(of("c")["error"]["code"], "batch_expired");
    }

    #[test]
    fn lines_come_in_another_order() {
        let ids: Vec<String> = (0..20).map(|n| n.to_string()).collect();
        let done = LineOutput::expired();
        let file = write(ids.iter().map(|id| (id.as_str(), &done)));
        let lines = std::str::from_utf8(&file).unwrap().lines();
        let written: Vec<String> = lines
            .map(|line| {
                serde_json::from_str::<Value>(line).unwrap()["custom_id"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        assert_ne!(written, ids);
        let mut sorted = written.clone();
        sorted.sort_by_key(|id| id.parse::<u32>().unwrap());
        assert_eq!(sorted, ids);
    }
}
