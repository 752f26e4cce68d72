//! What an update sets: columns with their new values, from a struct or one by one.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;

use crate::error::Error;
use crate::quote::RowWriter;
use crate::schema::Target;

/// The columns of an update with their new values.
#[derive(Clone, Default)]
pub(crate) struct Patch {
    pub(super) columns: Vec<Cow<'static, str>>,
    /// The members of a JSON object, without its braces.
    members: Vec<u8>,
    is_set: bool,
}

impl Patch {
    /// Adds the columns that `patch` serializes.
    pub(super) fn with_members(mut self, patch: &(impl Serialize + ?Sized)) -> Result<Self, Error> {
        let mut writer = RowWriter::default();
        let object = writer.write(patch).map_err(unwritable)?;
        for column in object.columns.iter() {
            self.add(column.clone())?;
        }
        let members = object
            .json
            .strip_prefix(b"{")
            .and_then(|rest| rest.strip_suffix(b"}"))
            .unwrap_or_default();
        if !self.members.is_empty() && !members.is_empty() {
            self.members.push(b',');
        }
        self.members.extend_from_slice(members);
        self.is_set = true;
        Ok(self)
    }

    /// Adds a column.
    pub(super) fn with(
        mut self,
        target: &Target,
        value: serde_json::Result<Vec<u8>>,
    ) -> Result<Self, Error> {
        if !target.path.is_empty() {
            return Err(unsettable(&target.to_string()));
        }
        self.add(target.name.clone())?;
        if !self.members.is_empty() {
            self.members.push(b',');
        }
        self.members
            .extend(serde_json::to_vec(&target.name).map_err(unwritable)?);
        self.members.push(b':');
        self.members.extend(value.map_err(unwritable)?);
        self.is_set = true;
        Ok(self)
    }

    /// Whether nothing was said about what to set.
    pub(super) fn is_unset(&self) -> bool {
        !self.is_set
    }

    fn add(&mut self, column: Cow<'static, str>) -> Result<(), Error> {
        if self.columns.contains(&column) {
            return Err(unsettable(&column));
        }
        self.columns.push(column);
        Ok(())
    }

    pub(super) fn body(&self) -> Bytes {
        [b"{", self.members.as_slice(), b"}"].concat().into()
    }
}

fn unsettable(column: &str) -> Error {
    Error::invalid(format!(
        "`{column}` cannot be set: set a whole column, and each column once"
    ))
}

fn unwritable(error: serde_json::Error) -> Error {
    Error::invalid(format!("the new values cannot be written as JSON: {error}")).with_source(error)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::col;

    fn with(patch: Patch, column: &'static str, value: &serde_json::Value) -> Result<Patch, Error> {
        patch.with(&col(column).target(), serde_json::to_vec(value))
    }

    #[test]
    fn columns_come_from_a_struct_and_one_by_one() {
        let patch = Patch::default().with_members(&json!({"a": 1})).unwrap();
        let patch = with(patch, "q\"b", &json!(null)).unwrap();
        assert_eq!(patch.columns, ["a", "q\"b"]);
        assert_eq!(patch.body(), r#"{"a":1,"q\"b":null}"#);
        let patch = with(Patch::default(), "a", &json!("x")).unwrap();
        assert_eq!(patch.body(), r#"{"a":"x"}"#);
        assert_eq!(Patch::default().body(), "{}");
    }

    #[test]
    fn a_column_is_set_whole_and_once() {
        let patch = with(Patch::default(), "a", &json!(1)).unwrap();
        assert!(with(patch.clone(), "a", &json!(2)).is_err());
        assert!(patch.with_members(&json!({"a": 2})).is_err());
        let member = col("a").key("b").target();
        let value = serde_json::to_vec(&1);
        assert!(Patch::default().with(&member, value).is_err());
        assert!(Patch::default().with_members(&[1]).is_err());
    }
}
