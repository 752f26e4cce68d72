//! Patterns of text.

use super::{Filter, Modifier, Operator, Rhs, pattern};
use crate::schema::{Column, Quantified, Quantifier, Scalar, TextLike, array_of};

/// A pattern, or [`any`](crate::any) or [`all`](crate::all) of several.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a pattern",
    note = "a pattern is a text, or `any([…])` or `all([…])` of texts"
)]
pub trait Patterns {
    /// The patterns, with the quantifier of several.
    #[doc(hidden)]
    fn into_patterns(self) -> (Option<Quantifier>, Vec<String>);
}

impl<P: AsRef<str>> Patterns for P {
    fn into_patterns(self) -> (Option<Quantifier>, Vec<String>) {
        (None, vec![self.as_ref().to_owned()])
    }
}

impl<P: AsRef<str>> Patterns for Quantified<P> {
    fn into_patterns(self) -> (Option<Quantifier>, Vec<String>) {
        let texts = self.values.iter().map(|text| text.as_ref().to_owned());
        (Some(self.quantifier), texts.collect())
    }
}

/// Patterns of text, each of which may be [`any`](crate::any) or [`all`](crate::all) of several.
///
/// In `like` and `ilike`, `%` stands for any text, `_` for any character, and `\` escapes the next
/// one, as in SQL. PostgREST would take `*` for `%`. A pattern with a `*` is therefore sent as an
/// equivalent regular expression, in which `*` is just a star.
///
/// PostgREST reference: "Pattern Matching".
impl<T, V, N> Column<T, V, N> {
    /// Matches a pattern (`like`).
    ///
    /// ```
    /// # use sluice_sdk::col;
    /// assert_eq!(col("text").like("%rain%").to_string(), "text=like.%rain%");
    /// ```
    ///
    /// SQL: `where text like '%rain%'`.
    pub fn like(self, pattern: impl Patterns) -> Filter<T>
    where
        V: TextLike<T>,
    {
        self.pattern(Operator::Like, Operator::Match, pattern)
    }

    /// Matches a pattern, ignoring case (`ilike`).
    ///
    /// ```
    /// # use sluice_sdk::col;
    /// assert_eq!(col("text").ilike("%rain%").to_string(), "text=ilike.%rain%");
    /// ```
    ///
    /// SQL: `where text ilike '%rain%'`.
    pub fn ilike(self, pattern: impl Patterns) -> Filter<T>
    where
        V: TextLike<T>,
    {
        self.pattern(Operator::Ilike, Operator::Imatch, pattern)
    }

    /// Matches a regular expression of Postgres (`match`).
    ///
    /// ```
    /// # use sluice_sdk::col;
    /// assert_eq!(col("text").matches("^rain").to_string(), "text=match.^rain");
    /// ```
    ///
    /// SQL: `where text ~ '^rain'`.
    pub fn matches(self, expression: impl Patterns) -> Filter<T>
    where
        V: TextLike<T>,
    {
        let (quantifier, expressions) = expression.into_patterns();
        self.texts(Operator::Match, quantifier, &expressions)
    }

    /// Matches a regular expression, ignoring case (`imatch`).
    ///
    /// ```
    /// # use sluice_sdk::col;
    /// assert_eq!(col("text").imatches("^rain").to_string(), "text=imatch.^rain");
    /// ```
    ///
    /// SQL: `where text ~* '^rain'`.
    pub fn imatches(self, expression: impl Patterns) -> Filter<T>
    where
        V: TextLike<T>,
    {
        let (quantifier, expressions) = expression.into_patterns();
        self.texts(Operator::Imatch, quantifier, &expressions)
    }

    /// Contains `text` literally.
    ///
    /// ```
    /// use sluice_sdk::col;
    ///
    /// assert_eq!(col("body").contains_text("100%").to_string(), r"body=like.%100\%%");
    /// assert_eq!(col("body").contains_text("5*").to_string(), r"body=match.^.*5\*.*$");
    /// ```
    ///
    /// SQL: `where body like '%100\%%'`.
    pub fn contains_text(self, text: impl AsRef<str>) -> Filter<T>
    where
        V: TextLike<T>,
    {
        self.like(format!("%{}%", pattern::literal(text.as_ref())))
    }

    /// Begins with `text` literally.
    ///
    /// ```
    /// # use sluice_sdk::col;
    /// assert_eq!(col("body").starts_with("100%").to_string(), r"body=like.100\%%");
    /// ```
    ///
    /// SQL: `where body like '100\%%'`.
    pub fn starts_with(self, text: impl AsRef<str>) -> Filter<T>
    where
        V: TextLike<T>,
    {
        self.like(format!("{}%", pattern::literal(text.as_ref())))
    }

    /// Ends with `text` literally.
    ///
    /// ```
    /// # use sluice_sdk::col;
    /// assert_eq!(col("body").ends_with("100%").to_string(), r"body=like.%100\%");
    /// ```
    ///
    /// SQL: `where body like '%100\%'`.
    pub fn ends_with(self, text: impl AsRef<str>) -> Filter<T>
    where
        V: TextLike<T>,
    {
        self.like(format!("%{}", pattern::literal(text.as_ref())))
    }

    /// If one of several patterns has a star, all become regular expressions, because they share an
    /// operator.
    fn pattern(self, like: Operator, regex: Operator, pattern: impl Patterns) -> Filter<T> {
        let (quantifier, mut patterns) = pattern.into_patterns();
        if !patterns.iter().any(|text| pattern::needs_regex(text)) {
            return self.texts(like, quantifier, &patterns);
        }
        for text in &mut patterns {
            *text = pattern::like_to_regex(text);
        }
        self.texts(regex, quantifier, &patterns)
    }

    fn texts(
        self,
        operator: Operator,
        quantifier: Option<Quantifier>,
        texts: &[String],
    ) -> Filter<T> {
        let scalars: Vec<Scalar> = texts.iter().map(Scalar::of).collect();
        let scalar = match (quantifier, scalars.as_slice()) {
            (None, [only]) => only.clone(),
            (_, several) => array_of(several),
        };
        let modifier = quantifier.map(Modifier::Quantifier);
        self.condition(operator, modifier, Rhs::Scalar(scalar))
    }
}

#[cfg(test)]
mod tests {
    use crate::schema::{all, any, col};

    #[test]
    fn each_pattern_writes_its_operator() {
        let cases = [
            (col("a").like("a%"), "a=like.a%"),
            (col("a").ilike("a_"), "a=ilike.a_"),
            (col("a").matches("^a"), "a=match.^a"),
            (col("a").imatches("^a".to_owned()), "a=imatch.^a"),
            (col("a").starts_with("a_"), r"a=like.a\_%"),
            (col("a").ends_with("b"), "a=like.%b"),
            (
                col("a").like(all(["a%", "%b"])),
                r#"a=like(all).{"a%","%b"}"#,
            ),
            (col("a").ilike(all(["a"])), r#"a=ilike(all).{"a"}"#),
            (col("a").imatches(any(["^a"])), r#"a=imatch(any).{"^a"}"#),
        ];
        for (filter, text) in cases {
            assert_eq!(filter.to_string(), text);
        }
    }

    #[test]
    fn a_star_in_one_pattern_makes_all_regular_expressions() {
        let filter = col("a").ilike(any(["a*", "%b"]));
        assert_eq!(filter.to_string(), r#"a=imatch(any).{"^a\\*$","^.*b$"}"#);
    }
}
