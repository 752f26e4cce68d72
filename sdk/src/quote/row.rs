//! A row as JSON, and the columns that it sets: the keys of the object, noted while it is written.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::io::{self, Write};
use std::mem;
use std::ops::Range;
use std::sync::Arc;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use serde_json::ser::Formatter;
use serde_json::value::RawValue;

use super::json::write_to;

/// Writes rows as JSON, each into the place of the one before.
#[derive(Default)]
pub(crate) struct RowWriter {
    json: Vec<u8>,
    members: Vec<Member>,
    /// Those of the last row. Rows with the same columns share the list.
    columns: Arc<Vec<String>>,
}

/// A row as a JSON object.
pub(crate) struct Row<'a> {
    pub(crate) json: &'a [u8],
    /// The keys, in order. A row that leaves a key out (`skip_serializing_if`) and one that writes null
    /// are different: only the first keeps the stored value.
    pub(crate) columns: &'a Arc<Vec<String>>,
    members: &'a [Member],
}

impl RowWriter {
    /// Writes a row, which must serialize as an object.
    pub(crate) fn write(&mut self, row: &(impl Serialize + ?Sized)) -> serde_json::Result<Row<'_>> {
        self.note(row)?;
        let is_noted = self.json == b"{}" || !self.members.is_empty();
        if !(self.json.starts_with(b"{") && is_noted) {
            // JSON that was written before, or no object.
            let json = mem::take(&mut self.json);
            self.note(&serde_json::from_slice::<Members<'_>>(&json)?)?;
        }
        self.note_columns()?;
        Ok(Row {
            json: &self.json,
            columns: &self.columns,
            members: &self.members,
        })
    }

    /// Writes a row and notes its members, if it is an object.
    fn note(&mut self, row: &(impl Serialize + ?Sized)) -> serde_json::Result<()> {
        self.json.clear();
        self.members.clear();
        let written = Cell::new(0);
        let notes = Notes {
            written: &written,
            depth: 0,
            members: &mut self.members,
        };
        let out = Counted {
            out: &mut self.json,
            written: &written,
        };
        write_to(row, out, notes)
    }

    fn note_columns(&mut self) -> serde_json::Result<()> {
        let key = |member: &Member| self.json.get(member.key.clone()).unwrap_or_default();
        let is_key = |(member, column): (&Member, &String)| {
            let unquoted = key(member).strip_prefix(b"\"");
            unquoted.and_then(|text| text.strip_suffix(b"\"")) == Some(column.as_bytes())
        };
        let known = &self.columns;
        let is_known =
            known.len() == self.members.len() && self.members.iter().zip(known.iter()).all(is_key);
        if !is_known {
            let names = self.members.iter();
            let names = names.map(|member| serde_json::from_slice(key(member)));
            self.columns = Arc::new(names.collect::<Result<_, _>>()?);
        }
        Ok(())
    }
}

impl<'a> Row<'a> {
    /// The value of a column, as it is written.
    pub(crate) fn value(&self, column: &str) -> Option<&'a [u8]> {
        let position = self.columns.iter().position(|name| name == column)?;
        self.json.get(self.members.get(position)?.value.clone())
    }
}

/// The places of a member of an object: of its key, with the quotes, and of its value.
struct Member {
    key: Range<usize>,
    value: Range<usize>,
}

/// Notes where the members of the outermost object are.
struct Notes<'a> {
    written: &'a Cell<usize>,
    depth: usize,
    members: &'a mut Vec<Member>,
}

impl Notes<'_> {
    /// Notes something about the last member of the outermost object.
    fn note(&mut self, note: impl FnOnce(&mut Member, usize)) {
        if self.depth == 1
            && let Some(member) = self.members.last_mut()
        {
            note(member, self.written.get());
        }
    }
}

