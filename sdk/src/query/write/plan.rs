//! Splitting the rows of a write into requests.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::mem;
use std::sync::Arc;

use http::Method;
use serde::Serialize;

use super::conflict::ConflictKeys;
use super::spec::{ReturnedRows, WriteSpec};
use crate::error::{Error, RejectedRow};
use crate::quote::{self, Columns, Row, RowWriter};
use crate::request::{Call, Count, Resolution, Returning, Safety};

/// The rows of a write that are still to be sent.
pub(super) struct WritePlan<'a, R> {
    rows: &'a [R],
    /// The first row that has not been looked at.
    next_row: usize,
    writer: RowWriter,
    /// For each set of keys, the request that is being filled.
    open: Vec<Batch>,
    /// The position in `open`, by the sorted keys.
    by_keys: HashMap<Vec<Cow<'static, str>>, usize>,
    /// The position in `open` of the last row: the next one mostly has the same keys.
    last: usize,
    /// Requests that are sent before all others, such as halves of one that failed.
    first: VecDeque<Batch>,
    /// Requests that were filled while the keys of all rows were compared.
    ready: VecDeque<Batch>,
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

/// The rows of one request. All have the same keys, unless the write is one request.
#[derive(Clone, Debug, Default)]
pub(super) struct Batch {
    /// Indexes into the rows of the write.
    pub(super) rows: Vec<usize>,
    columns: Columns,
    /// The rows as a JSON array without its closing bracket. Empty if it has to be written yet.
    json: Vec<u8>,
}

