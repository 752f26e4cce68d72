//! A request as text, for snapshot tests.

use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::exchange::RecordedRequest;

/// A request in a readable form: the query without percent-encoding, the body as indented JSON, no
/// key.
///
/// It serializes as its text, so it works with `assert_json_snapshot` and with `assert_snapshot`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    text: String,
}

impl Snapshot {
    /// Shows a recorded request. Members of its body that `hidden` names appear as `"[hidden]"`.
    pub fn new(request: &RecordedRequest, hidden: &[String]) -> Self {
        let path = percent_encoding::percent_decode_str(&request.path).decode_utf8_lossy();
        let mut text = format!("{} {}\n", request.method, on_one_line(&path));
        for (name, value) in &request.headers {
            text.extend([name, ": ", value, "\n"]);
        }
        if let Some(body) = &request.body {
            text.push('\n');
            text.push_str(&pretty(body, hidden));
            text.push('\n');
        }
        Self { text }
    }

    /// Joins the snapshots of several requests, in order.
    pub(super) fn joined(requests: &[RecordedRequest], hidden: &[String]) -> String {
        let texts: Vec<String> = requests
            .iter()
            .map(|request| Self::new(request, hidden).text)
            .collect();
        texts.join("\n")
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Snapshot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

fn on_one_line(text: &str) -> String {
    let shown = |letter: char| {
        if letter.is_control() {
            letter.escape_debug().to_string()
        } else {
            letter.to_string()
        }
    };
    text.chars().map(shown).collect()
}

fn pretty(body: &str, hidden: &[String]) -> String {
    match serde_json::from_str::<Value>(body) {
        Ok(mut value) => {
            hide(&mut value, hidden);
            serde_json::to_string_pretty(&value).unwrap_or_else(|_| body.to_owned())
        }
        Err(_) => body.to_owned(),
    }
}

fn hide(value: &mut Value, hidden: &[String]) {
    match value {
        Value::Array(elements) => elements
            .iter_mut()
            .for_each(|element| hide(element, hidden)),
        Value::Object(members) => {
            for (name, member) in members {
                if hidden.contains(name) {
                    *member = Value::from("[hidden]");
                } else {
                    hide(member, hidden);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_request_is_shown_readably_and_without_what_is_hidden() {
        let request = RecordedRequest {
            method: "POST".to_owned(),
            path: "/posts?columns=a,token&x=eq.%22a%20b%22%0A".to_owned(),
            headers: BTreeMap::from([("prefer".to_owned(), "return=minimal".to_owned())]),
            body: Some(r#"[{"a":{"token":1},"token":"x"}]"#.to_owned()),
        };
        let text = Snapshot::new(&request, &["token".to_owned()]).to_string();
        let expected = r#"POST /posts?columns=a,token&x=eq."a b"\n
prefer: return=minimal

[
  {
    "a": {
      "token": "[hidden]"
    },
    "token": "[hidden]"
  }
]
"#;
        assert_eq!(text, expected);
    }
}
