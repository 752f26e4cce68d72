//! What a column can be asked: one method for each operator of PostgREST.

use super::{Condition, Filter, Operand, pattern};
use crate::schema::{ArrayLike, CanBeNull, Column, RangeLike, Searchable, TextLike};
use crate::value::{Operand as OperandOf, Scalar, Value};

/// A comparison of two values.
impl<T, V, N> Column<T, V, N> {
    /// `= value` (`eq`).
    pub fn eq(self, value: impl OperandOf<V, T>) -> Filter<T> {
        self.scalar("eq", value.into_scalar())
    }

    /// `<> value` (`neq`): null is neither equal nor unequal; see
    /// [`is_distinct`](Self::is_distinct).
    pub fn neq(self, value: impl OperandOf<V, T>) -> Filter<T> {
        self.scalar("neq", value.into_scalar())
    }

    /// `> value` (`gt`).
    pub fn gt(self, value: impl OperandOf<V, T>) -> Filter<T> {
        self.scalar("gt", value.into_scalar())
    }

    /// `>= value` (`gte`).
    pub fn gte(self, value: impl OperandOf<V, T>) -> Filter<T> {
        self.scalar("gte", value.into_scalar())
    }

    /// `< value` (`lt`).
    pub fn lt(self, value: impl OperandOf<V, T>) -> Filter<T> {
        self.scalar("lt", value.into_scalar())
    }

    /// `<= value` (`lte`).
    pub fn lte(self, value: impl OperandOf<V, T>) -> Filter<T> {
        self.scalar("lte", value.into_scalar())
    }

    /// `is distinct from value` (`isdistinct`): as [`neq`](Self::neq), and true for null.
    pub fn is_distinct(self, value: impl OperandOf<V, T>) -> Filter<T> {
        self.scalar("isdistinct", value.into_scalar())
    }

    /// One of `values` (`in`). No value matches no row.
    ///
    /// The whole list goes into one URL; for a list of any length see
    /// [`TableRef::filter_in`](crate::TableRef::filter_in).
    pub fn in_(self, values: impl IntoIterator<Item = impl OperandOf<V, T>>) -> Filter<T> {
        let list: Vec<Scalar> = values.into_iter().map(OperandOf::into_scalar).collect();
        self.list(list)
    }

    pub(crate) fn list(self, list: Vec<Scalar>) -> Filter<T> {
        match list.as_slice() {
            // The grammar reads a lone empty text as the empty list, so it is said as an equality.
            [only] if only.text.is_empty() => self.scalar("eq", only.clone()),
            _ => self.condition("in".to_owned(), Operand::List(list)),
        }
    }

    /// Compares by `comparison` with each of `values` and asks for one that holds (`eq(any).{…}`).
    pub fn any_of(
        self,
        comparison: Comparison,
        values: impl IntoIterator<Item = impl OperandOf<V, T>>,
    ) -> Filter<T> {
        self.quantified(comparison.word(), "any", values)
    }

    /// Compares by `comparison` with each of `values` and asks for all to hold (`lt(all).{…}`).
    pub fn all_of(
        self,
        comparison: Comparison,
        values: impl IntoIterator<Item = impl OperandOf<V, T>>,
    ) -> Filter<T> {
        self.quantified(comparison.word(), "all", values)
    }

    /// Whether it is null (`is.null`).
    pub fn is_null(self) -> Filter<T>
    where
        N: CanBeNull<T, V>,
    {
        self.condition("is".to_owned(), Operand::Word("null"))
    }

    /// Whether it is not null (`not.is.null`).
    pub fn is_not_null(self) -> Filter<T>
    where
        N: CanBeNull<T, V>,
    {
        !self.is_null()
    }

    fn quantified(
        self,
        operator: &str,
        quantifier: &str,
        values: impl IntoIterator<Item = impl OperandOf<V, T>>,
    ) -> Filter<T> {
        let scalars: Vec<Scalar> = values.into_iter().map(OperandOf::into_scalar).collect();
        self.scalar_with(format!("{operator}({quantifier})"), array(&scalars))
    }

    fn scalar(self, operator: &str, scalar: Scalar) -> Filter<T> {
        self.scalar_with(operator.to_owned(), scalar)
    }

    fn scalar_with(self, operator: String, scalar: Scalar) -> Filter<T> {
        self.condition(operator, Operand::Scalar(scalar))
    }

