//! Splitting the rows of a write into requests.

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::sync::Arc;

use http::Method;
use serde::Serialize;

use super::{ReturnedRows, WriteSpec};
use crate::error::{Error, RejectedRow};
use crate::quote::{self, Row, RowWriter};
use crate::request::{Call, Count, Resolution, Returning, Safety};

/// The rows of a write that are still to be sent.
pub(super) struct WritePlan<'a, R> {
    rows: &'a [R],
    /// The first row that has not been looked at.
    next_row: usize,
    /// This row and those behind it, as far as they have been written as JSON.
    written: VecDeque<WrittenRow>,
    writer: RowWriter,
    /// For each set of keys, the request that is being filled.
    open: Vec<Batch>,
    /// The position in `open`, by the sorted keys.
    by_keys: HashMap<Vec<String>, usize>,
    /// The position in `open` of the last row: the next one mostly has the same keys.
    last: usize,
    /// Requests that are sent before all others, such as halves of one that failed.
    first: VecDeque<Batch>,
    chunk_bytes: usize,
    one_request: bool,
    /// Whether requests must be sent one after another, each with the rows that follow the last one's,
    /// so that the later of two rows wins.
    pub(super) in_order: bool,
    /// Rows that cannot be written as a JSON object, as far as rows have been looked at.
    pub(super) failed: Vec<RejectedRow>,
    /// Rows that a later row with the same conflict key replaces, in order.
    pub(super) superseded: Vec<usize>,
    /// Those, and the rows that an earlier run settled. None of them is sent.
    skipped: Vec<usize>,
}

/// A row as JSON, with its keys.
struct WrittenRow {
    json: Box<[u8]>,
    columns: Arc<Vec<String>>,
}

/// The rows of one request. All have the same keys, unless the write is one request.
#[derive(Clone, Debug, Default)]
pub(super) struct Batch {
    /// Indexes into the rows of the write.
    pub(super) rows: Vec<usize>,
    columns: Arc<Vec<String>>,
    /// The rows as a JSON array without its closing bracket. Empty if it has to be written yet.
    json: Vec<u8>,
}

impl<'a, R: Serialize> WritePlan<'a, R> {
    /// Plans a write of all rows except those that are `settled` (indexes, in order).
    pub(super) fn new(spec: &WriteSpec<'a, R>, settled: &[usize]) -> Result<Self, Error> {
        let Duplicates {
            mut superseded,
            in_order,
            written,
        } = Duplicates::of(spec);
        superseded.retain(|index| settled.binary_search(index).is_err());
        let mut skipped = [settled, &superseded].concat();
        skipped.sort_unstable();
        let mut plan = Self {
            rows: spec.rows,
            next_row: 0,
            written,
            writer: RowWriter::default(),
            open: Vec::new(),
            by_keys: HashMap::new(),
            last: 0,
            first: VecDeque::new(),
            chunk_bytes: spec.chunk_bytes,
            one_request: spec.one_request,
            in_order: in_order && !spec.one_request,
            failed: Vec::new(),
            superseded,
            skipped,
        };
        if plan.one_request {
            let whole = plan.next(usize::MAX);
            plan.first.extend(whole);
            let merges = spec.upsert && spec.resolution == Resolution::Merge;
            if merges && plan.by_keys.len() > 1 {
                return Err(Error::invalid(
                    "an upsert in one request would overwrite the columns that a row leaves out; give all rows the same keys, or drop `all_or_nothing`",
                ));
            }
        }
        Ok(plan)
    }

    /// Returns the next request, of at most `max_rows` rows, until all rows have been returned.
    pub(super) fn next(&mut self, max_rows: usize) -> Option<Batch> {
        if let Some(batch) = self.first.pop_front() {
            return Some(self.encoded(batch));
        }
        let mut writer = mem::take(&mut self.writer);
        let full = self.fill(&mut writer, max_rows);
        self.writer = writer;
        if full.is_some() {
            return full;
        }
        let left = self.open.iter_mut().find(|batch| !batch.rows.is_empty())?;
        Some(left.take())
    }

