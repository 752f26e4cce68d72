//! Cutting the rows of a write into requests.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;
use http::Method;
use serde::Serialize;

use super::body::BodyWriter;
use super::key_group::{KeyGroup, Unwritten};
use super::keys::keys;
use super::{ReturnedRows, WriteSpec};
use crate::error::{Error, RejectedRow};
use crate::quote;
use crate::request::{Call, Count, Missing, Resolution, Returning, Safety};

/// The rows of a write that are still to be sent, by the keys they have.
pub(super) struct WritePlan<'a, R> {
    rows: &'a [R],
    /// How many rows have been looked at: written as one of the first shape, or put to another.
    seen: usize,
    shapes: Vec<KeyGroup>,
    by_keys: HashMap<Vec<Cow<'static, str>>, usize>,
    /// Pieces of requests that were halved, the next one first.
    split: VecDeque<Batch>,
    chunk_bytes: usize,
    one_request: bool,
    /// Rows that are not objects, or cannot be written as JSON, as far as they have been looked at.
    pub(super) failed: Vec<RejectedRow>,
    /// Rows that a later row of the same conflict key replaces, in order.
    pub(super) superseded: Vec<usize>,
    /// Those, and the rows that are settled: none of them is sent.
    skipped: Vec<usize>,
}

/// The rows of one request: a part of one shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Batch {
    shape: usize,
    part: Range<usize>,
    body: Bytes,
}

impl<'a, R: Serialize> WritePlan<'a, R> {
    /// Plans a write of all rows but those that are `settled` (indexes, in order).
    pub(super) fn new(spec: &WriteSpec<'a, R>, settled: &[usize]) -> Result<Self, Error> {
        let mut superseded = if spec.dedupe {
            superseded(spec.rows, &spec.conflict)?
        } else {
            Vec::new()
        };
        superseded.retain(|index| settled.binary_search(index).is_err());
        let mut skipped = [settled, &superseded].concat();
        skipped.sort_unstable();
        let mut plan = Self {
            rows: spec.rows,
            seen: 0,
            shapes: Vec::new(),
            by_keys: HashMap::new(),
            split: VecDeque::new(),
            chunk_bytes: spec.chunk_bytes,
            one_request: spec.one_request,
            failed: Vec::new(),
            superseded,
            skipped,
        };
        if plan.one_request
            && let Some(whole) = plan.next(usize::MAX)
        {
            match plan.shapes.len() {
                1 => plan.split.push_front(whole),
                _ => plan.unite(spec)?,
            }
        }
        Ok(plan)
    }

    /// The next request, of at most `max_rows` rows; `None` when all rows have been cut.
    pub(super) fn next(&mut self, max_rows: usize) -> Option<Batch> {
        if let Some(mut batch) = self.split.pop_front() {
            if batch.body.is_empty() {
                batch = self.encode(batch.shape, batch.part, usize::MAX)?;
            }
            return Some(batch);
        }
        let (max_rows, max_bytes) = if self.one_request {
            (usize::MAX, usize::MAX)
        } else {
            (max_rows.max(1), self.chunk_bytes)
        };
        if let Some(batch) = self.of_first_shape(max_rows, max_bytes) {
            return Some(batch);
        }
        loop {
            let is_left = |shape: &KeyGroup| shape.taken < shape.rows.len();
            let shape = self.shapes.iter().position(is_left)?;
            let left = self.shapes.get(shape)?;
            let part = left.taken..left.rows.len().min(left.taken.saturating_add(max_rows));
            let batch = self.encode(shape, part, max_bytes)?;
            self.shapes.get_mut(shape)?.taken = batch.part.end;
            if !batch.part.is_empty() {
                return Some(batch);
            }
        }
    }

    /// Cuts a request in two, to be sent next.
    pub(super) fn halve(&mut self, batch: &Batch) {
        let middle = batch.part.start + batch.part.len() / 2;
        let half = |part| Batch {
            shape: batch.shape,
            part,
            body: Bytes::new(),
        };
        self.split.push_front(half(middle..batch.part.end));
        self.split.push_front(half(batch.part.start..middle));
    }

