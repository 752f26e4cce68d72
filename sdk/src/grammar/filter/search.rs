//! Full-text search.

use super::{Filter, Modifier, Operator, Rhs};
use crate::schema::{Column, Scalar, Searchable};

/// A full-text query in one of Postgres's four forms, with its configuration.
///
/// PostgREST reference: "Full-Text Search".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    operator: Operator,
    query: String,
    config: Option<String>,
}

impl Search {
    /// `to_tsquery` (`fts`): words joined by `&`, `|` and `!`. A syntax error fails the request.
    ///
    /// ```
    /// # use sluice_sdk::{Search, col};
    /// assert_eq!(col("body").search(Search::query("rain & !flood")).to_string(), "body=fts.rain & !flood");
    /// ```
    ///
    /// SQL: `where to_tsvector(body) @@ to_tsquery('rain & !flood')`.
    pub fn query(query: impl Into<String>) -> Self {
        Self::of(Operator::Fts, query)
    }

    /// `plainto_tsquery` (`plfts`): all the words, in any order.
    ///
    /// ```
    /// # use sluice_sdk::{Search, col};
    /// assert_eq!(col("body").search(Search::plain("heavy rain")).to_string(), "body=plfts.heavy rain");
    /// ```
    ///
    /// SQL: `where to_tsvector(body) @@ plainto_tsquery('heavy rain')`.
    pub fn plain(query: impl Into<String>) -> Self {
        Self::of(Operator::Plfts, query)
    }

    /// `phraseto_tsquery` (`phfts`): the words, one after the other.
    ///
    /// ```
    /// # use sluice_sdk::{Search, col};
    /// assert_eq!(col("body").search(Search::phrase("heavy rain")).to_string(), "body=phfts.heavy rain");
    /// ```
    ///
    /// SQL: `where to_tsvector(body) @@ phraseto_tsquery('heavy rain')`.
    pub fn phrase(query: impl Into<String>) -> Self {
        Self::of(Operator::Phfts, query)
    }

    /// `websearch_to_tsquery` (`wfts`): as people type into a search box. It is never a syntax
    /// error.
    ///
    /// ```
    /// # use sluice_sdk::{Search, col};
    /// assert_eq!(col("body").search(Search::web("rain -flood")).to_string(), "body=wfts.rain -flood");
    /// ```
    ///
    /// SQL: `where to_tsvector(body) @@ websearch_to_tsquery('rain -flood')`.
    pub fn web(query: impl Into<String>) -> Self {
        Self::of(Operator::Wfts, query)
    }

    /// The text search configuration, such as `english`. PostgREST can only name one of letters,
    /// digits and `_`; another is refused when the request is built.
    ///
    /// ```
    /// # use sluice_sdk::{Search, col};
    /// assert_eq!(col("body").search(Search::plain("rain").config("english")).to_string(), "body=plfts(english).rain");
    /// ```
    ///
    /// SQL: `where to_tsvector('english', body) @@ plainto_tsquery('english', 'rain')`.
    #[must_use]
    pub fn config(mut self, config: impl Into<String>) -> Self {
        self.config = Some(config.into());
        self
    }

    fn of(operator: Operator, query: impl Into<String>) -> Self {
        Self {
            operator,
            query: query.into(),
            config: None,
        }
    }
}

/// Full-text search.
///
/// PostgREST reference: "Full-Text Search".
impl<T, V, N> Column<T, V, N> {
    /// Matches a full-text query.
    ///
    /// ```
    /// use sluice_sdk::{Search, col};
    ///
    /// let filter = col("body").search(Search::web("\"heavy rain\" -flood").config("english"));
    /// assert_eq!(filter.to_string(), r#"body=wfts(english)."heavy rain" -flood"#);
    /// ```
    ///
    /// SQL: `where to_tsvector('english', body) @@ websearch_to_tsquery('english', '"heavy rain"
    /// -flood')`.
    pub fn search(self, search: Search) -> Filter<T>
    where
        V: Searchable<T>,
    {
        let modifier = search.config.map(Modifier::Config);
        let query = Scalar::of(&search.query);
        self.condition(search.operator, modifier, Rhs::Scalar(query))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::col;

    #[test]
    fn each_form_writes_its_operator() {
        let cases = [
            (Search::query("a & b"), "a=fts.a & b"),
            (Search::plain("a b"), "a=plfts.a b"),
            (Search::phrase("a b"), "a=phfts.a b"),
            (Search::web("a or b"), "a=wfts.a or b"),
        ];
        for (search, text) in cases {
            assert_eq!(col("a").search(search).to_string(), text);
        }
    }

    #[test]
    fn a_configuration_that_needs_quoting_is_refused() {
        let filter = col("a").search(Search::web("x").config("english).eq"));
        assert!(filter.tree.validate().is_err());
    }
}