    /// Adds rows to their requests until one is full.
    fn fill(&mut self, writer: &mut RowWriter, max_rows: usize) -> Option<Batch> {
        while let Some(row) = self.rows.get(self.next_row) {
            let index = self.next_row;
            self.next_row += 1;
            let written = self.written.pop_front();
            if self.skipped.binary_search(&index).is_ok() {
                continue;
            }
            let full = match written {
                Some(row) => self.add(index, &row.json, &row.columns, max_rows),
                None => match writer.write(row) {
                    Ok(row) => self.add(index, row.json, row.columns, max_rows),
                    Err(error) => {
                        self.fail(index, &error);
                        None
                    }
                },
            };
            if full.is_some() {
                return full;
            }
        }
        None
    }

    /// Splits a request in two, to be sent next.
    pub(super) fn halve(&mut self, batch: &Batch) {
        let (left, right) = batch.rows.split_at(batch.rows.len() / 2);
        for rows in [right, left] {
            self.first.push_front(Batch {
                rows: rows.to_vec(),
                columns: Arc::clone(&batch.columns),
                json: Vec::new(),
            });
        }
    }

    /// Takes back a request, to be sent later. If `probed`, its first and its last row are sent alone,
    /// before all others.
    pub(super) fn put_back(&mut self, batch: &Batch, probed: bool) {
        let part = |rows: &[usize]| Batch {
            rows: rows.to_vec(),
            columns: Arc::clone(&batch.columns),
            json: Vec::new(),
        };
        let [first, rest @ .., last] = batch.rows.as_slice() else {
            return;
        };
        if !probed {
            self.first.push_back(part(&batch.rows));
            return;
        }
        if !rest.is_empty() {
            self.first.push_front(part(rest));
        }
        self.first.push_front(part(&[*last]));
        self.first.push_front(part(&[*first]));
    }

    /// Adds a row to the request of its keys. Returns that request as it was if the row does not fit.
    fn add(
        &mut self,
        index: usize,
        json: &[u8],
        columns: &Arc<Vec<String>>,
        max_rows: usize,
    ) -> Option<Batch> {
        let before = self.last;
        let position = self.position(columns);
        self.last = position;
        if self.in_order && position != before {
            // Rows with other keys may have been there first.
            let earlier = self
                .open
                .get_mut(before)
                .filter(|batch| !batch.rows.is_empty());
            let earlier = earlier.map(Batch::take);
            if let Some(batch) = self.open.get_mut(position) {
                batch.push(index, json);
            }
            return earlier;
        }
        let batch = self.open.get_mut(position)?;
        let has_room = batch.rows.len() < max_rows.max(1)
            && batch.json.len() + json.len() + ",]".len() <= self.chunk_bytes;
        let is_full = !(batch.rows.is_empty() || has_room || self.one_request);
        let full = is_full.then(|| batch.take());
        batch.push(index, json);
        full
    }

    /// The position in `open` of the request for rows with these keys, in whatever order.
    fn position(&mut self, keys: &Arc<Vec<String>>) -> usize {
        let last = self.open.get(self.last);
        if last.is_some_and(|batch| Arc::ptr_eq(keys, &batch.columns) || *keys == batch.columns) {
            return self.last;
        }
        let mut sorted = keys.to_vec();
        sorted.sort_unstable();
        let next = self.by_keys.len();
        let position = *self.by_keys.entry(sorted).or_insert(next);
        if self.one_request && next > 0 {
            // One request lists the columns of all its rows.
            if let Some(columns) = self
                .open
                .first_mut()
                .map(|it| Arc::make_mut(&mut it.columns))
            {
                let new = keys.iter().filter(|key| !columns.contains(key)).cloned();
                let new: Vec<String> = new.collect();
                columns.extend(new);
            }
            return 0;
        }
        if position == next {
            self.open.push(Batch {
                columns: Arc::clone(keys),
                ..Batch::default()
            });
        }
        position
    }