    fn condition(self, operator: String, operand: Operand) -> Filter<T> {
        let target = self.target();
        Filter::condition(Condition {
            target,
            negated: false,
            operator,
            operand,
        })
    }
}

/// A comparison that [`Column::any_of`] and [`Column::all_of`] make with each value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Eq,
    /// `>`
    Gt,
    /// `>=`
    Gte,
    /// `<`
    Lt,
    /// `<=`
    Lte,
}

impl Comparison {
    fn word(self) -> &'static str {
        match self {
            Self::Eq => "eq",
            Self::Gt => "gt",
            Self::Gte => "gte",
            Self::Lt => "lt",
            Self::Lte => "lte",
        }
    }
}

/// Tests of a truth value, which are false (never null) for null.
impl<T, N> Column<T, bool, N> {
    /// Whether it is true (`is.true`).
    pub fn is_true(self) -> Filter<T> {
        self.condition("is".to_owned(), Operand::Word("true"))
    }

    /// Whether it is false (`is.false`).
    pub fn is_false(self) -> Filter<T> {
        self.condition("is".to_owned(), Operand::Word("false"))
    }

    /// Whether it is unknown, which for a truth value is null (`is.unknown`).
    pub fn is_unknown(self) -> Filter<T>
    where
        N: CanBeNull<T, bool>,
    {
        self.condition("is".to_owned(), Operand::Word("unknown"))
    }
}

/// Patterns of text.
///
/// In `like` and `ilike`, `%` stands for any text, `_` for any character and `\` takes the meaning
/// from the one that follows, as in SQL. PostgREST would take `*` for `%`; a pattern with a `*` in
/// it is therefore sent as the regular expression that means the same, so that `*` is just a star.
impl<T, V, N> Column<T, V, N> {
    /// Matches a pattern (`like`).
    pub fn like(self, pattern: impl AsRef<str>) -> Filter<T>
    where
        V: TextLike<T>,
    {
        self.pattern(("like", "match"), pattern.as_ref())
    }

    /// Matches a pattern, whatever the case of letters (`ilike`).
    pub fn ilike(self, pattern: impl AsRef<str>) -> Filter<T>
    where
        V: TextLike<T>,
    {
        self.pattern(("ilike", "imatch"), pattern.as_ref())
    }

    /// Holds `text`, taken literally.
    pub fn contains_text(self, text: impl AsRef<str>) -> Filter<T>
    where
        V: TextLike<T>,
    {
        self.like(format!("%{}%", pattern::literal(text.as_ref())))
    }

    /// Begins with `text`, taken literally.
    pub fn starts_with(self, text: impl AsRef<str>) -> Filter<T>
    where
        V: TextLike<T>,
    {
        self.like(format!("{}%", pattern::literal(text.as_ref())))
    }

    /// Ends with `text`, taken literally.
    pub fn ends_with(self, text: impl AsRef<str>) -> Filter<T>
    where
        V: TextLike<T>,
    {
        self.like(format!("%{}", pattern::literal(text.as_ref())))
    }

    /// Matches a regular expression of Postgres (`match`).
    pub fn matches(self, expression: impl AsRef<str>) -> Filter<T>
    where
        V: TextLike<T>,
    {
        self.scalar("match", Scalar::of(expression.as_ref()))
    }

    /// Matches a regular expression, whatever the case of letters (`imatch`).
    pub fn imatches(self, expression: impl AsRef<str>) -> Filter<T>
    where
        V: TextLike<T>,
    {
        self.scalar("imatch", Scalar::of(expression.as_ref()))
    }

    /// Matches at least one of the patterns (`like(any).{…}`).
    pub fn like_any<P: AsRef<str>>(self, patterns: impl IntoIterator<Item = P>) -> Filter<T>
    where
        V: TextLike<T>,
    {
        self.patterns(("like", "match"), "any", patterns)
    }

    /// Matches all of the patterns (`like(all).{…}`).
    pub fn like_all<P: AsRef<str>>(self, patterns: impl IntoIterator<Item = P>) -> Filter<T>
    where
        V: TextLike<T>,
    {
        self.patterns(("like", "match"), "all", patterns)
    }

    /// Matches at least one of the patterns, whatever the case (`ilike(any).{…}`).
    pub fn ilike_any<P: AsRef<str>>(self, patterns: impl IntoIterator<Item = P>) -> Filter<T>
    where
        V: TextLike<T>,
    {
        self.patterns(("ilike", "imatch"), "any", patterns)
    }