    /// The indexes of the rows in a batch.
    pub(super) fn indexes(&self, batch: &Batch) -> &[usize] {
        let rows = self
            .shapes
            .get(batch.shape)
            .map(|shape| shape.rows.as_slice());
        rows.and_then(|rows| rows.get(batch.part.clone()))
            .unwrap_or_default()
    }

    fn names(&self, batch: &Batch) -> &[Cow<'static, str>] {
        self.shapes
            .get(batch.shape)
            .map(KeyGroup::names)
            .unwrap_or_default()
    }

    fn is_skipped(&self, index: usize) -> bool {
        self.skipped.binary_search(&index).is_ok()
    }

    /// Goes on through the rows and writes those of the first shape, until a request is full or
    /// all rows have been seen. Mostly there is no other shape, and each row is gone through once;
    /// rows of other shapes are put by, to be written when all are known.
    fn of_first_shape(&mut self, max_rows: usize, max_bytes: usize) -> Option<Batch> {
        let start = self.shapes.first().map_or(0, |shape| shape.rows.len());
        let mut body = BodyWriter::new(max_rows.min(self.rows.len() - self.seen), max_bytes);
        while !body.is_full()
            && let Some(row) = self.rows.get(self.seen)
        {
            if !self.is_skipped(self.seen) {
                match self.add_of_first_shape(row, &mut body) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => self.failed.push(RejectedRow {
                        index: self.seen,
                        error,
                    }),
                }
            }
            self.seen += 1;
        }
        if body.rows() == 0 {
            return None;
        }
        let part = start..start + body.rows();
        self.shapes.first_mut()?.taken = part.end;
        Some(Batch {
            shape: 0,
            part,
            body: body.finish(),
        })
    }

    /// Adds the next row to a request of the first shape, or puts it to its own shape; false where
    /// the request has no room for it.
    fn add_of_first_shape(&mut self, row: &R, body: &mut BodyWriter) -> Result<bool, Error> {
        let first = self.shapes.first();
        let mut added = first.map_or(Err(Unwritten::Differs), |first| body.add_like(first, row));
        if let Err(Unwritten::Differs) = added {
            let shape = self.shape_of(keys(row).map_err(|error| unserializable(&error))?);
            if shape > 0
                && let Some(other) = self.shapes.get_mut(shape)
            {
                other.rows.push(self.seen);
                return Ok(true);
            }
            added = body.add(row);
        }
        let has_room = added.map_err(|error| unserializable(&error))?;
        if has_room && let Some(first) = self.shapes.first_mut() {
            first.rows.push(self.seen);
        }
        Ok(has_room)
    }

    /// The shape that has these keys, in whatever order.
    fn shape_of(&mut self, keys: Vec<Cow<'static, str>>) -> usize {
        let mut sorted = keys.clone();
        sorted.sort_unstable();
        let next = self.shapes.len();
        let shape = *self.by_keys.entry(sorted).or_insert(next);
        if shape == next {
            self.shapes.push(KeyGroup::new(keys));
        }
        shape
    }

    /// Writes rows of a shape as many as fit into `max_bytes` and at least one.
    ///
    /// A row that cannot be written is put aside; its place in the shape is taken out, so that a
    /// part of a shape never holds it.
    fn encode(&mut self, shape: usize, part: Range<usize>, max_bytes: usize) -> Option<Batch> {
        let mut body = BodyWriter::new(part.len(), max_bytes);
        let mut limit = part.end;
        let like = self.shapes.get_mut(shape)?;
        while part.start + body.rows() < limit {
            let position = part.start + body.rows();
            let index = *like.rows.get(position)?;
            let row = self.rows.get(index)?;
            let added = match body.add_like(like, row) {
                Err(Unwritten::Differs) => body.add(row),
                added => added,
            };
            match added {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    self.failed.push(RejectedRow {
                        index,
                        error: unserializable(&error),
                    });
                    like.rows.remove(position);
                    limit -= 1;
                }
            }
        }
        Some(Batch {
            shape,
            part: part.start..part.start + body.rows(),
            body: body.finish(),
        })
    }

    /// Makes one shape of all, for an insert whose missing keys get their defaults.
    fn unite(&mut self, spec: &WriteSpec<'a, R>) -> Result<(), Error> {
        if spec.upsert && spec.resolution == Resolution::Merge {
            return Err(Error::invalid(
                "rows with different keys cannot be upserted in one request without overwriting what the missing ones hold; give them the same keys, or drop `all_or_nothing`",
            ));
        }
        let mut keys: Vec<Cow<'static, str>> = Vec::new();
        let mut rows = Vec::new();
        for shape in self.shapes.drain(..) {
            for key in shape.names() {
                if !keys.contains(key) {
                    keys.push(key.clone());
                }
            }
            rows.extend(shape.rows);
        }
        rows.sort_unstable();
        let mut all = KeyGroup::new(keys);
        all.rows = rows;
        self.shapes.push(all);
        Ok(())
    }
}

