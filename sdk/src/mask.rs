//! Texts without the secrets that stand in them.

#[cfg(feature = "client")]
use serde_json::Value;

/// What stands in the place of a secret.
pub(crate) const MASK: &str = "[secret]";

/// A text without the secrets in it, which servers echo; also where they are quoted as Rust does.
pub(crate) fn mask(text: &str, secrets: &[String]) -> String {
    let secrets = secrets.iter().filter(|secret| !secret.is_empty());
    let mut forms: Vec<String> = secrets
        .flat_map(|secret| [secret.clone(), secret.escape_debug().to_string()])
        .collect();
    // One may be a part of another.
    forms.sort_unstable_by_key(|form| std::cmp::Reverse(form.len()));
    let text = text.to_owned();
    forms
        .iter()
        .fold(text, |text, form| text.replace(form, MASK))
}

/// As [`mask`]; in a text that is JSON, within each of its texts, which may be escaped.
#[cfg(feature = "client")]
pub(crate) fn mask_json(text: &str, secrets: &[String]) -> String {
    if secrets.is_empty() {
        return text.to_owned();
    }
    match serde_json::from_str(text) {
        Ok(mut value) => {
            mask_texts(&mut value, secrets);
            value.to_string()
        }
        Err(_) => mask(text, secrets),
    }
}

#[cfg(feature = "client")]
fn mask_texts(value: &mut Value, secrets: &[String]) {
    match value {
        Value::Null | Value::Bool(_) => {}
        Value::Number(number) => {
            if secrets.contains(&number.to_string()) {
                *value = Value::from(MASK);
            }
        }
        Value::String(text) => *text = mask(text, secrets),
        Value::Array(elements) => elements
            .iter_mut()
            .for_each(|element| mask_texts(element, secrets)),
        Value::Object(members) => members
            .values_mut()
            .for_each(|member| mask_texts(member, secrets)),
    }
}

#[cfg(all(test, feature = "client"))]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_secret_that_comes_back_is_masked() {
        let secrets = [
            "a\"b".to_owned(),
            "a\"b\"c".to_owned(),
            "4321".to_owned(),
            String::new(),
        ];
        let echoed =
            json!([{"token": "a\"b", "n": 4321, "m": 43210, "t": "(a\"b\"c)"}]).to_string();
        assert_eq!(
            mask_json(&echoed, &secrets),
            r#"[{"token":"[secret]","n":"[secret]","m":43210,"t":"([secret])"}]"#
        );
        assert_eq!(mask_json("*/4321 rows", &secrets), "*/[secret] rows");
        assert_eq!(mask_json("[1, 2]", &[]), "[1, 2]");
    }
}
