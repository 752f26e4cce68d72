//! Which rows of an upsert share a conflict key.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

use crate::quote::{Columns, Row};

/// The values of rows in the conflict columns, as JSON.
pub(super) struct ConflictKeys<'a> {
    columns: Vec<&'a str>,
    /// The keys of all rows, one behind the other.
    text: Vec<u8>,
    rows: Vec<RowKey>,
    layouts: Vec<Layout>,
}

struct RowKey {
    /// The end of the key in `text`. It begins where the key before ends. It is empty if the row has
    /// none.
    end: usize,
    /// The position in `layouts`.
    layout: usize,
}

/// The columns of rows that follow each other.
struct Layout {
    columns: Columns,
    /// Where the conflict columns are among them, or `None` if one is not.
    places: Option<Vec<usize>>,
}

impl<'a> ConflictKeys<'a> {
    pub(super) fn of(columns: Vec<&'a str>) -> Self {
        Self {
            columns,
            text: Vec::new(),
            rows: Vec::new(),
            layouts: Vec::new(),
        }
    }

    /// Adds the key of the next row. A row that cannot be serialized has none.
    pub(super) fn add(&mut self, row: Option<&Row<'_>>) {
        if let Some(row) = row {
            self.enter(row.columns);
            let start = self.text.len();
            if self.write(row).is_none() {
                self.text.truncate(start);
            }
        }
        self.rows.push(RowKey {
            end: self.text.len(),
            layout: self.layouts.len().saturating_sub(1),
        });
    }

    /// The rows that a later row replaces, in order, and whether requests must be sent in the order of
    /// the rows, because an earlier row with the same key must be written too.
    pub(super) fn duplicates(&self, merges: bool) -> (Vec<usize>, bool) {
        let (mut superseded, mut in_order) = (Vec::new(), false);
        let mut last: HashMap<&[u8], (usize, usize), _> =
            HashMap::with_capacity_and_hasher(self.rows.len(), Seed::random());
        let mut start = 0;
        for (index, row) in self.rows.iter().enumerate() {
            let key = self.text.get(start..row.end).unwrap_or_default();
            start = row.end;
            if key.is_empty() {
                continue;
            }
            if let Some((earlier, layout)) = last.insert(key, (index, row.layout)) {
                // A column that only the earlier row has must be written too.
                if !merges || self.covers(row.layout, layout) {
                    superseded.push(earlier);
                } else {
                    in_order = true;
                }
            }
        }
        superseded.sort_unstable();
        (superseded, in_order)
    }

    fn enter(&mut self, columns: &Columns) {
        let is_last = |layout: &Layout| Arc::ptr_eq(&layout.columns, columns);
        if self.layouts.last().is_some_and(is_last) {
            return;
        }
        let place = |name: &&str| columns.iter().position(|column| column == name);
        self.layouts.push(Layout {
            columns: Arc::clone(columns),
            places: self.columns.iter().map(place).collect(),
        });
    }

    /// Writes the key of a row. Nulls are distinct in SQL, so a row that lacks a value has no key.
    fn write(&mut self, row: &Row<'_>) -> Option<()> {
        for &place in self.layouts.last()?.places.as_ref()? {
            let value = row.value(place).filter(|value| *value != b"null")?;
            self.text.extend_from_slice(value);
            self.text.push(b',');
        }
        Some(())
    }

    /// Whether rows with the layout `of` set all columns that those with `other` set.
    fn covers(&self, of: usize, other: usize) -> bool {
        let columns = |layout| {
            self.layouts
                .get(layout)
                .map(|it: &Layout| it.columns.as_slice())
        };
        let (of, other) = (
            columns(of).unwrap_or_default(),
            columns(other).unwrap_or_default(),
        );
        other.iter().all(|column| of.contains(column))
    }
}

/// Makes hashers of keys. It is random, so that nobody can choose keys with the same hash.
struct Seed {
    start: u64,
    factor: u64,
}

impl Seed {
    fn random() -> Self {
        let random = RandomState::new();
        Self {
            start: random.hash_one(0_u8),
            factor: random.hash_one(1_u8) | 1,
        }
    }
}

impl BuildHasher for Seed {
    type Hasher = KeyHasher;

    fn build_hasher(&self) -> KeyHasher {
        KeyHasher {
            state: self.start,
            factor: self.factor,
        }
    }
}

/// Hashes eight bytes by one multiplication. Keys are short, so this is cheaper than the hasher of the
/// standard library.
struct KeyHasher {
    state: u64,
    factor: u64,
}

impl KeyHasher {
    fn mix(&mut self, word: u64) {
        let product = u128::from(self.state ^ word) * u128::from(self.factor);
        let halves = [product >> 64, product & u128::from(u64::MAX)];
        let [high, low] = halves.map(|half| u64::try_from(half).unwrap_or_default());
        self.state = high ^ low;
    }
}

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        let last = rest
            .iter()
            .fold(0, |word, &byte| word << 8 | u64::from(byte));
        self.mix(last);
    }

    fn write_usize(&mut self, length: usize) {
        self.mix(length as u64);
    }

    fn finish(&self) -> u64 {
        self.state
    }
}