impl<R: Serialize> WriteSpec<'_, R> {
    /// The request for one batch.
    pub(super) fn call(&self, plan: &WritePlan<'_, R>, batch: &Batch) -> Result<Call, Error> {
        let query = self.query();
        let schema = self.schema.as_deref();
        let safety = self.safety(plan, batch);
        let mut draft = query.draft(Method::POST, safety, self.format, schema)?;
        if !self.conflict.is_empty() {
            draft
                .params
                .push("on_conflict", &quote::identifiers(&self.conflict));
        }
        let names = plan.names(batch);
        if !names.is_empty() {
            draft.params.push("columns", &quote::identifiers(names));
        }
        draft.prefer.returning = Some(match self.returning {
            ReturnedRows::Nothing => Returning::Minimal,
            ReturnedRows::All | ReturnedRows::Columns(_) => Returning::Representation,
        });
        draft.prefer.resolution = self.upsert.then_some(self.resolution);
        draft.prefer.missing = self.one_request.then_some(Missing::Default);
        draft.prefer.count = Some(Count::Exact);
        draft.body = Some(batch.body.clone());
        draft.build()
    }

    pub(super) fn safety(&self, plan: &WritePlan<'_, R>, batch: &Batch) -> Safety {
        if self.is_idempotent(plan.names(batch)) {
            Safety::Idempotent
        } else {
            Safety::Write
        }
    }

    /// Whether a row whose first request was never answered may be sent again.
    pub(super) fn may_repeat(&self, row: &R) -> bool {
        keys(row).is_ok_and(|keys| self.is_idempotent(&keys))
    }

    /// An upsert ends in the same rows however often it runs, as long as its rows say the values
    /// that tell whether they are there; with a generated key, every run would add rows.
    fn is_idempotent(&self, keys: &[Cow<'static, str>]) -> bool {
        let primary_key = self.endpoint.primary_key.iter();
        let conflict: Vec<&str> = if self.conflict.is_empty() {
            primary_key.map(|key| key.target.name.as_ref()).collect()
        } else {
            self.conflict.iter().map(String::as_str).collect()
        };
        let is_said = |column: &&str| keys.iter().any(|key| key == column);
        self.upsert && !conflict.is_empty() && conflict.iter().all(is_said)
    }
}

/// The rows whose values of `columns` come again later, in order.
fn superseded(rows: &[impl Serialize], columns: &[String]) -> Result<Vec<usize>, Error> {
    if columns.is_empty() {
        return Err(Error::invalid(
            "`dedupe` needs the columns of `on_conflict` to compare",
        ));
    }
    let mut last: HashMap<String, usize> = HashMap::new();
    let mut superseded = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        // A row that cannot be written is reported when the rows are grouped.
        let Ok(value) = serde_json::to_value(row) else {
            continue;
        };
        let key: Vec<_> = columns.iter().map(|column| value.get(column)).collect();
        // Nulls are distinct, so rows that lack a value never conflict.
        if key
            .iter()
            .any(|value| value.is_none_or(serde_json::Value::is_null))
        {
            continue;
        }
        if let Some(earlier) = last.insert(format!("{key:?}"), index) {
            superseded.push(earlier);
        }
    }
    superseded.sort_unstable();
    Ok(superseded)
}

fn unserializable(error: &(impl std::error::Error + ?Sized)) -> Error {
    Error::invalid(format!(
        "the row cannot be written as a JSON object: {error}"
    ))
}