    fn fail(&mut self, index: usize, error: &serde_json::Error) {
        self.failed.push(RejectedRow {
            index,
            error: unserializable(error),
        });
    }

    /// Writes the rows of a request, if that has not been done.
    fn encoded(&mut self, batch: Batch) -> Batch {
        if !batch.json.is_empty() {
            return batch;
        }
        let mut encoded = Batch {
            columns: batch.columns,
            ..Batch::default()
        };
        for index in batch.rows {
            match self.rows.get(index).map(quote::to_vec) {
                Some(Ok(json)) => encoded.push(index, &json),
                Some(Err(error)) => self.fail(index, &error),
                None => {}
            }
        }
        encoded
    }
}

impl Batch {
    fn push(&mut self, index: usize, json: &[u8]) {
        self.json
            .push(if self.rows.is_empty() { b'[' } else { b',' });
        self.json.extend_from_slice(json);
        self.rows.push(index);
    }

    /// Takes the rows out, and leaves a request for others with the same keys.
    fn take(&mut self) -> Self {
        Self {
            rows: mem::take(&mut self.rows),
            columns: Arc::clone(&self.columns),
            json: mem::take(&mut self.json),
        }
    }
}

impl<R: Serialize> WriteSpec<'_, R> {
    /// The request for a batch. It takes the rows' JSON.
    pub(super) fn call(&self, batch: &mut Batch) -> Result<Call, Error> {
        let query = self.query();
        let schema = self.schema.as_deref();
        let mut draft = query.draft(
            Method::POST,
            self.safety(batch),
            self.format.clone(),
            schema,
        )?;
        if !self.conflict.is_empty() {
            let conflict = quote::identifiers(&self.conflict);
            draft.params.push("on_conflict", conflict);
        }
        if !batch.columns.is_empty() {
            let columns = quote::identifiers(&batch.columns);
            draft.params.push("columns", columns);
        }
        draft.options.prefer.returning = Some(match self.returning {
            ReturnedRows::Nothing => Returning::Minimal,
            ReturnedRows::All | ReturnedRows::Columns(_) => Returning::Representation,
        });
        draft.options.prefer.resolution = self.upsert.then_some(self.resolution);
        draft.options.prefer.missing_default = self.one_request;
        draft.options.prefer.count = Some(Count::Exact);
        let mut json = mem::take(&mut batch.json);
        json.push(b']');
        draft.body = Some(json.into());
        draft.build()
    }

    pub(super) fn safety(&self, batch: &Batch) -> Safety {
        if self.is_idempotent(&batch.columns) {
            Safety::Idempotent
        } else {
            Safety::Write
        }
    }

    /// Whether a row may be sent again if its first request got no response.
    pub(super) fn may_repeat(&self, row: &R) -> bool {
        RowWriter::default()
            .write(row)
            .is_ok_and(|row| self.is_idempotent(row.columns))
    }

    /// An upsert ends in the same rows however often it runs, if its rows hold the values of the
    /// conflict columns. With a generated key, every run would add rows.
    fn is_idempotent(&self, keys: &[String]) -> bool {
        let conflict = self.conflict_columns();
        let has = |column: &&str| keys.iter().any(|key| key == column);
        self.upsert && !conflict.is_empty() && conflict.iter().all(has)
    }

    /// The columns that decide whether a row exists, as far as they are known.
    fn conflict_columns(&self) -> Vec<&str> {
        if self.conflict.is_empty() {
            let primary_key = self.endpoint.primary_key.iter();
            primary_key.map(|key| key.target.name.as_ref()).collect()
        } else {
            self.conflict.iter().map(String::as_str).collect()
        }
    }
}

