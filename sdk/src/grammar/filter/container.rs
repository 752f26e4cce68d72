//! Containment of arrays, ranges and JSON, and the relative position of ranges.

use super::{Filter, Operator};
use crate::schema::{ArrayLike, Column, Operand, RangeLike};

/// Containment of arrays, ranges and JSON.
///
/// PostgREST reference: "Operators" (`cs`, `cd`, `ov`), "Array Columns".
impl<T, V, N> Column<T, V, N> {
    /// Holds every element of `value` (`cs`, `@>`).
    ///
    /// ```
    /// use sluice_sdk::{serde_json::json, col};
    ///
    /// assert_eq!(col("tags").contains(["a b", "c"]).to_string(), r#"tags=cs.{"a b","c"}"#);
    /// assert_eq!(col("meta").contains(json!({"n": 1})).to_string(), r#"meta=cs.{"n":1}"#);
    /// ```
    ///
    /// SQL: `where tags @> '{"a b","c"}'`.
    pub fn contains(self, value: impl Operand<V, T>) -> Filter<T>
    where
        V: ArrayLike<T>,
    {
        self.scalar(Operator::Contains, value.into_scalar())
    }

    /// Is held by `value` (`cd`, `<@`).
    ///
    /// ```
    /// # use sluice_sdk::col;
    /// assert_eq!(col("tags").contained_by(["a", "b"]).to_string(), r#"tags=cd.{"a","b"}"#);
    /// ```
    ///
    /// SQL: `where tags <@ '{"a","b"}'`.
    pub fn contained_by(self, value: impl Operand<V, T>) -> Filter<T>
    where
        V: ArrayLike<T>,
    {
        self.scalar(Operator::ContainedBy, value.into_scalar())
    }

    /// Has an element in common with `value` (`ov`, `&&`): arrays and ranges only.
    ///
    /// ```
    /// # use sluice_sdk::col;
    /// assert_eq!(col("tags").overlaps(["a", "b"]).to_string(), r#"tags=ov.{"a","b"}"#);
    /// ```
    ///
    /// SQL: `where tags && '{"a","b"}'`.
    pub fn overlaps(self, value: impl Operand<V, T>) -> Filter<T>
    where
        V: ArrayLike<T>,
    {
        self.scalar(Operator::Overlaps, value.into_scalar())
    }
}

/// The position of a range relative to another.
///
/// PostgREST reference: "Operators" (`sl`, `sr`, `nxr`, `nxl`, `adj`).
impl<T, V, N> Column<T, V, N> {
    /// Lies wholly before `range` (`sl`, `<<`).
    ///
    /// ```
    /// # use sluice_sdk::{col, schema::Range}; let floors = col("floors").typed::<Range<i32>>();
    /// assert_eq!(floors.strictly_left_of(1..3).to_string(), "floors=sl.[1,3)");
    /// ```
    ///
    /// SQL: `where floors << '[1,3)'`.
    pub fn strictly_left_of(self, range: impl Operand<V, T>) -> Filter<T>
    where
        V: RangeLike<T>,
    {
        self.scalar(Operator::StrictlyLeft, range.into_scalar())
    }

    /// Lies wholly after `range` (`sr`, `>>`).
    ///
    /// ```
    /// # use sluice_sdk::{col, schema::Range}; let floors = col("floors").typed::<Range<i32>>();
    /// assert_eq!(floors.strictly_right_of(1..3).to_string(), "floors=sr.[1,3)");
    /// ```
    ///
    /// SQL: `where floors >> '[1,3)'`.
    pub fn strictly_right_of(self, range: impl Operand<V, T>) -> Filter<T>
    where
        V: RangeLike<T>,
    {
        self.scalar(Operator::StrictlyRight, range.into_scalar())
    }

    /// Does not reach beyond the upper end of `range` (`nxr`, `&<`).
    ///
    /// ```
    /// # use sluice_sdk::{col, schema::Range}; let floors = col("floors").typed::<Range<i32>>();
    /// assert_eq!(floors.not_right_of(1..3).to_string(), "floors=nxr.[1,3)");
    /// ```
    ///
    /// SQL: `where floors &< '[1,3)'`.
    pub fn not_right_of(self, range: impl Operand<V, T>) -> Filter<T>
    where
        V: RangeLike<T>,
    {
        self.scalar(Operator::NotRight, range.into_scalar())
    }

    /// Does not reach below the lower end of `range` (`nxl`, `&>`).
    ///
    /// ```
    /// # use sluice_sdk::{col, schema::Range}; let floors = col("floors").typed::<Range<i32>>();
    /// assert_eq!(floors.not_left_of(1..3).to_string(), "floors=nxl.[1,3)");
    /// ```
    ///
    /// SQL: `where floors &> '[1,3)'`.
    pub fn not_left_of(self, range: impl Operand<V, T>) -> Filter<T>
    where
        V: RangeLike<T>,
    {
        self.scalar(Operator::NotLeft, range.into_scalar())
    }

    /// Ends where `range` begins, or begins where it ends (`adj`, `-|-`).
    ///
    /// ```
    /// # use sluice_sdk::{col, schema::Range}; let floors = col("floors").typed::<Range<i32>>();
    /// assert_eq!(floors.adjacent_to(1..3).to_string(), "floors=adj.[1,3)");
    /// ```
    ///
    /// SQL: `where floors -|- '[1,3)'`.
    pub fn adjacent_to(self, range: impl Operand<V, T>) -> Filter<T>
    where
        V: RangeLike<T>,
    {
        self.scalar(Operator::Adjacent, range.into_scalar())
    }
}

#[cfg(test)]
mod tests {
    use crate::schema::{Any, Column, Nullable, Range, col};

    #[test]
    fn each_method_writes_its_operator() {
        let range = || -> Column<Any, Range<i32>, Nullable> { col("r").typed() };
        let texts = || -> Column<Any, Vec<String>, Nullable> { col("t").typed() };
        let cases = [
            (texts().contains(["a"]), r#"t=cs.{"a"}"#),
            (texts().contained_by(&["a".to_owned()][..]), r#"t=cd.{"a"}"#),
            (texts().overlaps(vec!["a".to_owned()]), r#"t=ov.{"a"}"#),
            (col("a").contained_by(vec![1, 2]), "a=cd.{1,2}"),
            (range().contains(1..2), "r=cs.[1,2)"),
            (range().strictly_left_of(1..2), "r=sl.[1,2)"),
            (range().strictly_right_of(..=2), "r=sr.(,2]"),
            (range().not_right_of(1..=2), "r=nxr.[1,2]"),
            (range().not_left_of(1..), "r=nxl.[1,)"),
            (range().adjacent_to(..2), "r=adj.(,2)"),
        ];
        for (filter, text) in cases {
            assert_eq!(filter.to_string(), text);
        }
    }
}