impl Formatter for Notes<'_> {
    fn begin_object<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth += 1;
        writer.write_all(b"{")
    }

    fn end_object<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        writer.write_all(b"}")
    }

    fn begin_object_key<W: Write + ?Sized>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if !first {
            writer.write_all(b",")?;
        }
        if self.depth == 1 {
            let at = self.written.get();
            self.members.push(Member {
                key: at..at,
                value: at..at,
            });
        }
        Ok(())
    }

    fn end_object_key<W: Write + ?Sized>(&mut self, _writer: &mut W) -> io::Result<()> {
        self.note(|member, at| member.key.end = at);
        Ok(())
    }

    fn begin_object_value<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b":")?;
        self.note(|member, at| member.value.start = at);
        Ok(())
    }

    fn end_object_value<W: Write + ?Sized>(&mut self, _writer: &mut W) -> io::Result<()> {
        self.note(|member, at| member.value.end = at);
        Ok(())
    }
}

/// Counts what it writes.
struct Counted<'a> {
    out: &'a mut Vec<u8>,
    written: &'a Cell<usize>,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.extend_from_slice(bytes);
        self.written.set(self.out.len());
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The members of an object, read from JSON, each with its value as it is written.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a key for each column")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut members = Vec::new();
        while let Some((Key(key), value)) = map.next_entry()? {
            members.push((key, value));
        }
        Ok(Members(members))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn keys(row: impl Serialize) -> serde_json::Result<Vec<String>> {
        let mut writer = RowWriter::default();
        let row = writer.write(&row)?;
        // What was noted is what is there.
        let members: Members<'_> = serde_json::from_slice(row.json)?;
        let names: Vec<&str> = members.0.iter().map(|(key, _)| key.as_ref()).collect();
        assert_eq!(row.columns.as_slice(), names);
        for (key, value) in &members.0 {
            assert_eq!(row.value(key), Some(value.get().as_bytes()));
        }
        Ok(row.columns.to_vec())
    }

    #[derive(Serialize)]
    struct Skipping {
        a: i32,
        #[serde(skip_serializing_if = "Option::is_none")]
        b: Option<i32>,
        c: Option<i32>,
    }

    #[test]
    fn a_skipped_key_is_absent_and_a_null_one_is_present() {
        let row = |b| Skipping { a: 1, b, c: None };
        assert_eq!(keys(row(None)).unwrap(), ["a", "c"]);
        assert_eq!(keys(row(Some(2))).unwrap(), ["a", "b", "c"]);
    }

    #[test]
    fn rows_with_the_same_columns_share_the_list() {
        let mut writer = RowWriter::default();
        let mut columns = |b| {
            let row = Skipping { a: 1, b, c: None };
            Arc::clone(writer.write(&row).unwrap().columns)
        };
        let (first, second, third) = (columns(None), columns(None), columns(Some(1)));
        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!(third.as_slice(), ["a", "b", "c"]);
    }

    #[test]
    fn maps_and_flattened_structs_have_keys_too() {
        #[derive(Serialize)]
        struct Row {
            #[serde(rename = "a\"é")]
            a: i32,
            #[serde(flatten)]
            rest: serde_json::Value,
        }
        let row = Row {
            a: 1,
            rest: json!({"b": [{"x": {"y": 1}}, {}], "c": {"b": {}}}),
        };
        assert_eq!(keys(row).unwrap(), ["a\"é", "b", "c"]);
        assert_eq!(keys(Some(&json!({"x": 1, "y": null}))).unwrap(), ["x", "y"]);
        assert_eq!(
            keys(std::collections::BTreeMap::from([(1, 2)])).unwrap(),
            ["1"]
        );
        assert!(keys(json!({})).unwrap().is_empty());
    }

    #[test]
    fn json_that_was_written_before_has_keys_and_keeps_its_digits() {
        let text = r#" { "a" : 1.50, "b\n": [{"x": 1}] }"#;
        let raw = RawValue::from_string(text.to_owned()).unwrap();
        assert_eq!(keys(&raw).unwrap(), ["a", "b\n"]);
        let mut writer = RowWriter::default();
        let row = writer.write(&raw).unwrap();
        assert_eq!(row.value("a"), Some(&b"1.50"[..]));
    }

    #[test]
    fn only_an_object_has_keys() {
        assert!(keys(1).is_err());
        assert!(keys([1]).is_err());
        assert!(keys([json!({"a": 1})]).is_err());
        assert!(keys(None::<()>).is_err());
    }
}