/// What is done about rows of an upsert with the same conflict key, so that the later one wins.
#[derive(Default)]
struct Duplicates {
    /// The rows that a later row replaces, in order. They are not sent.
    superseded: Vec<usize>,
    /// Whether the requests must be sent in the order of the rows.
    in_order: bool,
    /// The first rows as JSON, as many as its requests hold at once.
    written: VecDeque<WrittenRow>,
}

impl Duplicates {
    fn of<R: Serialize>(spec: &WriteSpec<'_, R>) -> Self {
        let columns = spec.conflict_columns();
        let mut found = Self::default();
        if !spec.upsert || spec.rows.len() < 2 {
            return found;
        }
        if columns.is_empty() {
            found.in_order = true;
            return found;
        }
        let merges = spec.resolution == Resolution::Merge;
        let mut last: HashMap<Vec<u8>, (usize, Arc<Vec<String>>)> =
            HashMap::with_capacity(spec.rows.len());
        let mut writer = RowWriter::default();
        let mut room = spec.chunk_bytes.saturating_mul(spec.concurrency);
        for (index, row) in spec.rows.iter().enumerate() {
            // A row that cannot be serialized is reported when the requests are made.
            let Ok(row) = writer.write(row) else {
                room = 0;
                continue;
            };
            let earlier = conflict_key(&row, &columns)
                .and_then(|key| last.insert(key, (index, Arc::clone(row.columns))));
            if let Some((earlier, earlier_columns)) = earlier {
                // A column that only the earlier row has must be written too.
                let has = |column| row.columns.contains(column);
                if !merges || earlier_columns.iter().all(has) {
                    found.superseded.push(earlier);
                } else {
                    found.in_order = true;
                }
            }
            room = room.saturating_sub(row.json.len());
            if room > 0 {
                found.written.push_back(WrittenRow {
                    json: row.json.into(),
                    columns: Arc::clone(row.columns),
                });
            }
        }
        found.superseded.sort_unstable();
        found
    }
}

/// The values of a row in the conflict columns, as JSON. Nulls are distinct in SQL, so a row that lacks
/// a value has no such key.
fn conflict_key(row: &Row<'_>, columns: &[&str]) -> Option<Vec<u8>> {
    let mut key = Vec::new();
    for column in columns {
        let value = row.value(column).filter(|value| *value != b"null")?;
        key.extend_from_slice(value);
        key.push(b',');
    }
    Some(key)
}

fn unserializable(error: &serde_json::Error) -> Error {
    Error::invalid(format!(
        "the row cannot be written as a JSON object: {error}"
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::query::{CallDefaults, Endpoint};

    /// The bodies of the requests, of two rows or 60 bytes at most.
    fn bodies(rows: &[Value]) -> Vec<String> {
        let defaults = CallDefaults {
            chunk_bytes: 60,
            ..CallDefaults::default()
        };
        let spec = WriteSpec::new(rows, Endpoint::table("t"), false, &defaults);
        let mut plan = WritePlan::new(&spec, &[]).unwrap();
        let batches = std::iter::from_fn(|| plan.next(2));
        let bodies = batches.map(|mut batch| spec.call(&mut batch).unwrap().request.into_body());
        bodies
            .map(|body| String::from_utf8(body.to_vec()).unwrap())
            .collect()
    }

    #[test]
    fn rows_with_the_same_keys_share_requests_up_to_the_limits() {
        let long = "x".repeat(50);
        let rows = [
            json!({"a": 1}),
            json!({"b": 2}),
            json!({"a": 3}),
            json!({"a": 4, "b": 5}),
            json!({"a": long}),
            json!({"b": 6, "a": 7}),
            json!({}),
        ];
        let expected = [
            r#"[{"a":1},{"a":3}]"#.to_owned(),
            format!(r#"[{{"a":"{long}"}}]"#),
            r#"[{"b":2}]"#.to_owned(),
            r#"[{"a":4,"b":5},{"b":6,"a":7}]"#.to_owned(),
            "[{}]".to_owned(),
        ];
        assert_eq!(bodies(&rows), expected);
        assert!(bodies(&[]).is_empty());
    }
}
