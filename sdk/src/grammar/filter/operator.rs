//! The operators of the grammar.

use std::fmt;

use crate::error::Error;
use crate::schema::Quantifier;

macro_rules! operators {
    ($($name:ident => $word:literal,)*) => {
        /// An operator between a column and an operand.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Operator {
            $($name),*
        }

        impl Operator {
            #[cfg(test)]
            const ALL: &[Self] = &[$(Self::$name),*];

            fn word(self) -> &'static str {
                match self {
                    $(Self::$name => $word),*
                }
            }

            /// Whether a word of a query is an operator.
            pub(crate) fn is_word(word: &str) -> bool {
                matches!(word, $($word)|*)
            }
        }
    };
}

operators! {
    Eq => "eq",
    Neq => "neq",
    Gt => "gt",
    Gte => "gte",
    Lt => "lt",
    Lte => "lte",
    Like => "like",
    Ilike => "ilike",
    Match => "match",
    Imatch => "imatch",
    In => "in",
    Is => "is",
    IsDistinct => "isdistinct",
    Fts => "fts",
    Plfts => "plfts",
    Phfts => "phfts",
    Wfts => "wfts",
    Contains => "cs",
    ContainedBy => "cd",
    Overlaps => "ov",
    StrictlyLeft => "sl",
    StrictlyRight => "sr",
    NotRight => "nxr",
    NotLeft => "nxl",
    Adjacent => "adj",
}

/// The modifier in parentheses after an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Modifier {
    /// How many of the operand's elements must match.
    Quantifier(Quantifier),
    /// The text search configuration.
    Config(String),
}

impl Modifier {
    /// Refuses the name of a configuration that would have to be quoted: the grammar has no way to.
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
    fn a_configuration_that_needs_quoting_is_refused() {
        let config = |name: &str| Modifier::Config(name.to_owned()).validate();
        assert!(config("english").is_ok());
        assert!(config("english).eq").is_err() && config("").is_err());
    }
}
