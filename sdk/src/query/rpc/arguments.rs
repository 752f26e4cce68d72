//! The arguments of a function, in the body or in the URL.

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

use crate::error::Error;
use crate::quote;

/// Writes arguments as the body of a POST.
pub(super) fn body(arguments: &(impl Serialize + ?Sized)) -> Result<Bytes, Error> {
    let body = quote::to_vec(arguments).map_err(|error| {
        Error::invalid("the arguments cannot be written as JSON").with_source(error)
    })?;
    match body.first() {
        Some(b'{') => Ok(body.into()),
        // A function without arguments is a unit struct, which serializes as null.
        _ if body == b"null" => Ok(Bytes::from_static(b"{}")),
        _ => Err(Error::invalid(
            "the arguments must serialize as an object with a key for each",
        )),
    }
}

/// The arguments as parameters of a URL, or `None` if PostgREST would misread one of them.
pub(super) fn in_url(body: &Bytes) -> Option<Vec<(String, String)>> {
    let members: serde_json::Map<String, Value> = serde_json::from_slice(body).ok()?;
    members
        .into_iter()
        .map(|(name, value)| {
            let value = in_parameter(&name, value)?;
            Some((name, value))
        })
        .collect()
}

fn in_parameter(name: &str, value: Value) -> Option<String> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if !name.bytes().all(is_name) || quote::is_reserved(name) {
        return None;
    }
    match value {
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(value) => Some(value.to_string()),
        Value::String(text) if !looks_like_a_filter(&text) && !text.contains('\0') => Some(text),
        // A URL cannot express null. Arrays and objects have no form that fits every type.
        Value::Null | Value::String(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Whether PostgREST would take an argument's value for a filter of the returned rows: it does if
/// the text begins with a letter and has a dot, as `eq.` and `fts(english).` do.
fn looks_like_a_filter(text: &str) -> bool {
    let word = text.split_once('.').map(|(word, _)| word);
    word.is_some_and(|word| {
        word.bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_alphabetic())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn url(arguments: &Value) -> Option<Vec<(String, String)>> {
        in_url(&body(arguments).unwrap())
    }

    #[test]
    fn arguments_must_have_names() {
        assert_eq!(body(&()).unwrap(), "{}");
        assert_eq!(body(&json!({"a": null})).unwrap(), r#"{"a":null}"#);
        assert!(body(&[1]).is_err());
    }

    #[test]
    fn only_what_cannot_be_misread_goes_into_a_url() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            url(&json!({"a": 1, "b": "x y", "c": true, "d": "1.5"})).unwrap(),
            [
                pair("a", "1"),
                pair("b", "x y"),
                pair("c", "true"),
                pair("d", "1.5")
            ]
        );
        for misread in [
            json!({"a": "cs.lewis@gmail.com"}),
            json!({"a": "not.eq.1"}),
            json!({"a": "fts(english).x"}),
            json!({"a": null}),
            json!({"a": [1]}),
            json!({"limit": 1}),
            json!({"a.b": 1}),
        ] {
            assert_eq!(url(&misread), None, "{misread}");
        }
    }
}
