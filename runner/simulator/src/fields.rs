//! The fields of a request, read one by one so that each can be refused by name.

use serde_json::{Map, Value};

use super::refusal::Refusal;

/// The fields of a request's body. Null counts as not given.
#[derive(Debug)]
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    /// Reads a body that may have the known fields and no others.
    pub(super) fn read(body: &[u8], known: &[&str]) -> Result<Self, Refusal> {
        let mut fields: Map<String, Value> =
            serde_json::from_slice(body).map_err(|_| Refusal::unparsable())?;
        fields.retain(|_, value| !value.is_null());
        match fields.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => {
                let message = format!("Unrecognized request argument supplied: {name}");
                Err(Refusal {
                    param: None,
                    ..Refusal::invalid("", message)
                }
                .with_code("unknown_parameter"))
            }
            None => Ok(Self(fields)),
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<String>, Refusal> {
        self.typed(name, "a string", |value| value.as_str().map(str::to_owned))
    }

    pub(super) fn integer(&mut self, name: &'static str) -> Result<Option<i64>, Refusal> {
        self.typed(name, "an integer", Value::as_i64)
    }

    /// A count: an integer of at least one.
    pub(super) fn count(&mut self, name: &'static str) -> Result<Option<usize>, Refusal> {
        self.typed(name, "an integer of at least 1", |value| {
            value
                .as_u64()
                .and_then(|count| usize::try_from(count).ok())
                .filter(|&count| count > 0)
        })
    }

    pub(super) fn number(&mut self, name: &'static str) -> Result<Option<f64>, Refusal> {
        self.typed(name, "a number", Value::as_f64)
    }

    fn typed<T>(
        &mut self,
        name: &'static str,
        expected: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, Refusal> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let typed = read(&value).ok_or_else(|| {
            let message = format!("Invalid type for '{name}': expected {expected}.");
            Refusal::invalid(name, message).with_code("invalid_type")
        })?;
        Ok(Some(typed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_not_given_and_strangers_are_refused() {
        let mut fields = Fields::read(br#"{"a":null,"b":"x","c":3}"#, &["b", "c"]).unwrap();
        assert!(!fields.has("a") && fields.has("b"));
        assert_eq!(fields.text("b"), Ok(Some("x".to_owned())));
        assert_eq!(fields.count("c"), Ok(Some(3)));
        let stranger = Fields::read(br#"{"d":1}"#, &["b"]).unwrap_err();
        assert_eq!(stranger.code, Some("unknown_parameter"));
        assert_eq!(
            Fields::read(b"[1]", &[]).unwrap_err(),
            Refusal::unparsable()
        );
    }

    #[test]
    fn a_wrong_type_is_refused_by_name() {
        let mut fields = Fields::read(br#"{"n":0,"s":1}"#, &["n", "s"]).unwrap();
        assert_eq!(fields.count("n").unwrap_err().param, Some("n"));
        assert_eq!(fields.text("s").unwrap_err().code, Some("invalid_type"));
    }
}
