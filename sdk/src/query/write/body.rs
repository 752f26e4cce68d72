//! The body of a request, as rows are written into it.

use bytes::Bytes;
use serde::Serialize;

use super::key_group::{KeyGroup, Unwritten};

/// A JSON array of rows, up to a number of rows and of bytes.
pub(super) struct BodyWriter {
    bytes: Vec<u8>,
    rows: usize,
    max_rows: usize,
    max_bytes: usize,
}

/// What is set aside for a body before its rows are known.
const MOST_RESERVED_BYTES: usize = 1024 * 1024;

impl BodyWriter {
    pub(super) fn new(max_rows: usize, max_bytes: usize) -> Self {
        Self {
            bytes: Vec::new(),
            rows: 0,
            max_rows,
            max_bytes,
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn is_full(&self) -> bool {
        self.rows >= self.max_rows
    }

    /// Adds a row whose keys are those of a shape; false where it does not fit, which a first row
    /// always does.
    pub(super) fn add_like<R: Serialize>(
        &mut self,
        shape: &KeyGroup,
        row: &R,
    ) -> Result<bool, Unwritten> {
        self.add_with(|out| shape.write(row, out))
    }

    /// As [`add_like`](Self::add_like), whatever the row's keys.
    pub(super) fn add<R: Serialize>(&mut self, row: &R) -> Result<bool, Unwritten> {
        self.add_with(|out| serde_json::to_writer(out, row).map_err(Unwritten::Failed))
    }

    fn add_with(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), Unwritten>,
    ) -> Result<bool, Unwritten> {
        let before = self.bytes.len();
        self.bytes.push(if before == 0 { b'[' } else { b',' });
        let result = write(&mut self.bytes);
        let fits = before == 0 || self.bytes.len() < self.max_bytes;
        if result.is_err() || !fits {
            self.bytes.truncate(before);
            return result.map(|()| fits);
        }
        self.rows += 1;
        if before == 0 {
            // Rows of one kind are about as long as the first, so the body is mostly grown once.
            let expected = self.bytes.len().saturating_mul(self.max_rows);
            self.bytes.reserve(expected.min(MOST_RESERVED_BYTES));
        }
        Ok(true)
    }

    pub(super) fn finish(mut self) -> Bytes {
        if self.rows == 0 {
            self.bytes.push(b'[');
        }
        self.bytes.push(b']');
        self.bytes.into()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_row_that_does_not_fit_or_fails_leaves_nothing_behind() {
        let mut body = BodyWriter::new(9, 8);
        assert!(body.add(&"longer than eight").unwrap());
        assert!(!body.add(&1).unwrap());
        let unwritable = BTreeMap::from([(vec![1], 2)]);
        assert!(body.add(&unwritable).is_err());
        assert_eq!(body.finish(), r#"["longer than eight"]"#);

        let mut body = BodyWriter::new(2, 100);
        assert!(body.add(&unwritable).is_err());
        assert!(body.add(&1).unwrap() && body.add(&2).unwrap() && body.is_full());
        assert_eq!(body.finish(), "[1,2]");
        assert_eq!(BodyWriter::new(2, 100).finish(), "[]");
    }
}