impl<'a, R: Serialize> WritePlan<'a, R> {
    /// Plans a write of all rows except those that are `settled` (indexes, in order).
    pub(super) fn new(spec: &WriteSpec<'a, R>, settled: &[usize]) -> Result<Self, Error> {
        let mut plan = Self {
            rows: spec.rows,
            next_row: 0,
            writer: RowWriter::default(),
            open: Vec::new(),
            by_keys: HashMap::new(),
            last: 0,
            first: VecDeque::new(),
            ready: VecDeque::new(),
            chunk_bytes: spec.chunk_bytes,
            one_request: spec.one_request,
            in_order: false,
            failed: Vec::new(),
            superseded: Vec::new(),
            skipped: settled.to_vec(),
        };
        if spec.upsert && spec.rows.len() > 1 {
            plan.compare(spec);
        }
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

    /// Compares the conflict keys of all rows, so that the later of two rows wins. The first requests
    /// are filled on the way, as many bytes as are in flight at once.
    fn compare(&mut self, spec: &WriteSpec<'a, R>) {
        let columns = spec.conflict_columns();
        if columns.is_empty() {
            self.in_order = !self.one_request;
            return;
        }
        let mut keys = ConflictKeys::of(columns);
        let mut writer = mem::take(&mut self.writer);
        let mut room = spec.chunk_bytes.saturating_mul(spec.concurrency);
        for (index, row) in spec.rows.iter().enumerate() {
            let written = writer.write(row);
            keys.add(written.as_ref().ok());
            if room > 0 {
                self.next_row += 1;
                let full = self.take_in(index, written, spec.chunk_rows);
                if let Some(full) = full {
                    room = room.saturating_sub(full.json.len());
                    self.ready.push_back(full);
                }
            }
        }
        self.writer = writer;
        let (superseded, in_order) = keys.duplicates(spec.resolution == Resolution::Merge);
        if superseded.is_empty() && !in_order {
            return;
        }
        // Requests without the rows that are not sent, and in the right order.
        self.next_row = 0;
        self.last = 0;
        self.open.clear();
        self.by_keys.clear();
        self.ready.clear();
        self.failed.clear();
        self.in_order = in_order && !self.one_request;
        self.superseded = superseded;
        let skipped = &mut self.skipped;
        self.superseded
            .retain(|index| skipped.binary_search(index).is_err());
        skipped.extend(&self.superseded);
        skipped.sort_unstable();
    }

    /// Returns the next request, of at most `max_rows` rows, until all rows have been returned.
    pub(super) fn next(&mut self, max_rows: usize) -> Option<Batch> {
        if let Some(batch) = self.first.pop_front() {
            return Some(self.encoded(batch));
        }
        if let Some(ready) = self.ready.pop_front() {
            return Some(self.limited(ready, max_rows));
        }
        let mut writer = mem::take(&mut self.writer);
        let full = self.fill(&mut writer, max_rows);
        self.writer = writer;
        if full.is_some() {
            return full;
        }
        let left = self.open.iter_mut().find(|batch| !batch.rows.is_empty())?;
        let left = left.take();
        Some(self.limited(left, max_rows))
    }

    /// The first rows of a request that was filled before the limit fell. The others are sent next.
    fn limited(&mut self, batch: Batch, max_rows: usize) -> Batch {
        let mut parts = batch.rows.chunks(max_rows.max(1));
        match parts.next() {
            Some(first) if first.len() < batch.rows.len() => {
                self.first.extend(parts.map(|rows| batch.part(rows)));
                self.encoded(batch.part(first))
            }
            _ => batch,
        }
    }

    /// Adds rows to their requests until one is full.
    fn fill(&mut self, writer: &mut RowWriter, max_rows: usize) -> Option<Batch> {
        while let Some(row) = self.rows.get(self.next_row) {
            let index = self.next_row;
            self.next_row += 1;
            let full = self.take_in(index, writer.write(row), max_rows);
            if full.is_some() {
                return full;
            }
        }
        None
    }

    /// Adds a row to its request, unless it must not be sent. Returns a request that is full.
    fn take_in(
        &mut self,
        index: usize,
        row: serde_json::Result<Row<'_>>,
        max_rows: usize,
    ) -> Option<Batch> {
        if self.skipped.binary_search(&index).is_ok() {
            return None;
        }
        match row {
            Ok(row) => self.add(index, row, max_rows),
            Err(error) => {
                self.fail(index, &error);
                None
            }
        }
    }

    /// Splits a request in two, to be sent next.
    pub(super) fn halve(&mut self, batch: &Batch) {
        let (left, right) = batch.rows.split_at(batch.rows.len() / 2);
        for rows in [right, left] {
            self.first.push_front(batch.part(rows));
        }
    }

    /// Takes back a request, to be sent later. If `probed`, its first and its last row are sent alone,
    /// before all others.
    pub(super) fn put_back(&mut self, batch: &Batch, probed: bool) {
        let [first, rest @ .., last] = batch.rows.as_slice() else {
            return;
        };
        if !probed {
            self.first.push_back(batch.part(&batch.rows));
            return;
        }
        if !rest.is_empty() {
            self.first.push_front(batch.part(rest));
        }
        self.first.push_front(batch.part(&[*last]));
        self.first.push_front(batch.part(&[*first]));
    }

    /// Adds a row to the request of its keys. Returns that request as it was if the row does not fit.
    fn add(&mut self, index: usize, row: Row<'_>, max_rows: usize) -> Option<Batch> {
        let before = self.last;
        let position = self.position(row.columns);
        self.last = position;
        if self.in_order && position != before {
            // Rows with other keys may have been there first.
            let earlier = self
                .open
                .get_mut(before)
                .filter(|batch| !batch.rows.is_empty());
            let earlier = earlier.map(Batch::take);
            if let Some(batch) = self.open.get_mut(position) {
                batch.push(index, row.json);
            }
            return earlier;
        }
        let is_only = self.open.len() == 1;
        let batch = self.open.get_mut(position)?;
        let has_room = batch.rows.len() < max_rows.max(1)
            && batch.json.len() + row.json.len() + ",]".len() <= self.chunk_bytes;
        let is_full = !(batch.rows.is_empty() || has_room || self.one_request);
        let full = is_full.then(|| batch.take());
        if batch.rows.is_empty() && is_only {
            // The rows that follow are mostly as long, or a little longer.
            let rows = max_rows.min(self.rows.len() - index);
            let bytes = rows.saturating_mul(row.json.len() + row.json.len() / 8 + 2);
            batch.json.reserve(bytes.min(self.chunk_bytes));
        }
        batch.push(index, row.json);
        full
    }

    /// The position in `open` of the request for rows with these keys, in whatever order.
    fn position(&mut self, keys: &Columns) -> usize {
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
                let new: Vec<_> = new.collect();
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

    /// A request for some of these rows, which have to be written again.
    fn part(&self, rows: &[usize]) -> Self {
        Self {
            rows: rows.to_vec(),
            columns: Arc::clone(&self.columns),
            json: Vec::new(),
        }
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
    fn is_idempotent(&self, keys: &[Cow<'static, str>]) -> bool {
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

fn unserializable(error: &serde_json::Error) -> Error {
    Error::invalid(format!(
        "the row cannot be written as a JSON object: {error}"
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
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

    /// A row with an id of a few, or without one, and with some columns.
    fn row() -> impl Strategy<Value = Value> {
        (0..6_u8, 0..4_u8, any::<u8>()).prop_map(|(id, shape, number)| {
            let mut row = json!({"id": (id > 0).then_some(id)});
            for (bit, column) in [(1, "a"), (2, "b")] {
                if shape & bit != 0 {
                    row[column] = number.into();
                }
            }
            row
        })
    }

    proptest! {
        #[test]
        fn of_two_rows_with_one_key_the_later_is_sent_last(
            rows in prop::collection::vec(row(), 0..30),
            (chunk_rows, chunk_bytes, later_rows) in (1..8_usize, 20..200_usize, 1..8_usize),
        ) {
            let defaults = CallDefaults { chunk_bytes, chunk_rows, concurrency: 2, ..CallDefaults::default() };
            let mut spec = WriteSpec::new(&rows, Endpoint::table("t"), true, &defaults);
            spec.conflict = vec!["id".to_owned()];
            let mut plan = WritePlan::new(&spec, &[]).unwrap();
            let first = plan.next(chunk_rows);
            // As if the first request had been too large.
            let later_rows = later_rows.min(chunk_rows);
            let rest = std::iter::from_fn(|| plan.next(later_rows));
            let mut sent = Vec::new();
            for (number, batch) in first.into_iter().chain(rest).enumerate() {
                let limit = if number == 0 { chunk_rows } else { later_rows };
                prop_assert!(batch.rows.len() <= limit);
                let json: Vec<Value> = serde_json::from_slice(&[&batch.json, &b"]"[..]].concat()).unwrap();
                let wanted: Vec<&Value> = batch.rows.iter().map(|&index| &rows[index]).collect();
                prop_assert_eq!(json.iter().collect::<Vec<_>>(), wanted);
                sent.extend(batch.rows);
            }
            let sets_all = |of: &Value, other: &Value| {
                other.as_object().unwrap().keys().all(|key| of.get(key).is_some())
            };
            for (index, row) in rows.iter().enumerate() {
                let place = sent.iter().position(|&it| it == index);
                prop_assert_eq!(place.is_none(), plan.superseded.contains(&index));
                let same_key = |later: &&usize| !row["id"].is_null() && rows[**later]["id"] == row["id"];
                let later: Vec<usize> = (index + 1..rows.len()).collect();
                let next = later.iter().find(same_key).copied();
                let replaced = next.is_some_and(|next| sets_all(&rows[next], row));
                prop_assert_eq!(replaced, place.is_none());
                let next_place = next.and_then(|next| sent.iter().position(|&it| it == next));
                prop_assert!(place.is_none() || next_place.is_none() || (place < next_place && plan.in_order));
            }
        }
    }
}
