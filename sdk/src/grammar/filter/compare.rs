//! Comparisons of any column, and tests of a truth value.

use super::{Condition, Filter, Modifier, Operator, Rhs};
use crate::schema::{CanBeNull, Column, Operand, Operands, Scalar};

/// A comparison of two values.
///
/// PostgREST reference: "Operators", and "Operator Modifiers" for [`any`](crate::any) and
/// [`all`](crate::all).
impl<T, V, N> Column<T, V, N> {
    /// `= value` (`eq`), or equal to one [`any`](crate::any) of several.
    ///
    /// ```
    /// # use sluice_sdk::col;
    /// assert_eq!(col("id").eq(7).to_string(), "id=eq.7");
    /// ```
    ///
    /// SQL: `where id = 7`.
    pub fn eq(self, value: impl Operands<V, T>) -> Filter<T> {
        self.compared(Operator::Eq, value)
    }

    /// `<> value` (`neq`): null is neither equal nor unequal; see
    /// [`is_distinct`](Self::is_distinct).
    ///
    /// ```
    /// # use sluice_sdk::col;
    /// assert_eq!(col("status").neq("open").to_string(), "status=neq.open");
    /// ```
    ///
    /// SQL: `where status <> 'open'`.
    pub fn neq(self, value: impl Operand<V, T>) -> Filter<T> {
        self.scalar(Operator::Neq, value.into_scalar())
    }

    /// `> value` (`gt`), or greater than [`any`](crate::any) or [`all`](crate::all) of several.
    ///
    /// ```
    /// # use sluice_sdk::col;
    /// assert_eq!(col("views").gt(10).to_string(), "views=gt.10");
    /// ```
    ///
    /// SQL: `where views > 10`.
    pub fn gt(self, value: impl Operands<V, T>) -> Filter<T> {
        self.compared(Operator::Gt, value)
    }

    /// `>= value` (`gte`).
    ///
    /// ```
    /// # use sluice_sdk::col;
    /// assert_eq!(col("views").gte(10).to_string(), "views=gte.10");
    /// ```
    ///
    /// SQL: `where views >= 10`.
    pub fn gte(self, value: impl Operands<V, T>) -> Filter<T> {
        self.compared(Operator::Gte, value)
    }

    /// `< value` (`lt`).
    ///
    /// ```
    /// # use sluice_sdk::col;
    /// assert_eq!(col("views").lt(10).to_string(), "views=lt.10");
    /// ```
    ///
    /// SQL: `where views < 10`.
    pub fn lt(self, value: impl Operands<V, T>) -> Filter<T> {
        self.compared(Operator::Lt, value)
    }

    /// `<= value` (`lte`).
    ///
    /// ```
    /// # use sluice_sdk::col;
    /// assert_eq!(col("views").lte(10).to_string(), "views=lte.10");
    /// ```
    ///
    /// SQL: `where views <= 10`.
    pub fn lte(self, value: impl Operands<V, T>) -> Filter<T> {
        self.compared(Operator::Lte, value)
    }

    /// `is distinct from value` (`isdistinct`): as [`neq`](Self::neq), and true for null.
    ///
    /// ```
    /// # use sluice_sdk::col;
    /// assert_eq!(col("views").is_distinct(10).to_string(), "views=isdistinct.10");
    /// ```
    ///
    /// SQL: `where views is distinct from 10`.
    pub fn is_distinct(self, value: impl Operand<V, T>) -> Filter<T> {
        self.scalar(Operator::IsDistinct, value.into_scalar())
    }

    /// One of `values` (`in`). No value matches no row.
    ///
    /// The whole list goes into one URL. For a list of any length see
    /// [`TableRef::filter_in`](crate::query::TableRef::filter_in).
    ///
    /// ```
    /// # use sluice_sdk::col;
    /// assert_eq!(col("code").in_(["a,b", "c"]).to_string(), r#"code=in.("a,b","c")"#);
    /// ```
    ///
    /// SQL: `where code = any ('{"a,b",c}')`.
    pub fn in_(self, values: impl IntoIterator<Item = impl Operand<V, T>>) -> Filter<T> {
        self.list(values.into_iter().map(Operand::into_scalar).collect())
    }

    pub(crate) fn list(self, list: Vec<Scalar>) -> Filter<T> {
        match list.as_slice() {
            // The grammar reads a single empty text as an empty list, so it becomes an equality.
            [only] if only.text.is_empty() => self.scalar(Operator::Eq, only.clone()),
            _ => self.condition(Operator::In, None, Rhs::List(list)),
        }
    }

