//! A row as JSON, and the columns that it sets: the keys of the object, noted while it is written.

use std::borrow::Cow;
use std::fmt;
use std::mem;
use std::ops::Range;
use std::ptr;
use std::sync::Arc;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::json::{text, write_noted};

/// The columns that a row sets, in the order of its keys.
pub(crate) type Columns = Arc<Vec<Cow<'static, str>>>;

/// Writes rows as JSON, each into the place of the one before.
#[derive(Default)]
pub(crate) struct RowWriter {
    json: Vec<u8>,
    notes: Notes,
}

/// A row as a JSON object.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a> {
    pub(crate) json: &'a [u8],
    /// The keys, in order. A row that leaves a key out (`skip_serializing_if`) and one that writes null
    /// are different: only the first keeps the stored value. Rows with the same columns, one after
    /// another, share the list.
    pub(crate) columns: &'a Columns,
    values: &'a [Range<usize>],
}

impl RowWriter {
    /// Writes a row, which must serialize as an object.
    pub(crate) fn write<R: Serialize + ?Sized>(&mut self, row: &R) -> serde_json::Result<Row<'_>> {
        self.note(row)?;
        let is_noted = !self.notes.values.is_empty() || self.json == b"{}";
        if !(is_noted && self.json.starts_with(b"{")) {
            // JSON that was written before, or no object.
            let json = mem::take(&mut self.json);
            self.note(&serde_json::from_slice::<Members<'_>>(&json)?)?;
        }
        self.notes.end();
        Ok(Row {
            json: &self.json,
            columns: &self.notes.columns,
            values: &self.notes.values,
        })
    }

    fn note<R: Serialize + ?Sized>(&mut self, row: &R) -> serde_json::Result<()> {
        self.json.clear();
        self.notes.begin();
        write_noted(row, &mut self.json, &mut self.notes)
    }
}

impl<'a> Row<'a> {
    /// The value of the column at this position, as it is written.
    pub(crate) fn value(&self, position: usize) -> Option<&'a [u8]> {
        self.json.get(self.values.get(position)?.clone())
    }
}

/// The members of an object, noted while it is written.
#[derive(Default)]
pub(super) struct Notes {
    /// The columns of the row before, until this one differs.
    columns: Columns,
    /// What is before each value of a row with `columns` (`"id":`, `,"text":`), one behind the other, and
    /// where each is.
    beginnings: Vec<u8>,
    places: Vec<Range<usize>>,
    /// How many members are as in `columns`. Those behind them are in `others`.
    same: usize,
    others: Vec<Cow<'static, str>>,
    values: Vec<Range<usize>>,
}

impl Notes {
    fn begin(&mut self) {
        self.same = 0;
        self.others.clear();
        self.values.clear();
    }

    /// Notes the name of a struct's field, and writes all that is before its value.
    pub(super) fn field(&mut self, name: &'static str, out: &mut Vec<u8>) {
        let place = self.places.get(self.same).cloned();
        // The names of one type are mostly in one place.
        if self.is_next(|column| ptr::eq(column, name) || column == name) {
            let beginning = place.and_then(|place| self.beginnings.get(place));
            out.extend_from_slice(beginning.unwrap_or_default());
        } else {
            begin_member(name, self.values.is_empty(), out);
            self.others.push(Cow::Borrowed(name));
        }
    }

    /// Notes a key as it was written.
    pub(super) fn key(&mut self, json: &[u8]) -> serde_json::Result<()> {
        let text = json.strip_prefix(b"\"");
        let text = text.and_then(|text| text.strip_suffix(b"\""));
        let is_same =
            |column: &str| text == Some(column.as_bytes()) && !column.contains(['\\', '"']);
        if !self.is_next(is_same) {
            self.others.push(Cow::Owned(serde_json::from_slice(json)?));
        }
        Ok(())
    }

    /// Notes the place of the last member's value.
    pub(super) fn value(&mut self, place: Range<usize>) {
        self.values.push(place);
    }

    fn is_next(&mut self, is_same: impl FnOnce(&str) -> bool) -> bool {
        let is_next = self.others.is_empty()
            && self
                .columns
                .get(self.same)
                .is_some_and(|column| is_same(column));
        self.same += usize::from(is_next);
        is_next
    }

    fn end(&mut self) {
        if self.same < self.columns.len() || !self.others.is_empty() {
            let same = self.columns.iter().take(self.same).cloned();
            self.columns = Arc::new(same.chain(mem::take(&mut self.others)).collect());
            self.beginnings.clear();
            self.places.clear();
            for column in self.columns.iter() {
                let start = self.beginnings.len();
                begin_member(column, start == 0, &mut self.beginnings);
                self.places.push(start..self.beginnings.len());
            }
        }
    }
}

/// Writes all that is before the value of a member.
fn begin_member(name: &str, is_first: bool, out: &mut Vec<u8>) {
    if !is_first {
        out.push(b',');
    }
    text(name.as_bytes(), out);
    out.push(b':');
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
        for (position, (_, value)) in members.0.iter().enumerate() {
            assert_eq!(row.value(position), Some(value.get().as_bytes()));
        }
        Ok(names.into_iter().map(str::to_owned).collect())
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
        assert_eq!(row.value(0), Some(&b"1.50"[..]));
    }

    #[test]
    fn a_key_is_compared_as_it_is_meant() {
        let mut writer = RowWriter::default();
        let mut columns = |key: &str| {
            let row = serde_json::Map::from_iter([(key.to_owned(), json!(1))]);
            writer.write(&row).unwrap().columns.to_vec()
        };
        // The second is written as the first is read.
        assert_eq!(columns("a\\n"), ["a\\n"]);
        assert_eq!(columns("a\n"), ["a\n"]);
    }

    #[derive(Serialize)]
    enum Kind {
        Named { a: i32 },
    }

    #[test]
    fn only_an_object_has_keys() {
        assert!(keys(1).is_err());
        assert!(keys([1]).is_err());
        assert!(keys([json!({"a": 1})]).is_err());
        assert!(keys(None::<()>).is_err());
        assert_eq!(keys(Kind::Named { a: 1 }).unwrap(), ["Named"]);
    }
}