    /// Matches all of the patterns, whatever the case (`ilike(all).{…}`).
    pub fn ilike_all<P: AsRef<str>>(self, patterns: impl IntoIterator<Item = P>) -> Filter<T>
    where
        V: TextLike<T>,
    {
        self.patterns(("ilike", "imatch"), "all", patterns)
    }

    fn pattern(self, (like, regex): (&str, &str), text: &str) -> Filter<T> {
        if pattern::needs_regex(text) {
            self.scalar(regex, Scalar::of(&pattern::like_to_regex(text)))
        } else {
            self.scalar(like, Scalar::of(text))
        }
    }

    fn patterns<P: AsRef<str>>(
        self,
        (like, regex): (&str, &str),
        quantifier: &str,
        patterns: impl IntoIterator<Item = P>,
    ) -> Filter<T> {
        let patterns: Vec<P> = patterns.into_iter().collect();
        let starred = patterns
            .iter()
            .any(|text| pattern::needs_regex(text.as_ref()));
        let scalar = |text: &P| {
            if starred {
                Scalar::of(&pattern::like_to_regex(text.as_ref()))
            } else {
                Scalar::of(text.as_ref())
            }
        };
        let scalars: Vec<Scalar> = patterns.iter().map(scalar).collect();
        let operator = if starred { regex } else { like };
        self.scalar_with(format!("{operator}({quantifier})"), array(&scalars))
    }
}

/// Arrays, ranges and JSON: what holds what.
impl<T, V, N> Column<T, V, N> {
    /// Holds every element of `value` (`cs`, `@>`).
    pub fn contains(self, value: impl OperandOf<V, T>) -> Filter<T>
    where
        V: ArrayLike<T>,
    {
        self.scalar("cs", value.into_scalar())
    }

    /// Is held by `value` (`cd`, `<@`).
    pub fn contained_by(self, value: impl OperandOf<V, T>) -> Filter<T>
    where
        V: ArrayLike<T>,
    {
        self.scalar("cd", value.into_scalar())
    }

    /// Has an element in common with `value` (`ov`, `&&`): arrays and ranges only.
    pub fn overlaps(self, value: impl OperandOf<V, T>) -> Filter<T>
    where
        V: ArrayLike<T>,
    {
        self.scalar("ov", value.into_scalar())
    }
}

/// The position of a range relative to another.
impl<T, V, N> Column<T, V, N> {
    /// Lies wholly before `range` (`sl`, `<<`).
    pub fn strictly_left_of(self, range: impl OperandOf<V, T>) -> Filter<T>
    where
        V: RangeLike<T>,
    {
        self.scalar("sl", range.into_scalar())
    }

    /// Lies wholly after `range` (`sr`, `>>`).
    pub fn strictly_right_of(self, range: impl OperandOf<V, T>) -> Filter<T>
    where
        V: RangeLike<T>,
    {
        self.scalar("sr", range.into_scalar())
    }

    /// Does not reach beyond the upper end of `range` (`nxr`, `&<`).
    pub fn not_right_of(self, range: impl OperandOf<V, T>) -> Filter<T>
    where
        V: RangeLike<T>,
    {
        self.scalar("nxr", range.into_scalar())
    }

    /// Does not reach below the lower end of `range` (`nxl`, `&>`).
    pub fn not_left_of(self, range: impl OperandOf<V, T>) -> Filter<T>
    where
        V: RangeLike<T>,
    {
        self.scalar("nxl", range.into_scalar())
    }

    /// Ends where `range` begins, or begins where it ends (`adj`, `-|-`).
    pub fn adjacent_to(self, range: impl OperandOf<V, T>) -> Filter<T>
    where
        V: RangeLike<T>,
    {
        self.scalar("adj", range.into_scalar())
    }
}

/// Full-text search.
impl<T, V, N> Column<T, V, N> {
    /// Matches a full-text query.
    ///
    /// ```
    /// use sluice_sdk::{Search, col};
    ///
    /// let filter = col("body").search(Search::web("\"heavy rain\" -flood").config("english"));
    /// assert_eq!(filter.to_string(), r#"body=wfts(english)."heavy rain" -flood"#);
    /// ```
    pub fn search(self, search: Search) -> Filter<T>
    where
        V: Searchable<T>,
    {
        let Search {
            operator,
            query,
            config,
        } = search;
        let config = config
            .map(|config| format!("({config})"))
            .unwrap_or_default();
        self.scalar_with(format!("{operator}{config}"), Scalar::of(&query))
    }
}