    /// Whether it is null (`is.null`).
    ///
    /// ```
    /// # use sluice_sdk::col;
    /// assert_eq!(col("url").is_null().to_string(), "url=is.null");
    /// ```
    ///
    /// SQL: `where url is null`.
    pub fn is_null(self) -> Filter<T>
    where
        N: CanBeNull<T, V>,
    {
        self.is("null")
    }

    /// Whether it is not null (`not.is.null`).
    ///
    /// ```
    /// # use sluice_sdk::col;
    /// assert_eq!(col("url").is_not_null().to_string(), "url=not.is.null");
    /// ```
    ///
    /// SQL: `where not url is null`.
    pub fn is_not_null(self) -> Filter<T>
    where
        N: CanBeNull<T, V>,
    {
        !self.is_null()
    }

    fn compared(self, operator: Operator, value: impl Operands<V, T>) -> Filter<T> {
        let (quantifier, scalar) = value.into_quantified();
        let modifier = quantifier.map(Modifier::Quantifier);
        self.condition(operator, modifier, Rhs::Scalar(scalar))
    }

    pub(super) fn scalar(self, operator: Operator, scalar: Scalar) -> Filter<T> {
        self.condition(operator, None, Rhs::Scalar(scalar))
    }

    fn is(self, word: &'static str) -> Filter<T> {
        self.condition(Operator::Is, None, Rhs::Word(word))
    }

    pub(super) fn condition(
        self,
        operator: Operator,
        modifier: Option<Modifier>,
        rhs: Rhs,
    ) -> Filter<T> {
        Filter::condition(Condition {
            modifier,
            ..Condition::new(self.target(), operator, rhs)
        })
    }
}

/// Tests of a truth value, which are false (never null) for null.
///
/// PostgREST reference: "Operators" (`is`).
impl<T, N> Column<T, bool, N> {
    /// Whether it is true (`is.true`).
    ///
    /// ```
    /// # use sluice_sdk::col;
    /// assert_eq!(col("sold").typed::<bool>().is_true().to_string(), "sold=is.true");
    /// ```
    ///
    /// SQL: `where sold is true`.
    pub fn is_true(self) -> Filter<T> {
        self.is("true")
    }

    /// Whether it is false (`is.false`).
    ///
    /// ```
    /// # use sluice_sdk::col;
    /// assert_eq!(col("sold").typed::<bool>().is_false().to_string(), "sold=is.false");
    /// ```
    ///
    /// SQL: `where sold is false`.
    pub fn is_false(self) -> Filter<T> {
        self.is("false")
    }

    /// Whether it is unknown, which for a truth value is null (`is.unknown`).
    ///
    /// ```
    /// # use sluice_sdk::col;
    /// assert_eq!(col("sold").typed::<bool>().is_unknown().to_string(), "sold=is.unknown");
    /// ```
    ///
    /// SQL: `where sold is unknown`.
    pub fn is_unknown(self) -> Filter<T>
    where
        N: CanBeNull<T, bool>,
    {
        self.is("unknown")
    }
}

#[cfg(test)]
mod tests {
    use crate::schema::{all, any, col};

    #[test]
    fn each_comparison_writes_its_operator() {
        let flag = || col("f").typed::<bool>();
        let cases = [
            (col("a").eq("x"), "a=eq.x"),
            (col("a").neq(1), "a=neq.1"),
            (col("a").gt(1), "a=gt.1"),
            (col("a").gte(1), "a=gte.1"),
            (col("a").lt(1), "a=lt.1"),
            (col("a").lte(1), "a=lte.1"),
            (col("a").is_distinct(1), "a=isdistinct.1"),
            (col("a").in_([1, 2]), "a=in.(1,2)"),
            (col("a").in_([""]), "a=eq."),
            (col("a").is_null(), "a=is.null"),
            (col("a").is_not_null(), "a=not.is.null"),
            (flag().is_true(), "f=is.true"),
            (flag().is_false(), "f=is.false"),
            (flag().is_unknown(), "f=is.unknown"),
        ];
        for (filter, text) in cases {
            assert_eq!(filter.to_string(), text);
        }
    }

    #[test]
    fn several_operands_are_an_array_with_quoted_elements() {
        let filter = col("a").lte(all([1, 2]));
        assert_eq!(filter.to_string(), "a=lte(all).{1,2}");
        let filter = col("a").eq(any(["x,y", "\""])).or(col("b").eq(1));
        let text = r#"or=(a.eq(any)."{\"x,y\",\"\\\"\"}",b.eq.1)"#;
        assert_eq!(filter.to_string(), text);
    }
}
