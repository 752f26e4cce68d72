//! Cutting the rows of a write into requests.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;
use http::Method;
use serde::Serialize;

use super::{Back, Job, keys, keys_of};
use crate::error::{Error, RowFailure};
use crate::quote;
use crate::request::{Call, Count, Missing, Resolution, Returning, Safety};

/// The rows of a write that are still to be sent, by the keys they have.
pub(super) struct Plan<'a, R> {
    rows: &'a [R],
    shapes: Vec<Shape>,
    /// Pieces of requests that were halved, the next one first.
    split: VecDeque<Piece>,
    chunk_bytes: usize,
    one_request: bool,
    /// Rows that are not objects, or cannot be written as JSON.
    pub(super) failed: Vec<RowFailure>,
    /// Rows that a later row of the same conflict key replaces.
    pub(super) superseded: Vec<usize>,
}

/// Rows with the same set of keys.
struct Shape {
    keys: Vec<Cow<'static, str>>,
    rows: Vec<usize>,
    /// How many of them have been cut into pieces.
    taken: usize,
}

/// The rows of one request: a part of one shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    shape: usize,
    part: Range<usize>,
    body: Bytes,
}

impl<'a, R: Serialize> Plan<'a, R> {
    /// Plans a write of all rows but those that are `settled` (indexes, in order).
    pub(super) fn new(job: &Job<'a, R>, settled: &[usize]) -> Result<Self, Error> {
        let mut plan = Self {
            rows: job.rows,
            shapes: Vec::new(),
            split: VecDeque::new(),
            chunk_bytes: job.chunk_bytes,
            one_request: job.one_request,
            failed: Vec::new(),
            superseded: Vec::new(),
        };
        if job.dedupe {
            plan.superseded = plan.superseded_by(&job.conflict)?;
            plan.superseded
                .retain(|index| settled.binary_search(index).is_err());
        }
        let mut skipped = [settled, &plan.superseded].concat();
        skipped.sort_unstable();
        plan.group(&skipped);
        if plan.one_request && plan.shapes.len() > 1 {
            plan.unite(job)?;
        }
        Ok(plan)
    }

    /// The next request, of at most `max_rows` rows; `None` when all rows have been cut.
    pub(super) fn next(&mut self, max_rows: usize) -> Option<Piece> {
        loop {
            if let Some(mut piece) = self.split.pop_front() {
                if piece.body.is_empty() {
                    piece = self.encode(piece.shape, piece.part, usize::MAX)?;
                }
                return Some(piece);
            }
            let shape = self
                .shapes
                .iter()
                .position(|shape| shape.taken < shape.rows.len())?;
            let left = self.shapes.get(shape)?;
            let max_rows = if self.one_request {
                usize::MAX
            } else {
                max_rows.max(1)
            };
            let max_bytes = if self.one_request {
                usize::MAX
            } else {
                self.chunk_bytes
            };
            let part = left.taken..left.rows.len().min(left.taken.saturating_add(max_rows));
            let piece = self.encode(shape, part, max_bytes)?;
            self.shapes.get_mut(shape)?.taken = piece.part.end;
            if !piece.part.is_empty() {
                return Some(piece);
            }
        }
    }

    /// Cuts a request in two, to be sent next.
    pub(super) fn halve(&mut self, piece: &Piece) {
        let middle = piece.part.start + piece.part.len() / 2;
        let half = |part| Piece {
            shape: piece.shape,
            part,
            body: Bytes::new(),
        };
        self.split.push_front(half(middle..piece.part.end));
        self.split.push_front(half(piece.part.start..middle));
    }

    /// The indexes of the rows in a piece.
    pub(super) fn indexes(&self, piece: &Piece) -> &[usize] {
        let rows = self
            .shapes
            .get(piece.shape)
            .map(|shape| shape.rows.as_slice());
        rows.and_then(|rows| rows.get(piece.part.clone()))
            .unwrap_or_default()
    }

    fn keys(&self, piece: &Piece) -> &[Cow<'static, str>] {
        self.shapes
            .get(piece.shape)
            .map(|shape| shape.keys.as_slice())
            .unwrap_or_default()
    }

    /// Writes rows as a JSON array, as many as fit into `max_bytes` and at least one.
    ///
    /// A row that cannot be written is put aside; its place in the shape is taken out, so that a
    /// part of a shape never holds it.
    fn encode(&mut self, shape: usize, part: Range<usize>, max_bytes: usize) -> Option<Piece> {
        let mut body = Vec::with_capacity(self.chunk_bytes.min(64 * 1024));
        body.push(b'[');
        let (start, mut end) = (part.start, part.start);
        let mut limit = part.end;
        while end < limit {
            let index = *self.shapes.get(shape)?.rows.get(end)?;
            let before = body.len();
            if end > start {
                body.push(b',');
            }
            if let Err(error) = serde_json::to_writer(&mut body, self.rows.get(index)?) {
                body.truncate(before);
                self.failed.push(RowFailure {
                    index,
                    error: unserializable(&error),
                });
                self.shapes.get_mut(shape)?.rows.remove(end);
                limit -= 1;
                continue;
            }
            if end > start && body.len() >= max_bytes {
                body.truncate(before);
                break;
            }
            end += 1;
        }
        body.push(b']');
        Some(Piece {
            shape,
            part: start..end,
            body: body.into(),
        })
    }

