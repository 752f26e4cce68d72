//! Tokens, counted as `OpenAI` counts them.

use bpe_openai::{Tokenizer, cl100k_base, o200k_base};

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
        let tokenizer = self.tokenizer();
        tokenizer.count_till_limit(&tokenizer.normalize(text), limit)
    }

    /// The longest beginning of the text that has no more than `limit` tokens.
    pub(crate) fn head(self, text: &str, limit: usize) -> &str {
        let heads: Vec<&str> = (0..=text.len()).filter_map(|end| text.get(..end)).collect();
        let fitting = heads.partition_point(|head| self.count(head) <= limit);
        heads
            .get(fitting.saturating_sub(1))
            .copied()
            .unwrap_or_default()
    }

    fn tokenizer(self) -> &'static Tokenizer {
        match self {
            Self::Cl100k => cl100k_base(),
            Self::O200k => o200k_base(),
        }
    }
}
