//! Which rows a response holds, and how many there are.

use http::{HeaderMap, header};

/// The `Content-Range` header: `0-24/573`, `0-24/*`, `*/0` or `*/*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ContentRange {
    pub(crate) rows: Option<(u64, u64)>,
    pub(crate) total: Option<u64>,
}

impl ContentRange {
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        Self::parse(headers.get(header::CONTENT_RANGE)?.to_str().ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let (rows, total) = text.split_once('/')?;
        let rows = if rows == "*" {
            None
        } else {
            let (first, last) = rows.split_once('-')?;
            Some((first.parse().ok()?, last.parse().ok()?))
        };
        let total = if total == "*" {
            None
        } else {
            Some(total.parse().ok()?)
        };
        Some(Self { rows, total })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_range_is_read_in_all_its_forms() {
        let parse = |text| ContentRange::parse(text).unwrap();
        assert_eq!(
            parse("0-24/573"),
            ContentRange {
                rows: Some((0, 24)),
                total: Some(573)
            }
        );
        assert_eq!(
            parse("0-24/*"),
            ContentRange {
                rows: Some((0, 24)),
                total: None
            }
        );
        assert_eq!(
            parse("*/0"),
            ContentRange {
                rows: None,
                total: Some(0)
            }
        );
        assert_eq!(
            parse("*/*"),
            ContentRange {
                rows: None,
                total: None
            }
        );
        assert_eq!(ContentRange::parse("items 0-1"), None);
    }
}
