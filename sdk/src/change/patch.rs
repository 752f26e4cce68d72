//! What an update sets: columns with their new values, from a struct or one by one.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::Serialize;

use crate::error::Error;
use crate::schema::Target;
use crate::secret::Payload;
use crate::write::keys_of;

/// The columns of an update with their new values.
#[derive(Clone, Debug, Default)]
pub(crate) struct Patch {
    pub(super) columns: Vec<Cow<'static, str>>,
    members: Members,
    /// The members without what is secret of them, where anything is.
    masked: Option<Members>,
    secrets: Vec<String>,
}

/// The members of a JSON object, without its braces.
#[derive(Clone, Default)]
struct Members(Vec<u8>);

impl Patch {
    /// The columns that `patch` serializes.
    pub(crate) fn of(patch: &(impl Serialize + ?Sized)) -> Result<Self, Error> {
        let columns = keys_of(patch).map_err(|error| {
            Error::invalid(format!(
                "the new values must serialize as an object: {error}"
            ))
        })?;
        let body = Payload::of(patch).map_err(unwritable)?;
        Ok(Self {
            columns,
            members: Members::of(&body.bytes),
            masked: body.masked.as_deref().map(Members::of),
            secrets: body.secrets,
        })
    }

    /// These columns and one more.
    pub(super) fn with(
        mut self,
        target: Target,
        value: serde_json::Result<Payload>,
    ) -> Result<Self, Error> {
        if !target.path.is_empty() || self.columns.contains(&target.name) {
            return Err(Error::invalid(format!(
                "`{target}` cannot be set: a column is set whole, and once"
            )));
        }
        let name = serde_json::to_vec(&target.name).map_err(unwritable)?;
        let value = value.map_err(unwritable)?;
        if value.masked.is_some() && self.masked.is_none() {
            self.masked = Some(self.members.clone());
        }
        if let Some(masked) = &mut self.masked {
            masked.push(&name, value.masked.as_ref().unwrap_or(&value.bytes));
        }
        self.members.push(&name, &value.bytes);
        self.secrets.extend(value.secrets);
        self.columns.push(target.name);
        Ok(self)
    }

    pub(super) fn body(&self) -> Payload {
        Payload {
            bytes: self.members.object(),
            masked: self.masked.as_ref().map(Members::object),
            secrets: self.secrets.clone(),
        }
    }
}

impl Members {
    fn of(object: &[u8]) -> Self {
        let members = object
            .strip_prefix(b"{")
            .and_then(|it| it.strip_suffix(b"}"));
        Self(members.unwrap_or_default().to_vec())
    }

    fn push(&mut self, name: &[u8], value: &[u8]) {
        if !self.0.is_empty() {
            self.0.push(b',');
        }
        self.0.extend_from_slice(name);
        self.0.push(b':');
        self.0.extend_from_slice(value);
    }

    fn object(&self) -> Bytes {
        [b"{", self.0.as_slice(), b"}"].concat().into()
    }
}

/// Its values are nobody's business.
impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Members").field(&self.0.len()).finish()
    }
}

fn unwritable(error: serde_json::Error) -> Error {
    Error::invalid(format!("the new values cannot be written as JSON: {error}")).with_source(error)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::col;
    use crate::value::Secret;

    fn with(patch: Patch, column: &'static str, value: &serde_json::Value) -> Result<Patch, Error> {
        patch.with(col(column).target(), Payload::of(value))
    }

    #[test]
    fn columns_come_from_a_struct_and_one_by_one() {
        let patch = Patch::of(&json!({"a": 1})).unwrap();
        let patch = with(patch, "q\"b", &json!(null)).unwrap();
        assert_eq!(patch.columns, ["a", "q\"b"]);
        assert_eq!(patch.body().bytes, r#"{"a":1,"q\"b":null}"#);
        let patch = with(Patch::default(), "a", &json!("x")).unwrap();
        assert_eq!(patch.body().bytes, r#"{"a":"x"}"#);
        assert_eq!(Patch::default().body().bytes, "{}");
    }

    #[test]
    fn a_secret_among_them_is_sent_and_not_shown() {
        let plain = with(Patch::default(), "a", &json!(1)).unwrap();
        let token = Payload::of(&Secret("s3cret"));
        let patch = plain.with(col("token").target(), token).unwrap();
        let body = with(patch, "b", &json!(2)).unwrap().body();
        assert_eq!(body.bytes, r#"{"a":1,"token":"s3cret","b":2}"#);
        let masked = body.masked.unwrap();
        assert_eq!(masked, r#"{"a":1,"token":"[secret]","b":2}"#);
        assert_eq!(body.secrets, ["s3cret"]);
    }

    #[test]
    fn a_column_is_set_whole_and_once() {
        let patch = with(Patch::default(), "a", &json!(1)).unwrap();
        assert!(with(patch, "a", &json!(2)).is_err());
        let member = col("a").key("b").target();
        let value = Payload::of(&1);
        assert!(Patch::default().with(member, value).is_err());
        assert!(Patch::of(&[1]).is_err());
    }
}
