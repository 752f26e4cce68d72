//! Tokens, counted as `OpenAI` counts them.

use sluice_tokens::Tokenizer;

/// How a model divides texts into tokens.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Vocabulary {
    Cl100k,
    O200k,
}

impl Vocabulary {
    pub(crate) fn count(self, text: &str) -> usize {
        self.tokenizer().count(text)
    }

    /// The number of tokens, if it is no more than `limit`.
    pub(crate) fn count_to(self, text: &str, limit: usize) -> Option<usize> {
        self.tokenizer().count_to(text, limit)
    }

    /// The longest beginning of the text that has no more than `limit` tokens.
    pub(crate) fn head(self, text: &str, limit: usize) -> &str {
        self.tokenizer().truncate(text, limit).text
    }

    fn tokenizer(self) -> Tokenizer {
        match self {
            Self::Cl100k => Tokenizer::cl100k(),
            Self::O200k => Tokenizer::o200k(),
        }
    }
}
