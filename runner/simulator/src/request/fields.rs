//! The fields of a request, read one by one, so that an error names the field.

use serde_json::{Map, Value};

use crate::error_response::ErrorResponse;

/// The fields of a request's body. A null counts as absent.
#[derive(Debug)]
pub(crate) struct BodyFields(Map<String, Value>);

impl BodyFields {
    /// Reads a body that may have the known fields and no others. Spaces separate their names.
    pub(crate) fn read(body: &[u8], known: &str) -> Result<Self, ErrorResponse> {
        let mut fields: Map<String, Value> =
            serde_json::from_slice(body).map_err(|_| ErrorResponse::unparsable())?;
        fields.retain(|_, value| !value.is_null());
        match fields
            .keys()
            .find(|name| !known.split(' ').any(|known| known == *name))
        {
            Some(name) => Err(ErrorResponse::unknown_parameter(name)),
            None => Ok(Self(fields)),
        }
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    pub(crate) fn model(&mut self) -> Result<String, ErrorResponse> {
        let missing = || ErrorResponse::invalid("model", "A model must be given.");
        self.text("model")?.ok_or_else(missing)
    }

    pub(crate) fn text(&mut self, name: &'static str) -> Result<Option<String>, ErrorResponse> {
        self.typed(name, "a string", |value| value.as_str().map(str::to_owned))
    }

    pub(crate) fn integer(&mut self, name: &'static str) -> Result<Option<i64>, ErrorResponse> {
        self.typed(name, "an integer", Value::as_i64)
    }

    /// A count: an integer of at least one.
    pub(crate) fn count(&mut self, name: &'static str) -> Result<Option<usize>, ErrorResponse> {
        self.typed(name, "an integer of at least 1", |value| {
            let count = usize::try_from(value.as_u64()?).ok()?;
            (count > 0).then_some(count)
        })
    }

    pub(crate) fn number(&mut self, name: &'static str) -> Result<Option<f64>, ErrorResponse> {
        self.typed(name, "a number", Value::as_f64)
    }

    fn typed<T>(
        &mut self,
        name: &'static str,
        expected: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, ErrorResponse> {
        let wrong = || {
            let message = format!("Invalid type for '{name}': expected {expected}.");
            ErrorResponse::invalid(name, message).with_code("invalid_type")
        };
        let value = self.take(name);
        value
            .map(|value| read(&value).ok_or_else(wrong))
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_counts_as_absent_and_unknown_fields_are_refused() {
        let mut fields = BodyFields::read(br#"{"a":null,"b":"x","c":3}"#, "b c").unwrap();
        assert!(!fields.has("a") && fields.has("b"));
        assert_eq!(fields.text("b"), Ok(Some("x".to_owned())));
        assert_eq!(fields.count("c"), Ok(Some(3)));
        let unknown = BodyFields::read(br#"{"d":1}"#, "b").unwrap_err();
        assert_eq!(unknown.code, Some("unknown_parameter"));
        assert_eq!(
            BodyFields::read(b"[1]", "").unwrap_err(),
            ErrorResponse::unparsable()
        );
    }

    #[test]
    fn an_error_names_the_field_with_the_wrong_type() {
        let mut fields = BodyFields::read(br#"{"n":0,"s":1}"#, "n s").unwrap();
        assert_eq!(fields.count("n").unwrap_err().param, Some("n"));
        assert_eq!(fields.text("s").unwrap_err().code, Some("invalid_type"));
    }
}