    /// Groups rows by their keys. Neighbours mostly share theirs, so the last shape is tried first.
    fn group(&mut self, skipped: &[usize]) {
        let mut skipped = skipped.iter().peekable();
        let mut by_keys: HashMap<Vec<Cow<'static, str>>, usize> = HashMap::new();
        let mut found = Vec::new();
        let mut last = None;
        for (index, row) in self.rows.iter().enumerate() {
            if skipped.next_if_eq(&&index).is_some() {
                continue;
            }
            if let Err(error) = keys::collect(row, &mut found) {
                self.failed.push(RowFailure {
                    index,
                    error: unserializable(&error),
                });
                continue;
            }
            let same = last.filter(|&shape: &usize| {
                self.shapes
                    .get(shape)
                    .is_some_and(|shape| shape.keys == found)
            });
            let shape = same.unwrap_or_else(|| {
                let mut sorted = found.clone();
                sorted.sort_unstable();
                *by_keys.entry(sorted).or_insert_with(|| {
                    let keys = found.clone();
                    self.shapes.push(Shape {
                        keys,
                        rows: Vec::new(),
                        taken: 0,
                    });
                    self.shapes.len() - 1
                })
            });
            if let Some(shape) = self.shapes.get_mut(shape) {
                shape.rows.push(index);
            }
            last = Some(shape);
        }
    }

    /// The rows whose values of `columns` come again later, in order.
    fn superseded_by(&self, columns: &[String]) -> Result<Vec<usize>, Error> {
        if columns.is_empty() {
            return Err(Error::invalid(
                "`dedupe` needs the columns of `on_conflict` to compare",
            ));
        }
        let mut last: HashMap<String, usize> = HashMap::new();
        let mut superseded = Vec::new();
        for (index, row) in self.rows.iter().enumerate() {
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

    /// Makes one shape of all, for an insert whose missing keys get their defaults.
    fn unite(&mut self, job: &Job<'a, R>) -> Result<(), Error> {
        if job.upsert && job.resolution == Resolution::Merge {
            return Err(Error::invalid(
                "rows with different keys cannot be upserted in one request without overwriting what the missing ones hold; give them the same keys, or drop `all_or_nothing`",
            ));
        }
        let mut all = Shape {
            keys: Vec::new(),
            rows: Vec::new(),
            taken: 0,
        };
        for shape in self.shapes.drain(..) {
            all.rows.extend(shape.rows);
            for key in shape.keys {
                if !all.keys.contains(&key) {
                    all.keys.push(key);
                }
            }
        }
        all.rows.sort_unstable();
        self.shapes.push(all);
        Ok(())
    }
}

impl<R: Serialize> Job<'_, R> {
    /// The request for one piece.
    pub(super) fn call(&self, plan: &Plan<'_, R>, piece: &Piece) -> Result<Call, Error> {
        let query = self.query();
        let schema = self.schema.as_deref();
        let safety = self.safety(plan, piece);
        let mut draft = query.draft(Method::POST, safety, self.format, schema)?;
        if !self.conflict.is_empty() {
            draft.push_param("on_conflict", &quote::identifiers(&self.conflict));
        }
        let keys = plan.keys(piece);
        if !keys.is_empty() {
            draft.push_param("columns", &quote::identifiers(keys));
        }
        draft.prefer.returning = Some(match self.returning {
            Back::Nothing => Returning::Minimal,
            Back::All | Back::Columns(_) => Returning::Representation,
        });
        draft.prefer.resolution = self.upsert.then_some(self.resolution);
        draft.prefer.missing = self.one_request.then_some(Missing::Default);
        draft.prefer.count = Some(Count::Exact);
        draft.body = Some(piece.body.clone());
        draft.build()
    }

    pub(super) fn safety(&self, plan: &Plan<'_, R>, piece: &Piece) -> Safety {
        if self.is_idempotent(plan.keys(piece)) {
            Safety::Idempotent
        } else {
            Safety::Write
        }
    }

    /// Whether a row whose first request was never answered may be sent again.
    pub(super) fn may_repeat(&self, row: &R) -> bool {
        keys_of(row).is_ok_and(|keys| self.is_idempotent(&keys))
    }

    /// An upsert ends in the same rows however often it runs, as long as its rows say the values
    /// that tell whether they are there; with a generated key, every run would add rows.
    fn is_idempotent(&self, keys: &[Cow<'static, str>]) -> bool {
        let primary_key = self.place.primary_key.iter();
        let conflict: Vec<&str> = if self.conflict.is_empty() {
            primary_key.map(|key| key.target.name.as_ref()).collect()
        } else {
            self.conflict.iter().map(String::as_str).collect()
        };
        let is_said = |column: &&str| keys.iter().any(|key| key == column);
        self.upsert && !conflict.is_empty() && conflict.iter().all(is_said)
    }
}

fn unserializable(error: &(impl std::error::Error + ?Sized)) -> Error {
    Error::invalid(format!(
        "the row cannot be written as a JSON object: {error}"
    ))
}
