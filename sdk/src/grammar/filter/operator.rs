//! The operators of the grammar: the one list of their words.

use std::fmt;

use crate::error::Error;
use crate::schema::Quantifier;

/// An operator between a column and an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Eq,
    Neq,
    Gt,
    Gte,
    Lt,
    Lte,
    Like,
    Ilike,
    Match,
    Imatch,
    In,
    Is,
    IsDistinct,
    /// The four forms of a full-text query.
    Fts,
    Plfts,
    Phfts,
    Wfts,
    /// `@>`, `<@` and `&&`.
    Contains,
    ContainedBy,
    Overlaps,
    /// `<<`, `>>`, `&<`, `&>` and `-|-`.
    StrictlyLeft,
    StrictlyRight,
    NotRight,
    NotLeft,
    Adjacent,
}

impl Operator {
    const ALL: [Self; 25] = [
        Self::Eq,
        Self::Neq,
        Self::Gt,
        Self::Gte,
        Self::Lt,
        Self::Lte,
        Self::Like,
        Self::Ilike,
        Self::Match,
        Self::Imatch,
        Self::In,
        Self::Is,
        Self::IsDistinct,
        Self::Fts,
        Self::Plfts,
        Self::Phfts,
        Self::Wfts,
        Self::Contains,
        Self::ContainedBy,
        Self::Overlaps,
        Self::StrictlyLeft,
        Self::StrictlyRight,
        Self::NotRight,
        Self::NotLeft,
        Self::Adjacent,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::Eq => "eq",
            Self::Neq => "neq",
            Self::Gt => "gt",
            Self::Gte => "gte",
            Self::Lt => "lt",
            Self::Lte => "lte",
            Self::Like => "like",
            Self::Ilike => "ilike",
            Self::Match => "match",
            Self::Imatch => "imatch",
            Self::In => "in",
            Self::Is => "is",
            Self::IsDistinct => "isdistinct",
            Self::Fts => "fts",
            Self::Plfts => "plfts",
            Self::Phfts => "phfts",
            Self::Wfts => "wfts",
            Self::Contains => "cs",
            Self::ContainedBy => "cd",
            Self::Overlaps => "ov",
            Self::StrictlyLeft => "sl",
            Self::StrictlyRight => "sr",
            Self::NotRight => "nxr",
            Self::NotLeft => "nxl",
            Self::Adjacent => "adj",
        }
    }

    /// Whether a word of a query is an operator.
    pub(crate) fn is_word(word: &str) -> bool {
        Self::ALL.iter().any(|operator| operator.word() == word)
    }
}

/// What stands in parentheses after an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Modifier {
    /// How many of the operand's elements must match.
    Quantifier(Quantifier),
    /// The text search configuration.
    Config(String),
}

impl Modifier {
    /// Refuses a configuration that the grammar has no quoting for.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        match self {
            Self::Config(config) if config.is_empty() || !config.chars().all(is_plain) => {
                Err(Error::invalid(format!(
                    "`{}` cannot name a text search configuration; use letters, digits and `_`",
                    config.escape_debug()
                )))
            }
            Self::Config(_) | Self::Quantifier(_) => Ok(()),
        }
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl fmt::Display for Modifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inside = match self {
            Self::Quantifier(Quantifier::Any) => "any",
            Self::Quantifier(Quantifier::All) => "all",
            Self::Config(config) => config,
        };
        write!(f, "({inside})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operator_is_found_by_its_word_and_no_other_word_is_one() {
        for operator in Operator::ALL {
            assert!(Operator::is_word(&operator.to_string()), "{operator:?}");
        }
        assert!(!Operator::is_word("not") && !Operator::is_word(""));
    }

    #[test]
    fn a_configuration_that_cannot_be_said_is_refused() {
        let config = |name: &str| Modifier::Config(name.to_owned()).validate();
        assert!(config("english").is_ok());
        assert!(config("english).eq").is_err() && config("").is_err());
    }
}
