//! Ranges, as Postgres writes them.

use std::ops::Bound::{self, Excluded, Included, Unbounded};

use super::Value;

/// A Postgres range of `V`: the type of an `int4range`, `numrange`, `tstzrange` … column.
///
/// ```
/// use sluice_sdk::{schema::Range, col};
///
/// let filter = col("ages").typed::<Range<i32>>().overlaps(10..20);
/// assert_eq!(filter.to_string(), "ages=ov.[10,20)");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range<V> {
    /// The lower bound; `Unbounded` reaches down without end.
    pub lower: Bound<V>,
    /// The upper bound; `Unbounded` reaches up without end.
    pub upper: Bound<V>,
}

impl<V> From<std::ops::Range<V>> for Range<V> {
    fn from(range: std::ops::Range<V>) -> Self {
        Self {
            lower: Included(range.start),
            upper: Excluded(range.end),
        }
    }
}

impl<V> From<std::ops::RangeInclusive<V>> for Range<V> {
    fn from(range: std::ops::RangeInclusive<V>) -> Self {
        let (start, end) = range.into_inner();
        Self {
            lower: Included(start),
            upper: Included(end),
        }
    }
}

impl<V> From<std::ops::RangeFrom<V>> for Range<V> {
    fn from(range: std::ops::RangeFrom<V>) -> Self {
        Self {
            lower: Included(range.start),
            upper: Unbounded,
        }
    }
}

impl<V> From<std::ops::RangeTo<V>> for Range<V> {
    fn from(range: std::ops::RangeTo<V>) -> Self {
        Self {
            lower: Unbounded,
            upper: Excluded(range.end),
        }
    }
}

impl<V> From<std::ops::RangeToInclusive<V>> for Range<V> {
    fn from(range: std::ops::RangeToInclusive<V>) -> Self {
        Self {
            lower: Unbounded,
            upper: Included(range.end),
        }
    }
}

/// Bounds are quoted like elements of an array. An absent bound is not, because `""` is a text.
impl<V: Value> Value for Range<V> {
    fn write(&self, out: &mut String) {
        let is_included = |bound: &Bound<V>| matches!(bound, Included(_));
        out.push(if is_included(&self.lower) { '[' } else { '(' });
        if let Included(value) | Excluded(value) = &self.lower {
            value.write_element(out);
        }
        out.push(',');
        if let Included(value) | Excluded(value) = &self.upper {
            value.write_element(out);
        }
        out.push(if is_included(&self.upper) { ']' } else { ')' });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_leaves_an_absent_bound_empty_and_quotes_what_needs_it() {
        let text = |range: Range<i32>| {
            let mut out = String::new();
            range.write(&mut out);
            out
        };
        assert_eq!(text((1..=2).into()), "[1,2]");
        assert_eq!(text((1..).into()), "[1,)");
        assert_eq!(text((..3).into()), "(,3)");
        let mut out = String::new();
        Range::from("a,b".."c)").write(&mut out);
        assert_eq!(out, r#"["a,b","c)")"#);
    }
}