/// A full-text query: in which of Postgres's four forms it is written, and its configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    operator: &'static str,
    query: String,
    config: Option<String>,
}

impl Search {
    /// `to_tsquery` (`fts`): words joined by `&`, `|` and `!`. A slip in it is an error.
    pub fn query(query: impl Into<String>) -> Self {
        Self {
            operator: "fts",
            query: query.into(),
            config: None,
        }
    }

    /// `plainto_tsquery` (`plfts`): all the words, in any order.
    pub fn plain(query: impl Into<String>) -> Self {
        Self {
            operator: "plfts",
            query: query.into(),
            config: None,
        }
    }

    /// `phraseto_tsquery` (`phfts`): the words, one after the other.
    pub fn phrase(query: impl Into<String>) -> Self {
        Self {
            operator: "phfts",
            query: query.into(),
            config: None,
        }
    }

    /// `websearch_to_tsquery` (`wfts`): as people type into search boxes; never an error.
    pub fn web(query: impl Into<String>) -> Self {
        Self {
            operator: "wfts",
            query: query.into(),
            config: None,
        }
    }

    /// The text search configuration, such as `english`: letters, digits and `_`, since PostgREST
    /// can name no other. Anything else is refused when the request is built.
    #[must_use]
    pub fn config(mut self, config: impl Into<String>) -> Self {
        self.config = Some(config.into());
        self
    }
}

/// The array literal of the operators with `(any)` and `(all)`.
fn array(scalars: &[Scalar]) -> Scalar {
    let texts: Vec<&str> = scalars.iter().map(|scalar| scalar.text.as_str()).collect();
    let mut text = String::new();
    texts.write(&mut text);
    Scalar {
        text,
        bare: false,
        secret: scalars.iter().any(|scalar| scalar.secret),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Any, Nullable, col};
    use crate::value::Range;

    fn range() -> Column<Any, Range<i32>, Nullable> {
        col("r").typed()
    }

    /// Every operator by its word in the grammar.
    #[test]
    fn each_method_says_its_operator() {
        let one_to_two = || Range::from(1..2);
        let flag = || col("f").typed::<bool>();
        let said = [
            (col("a").neq(1), "a=neq.1"),
            (col("a").lt(1), "a=lt.1"),
            (col("a").lte(1), "a=lte.1"),
            (col("a").is_distinct(1), "a=isdistinct.1"),
            (col("a").is_not_null(), "a=not.is.null"),
            (flag().is_true(), "f=is.true"),
            (flag().is_false(), "f=is.false"),
            (flag().is_unknown(), "f=is.unknown"),
            (
                col("a").all_of(Comparison::Lte, [1, 2]),
                r#"a=lte(all).{"1","2"}"#,
            ),
            (
                col("a").like_all(["a%", "%b"]),
                r#"a=like(all).{"a%","%b"}"#,
            ),
            (col("a").ilike_any(["a*"]), r#"a=imatch(any).{"^a\\*$"}"#),
            (col("a").ilike_all(["a"]), r#"a=ilike(all).{"a"}"#),
            (col("a").imatches("^a"), "a=imatch.^a"),
            (col("a").contained_by(vec![1, 2]), "a=cd.{1,2}"),
            (range().strictly_left_of(one_to_two()), r#"r=sl.["1","2")"#),
            (range().strictly_right_of(one_to_two()), r#"r=sr.["1","2")"#),
            (range().not_right_of(one_to_two()), r#"r=nxr.["1","2")"#),
            (range().not_left_of(one_to_two()), r#"r=nxl.["1","2")"#),
            (range().adjacent_to(one_to_two()), r#"r=adj.["1","2")"#),
            (col("a").search(Search::query("a & b")), "a=fts.a & b"),
            (col("a").search(Search::phrase("a b")), "a=phfts.a b"),
        ];
        for (filter, text) in said {
            assert_eq!(filter.to_string(), text);
        }
    }

    #[test]
    fn a_configuration_that_cannot_be_said_is_refused() {
        let filter = col("a").search(Search::web("x").config("english).eq"));
        assert!(filter.tree.validate().is_err());
    }
}
