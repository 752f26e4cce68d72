//! Tokens, counted as `OpenAI` counts them.

use bpe_openai::{Tokenizer as Vocabulary, cl100k_base, o200k_base};

/// Counts the tokens of one model's texts.
#[derive(Clone, Copy)]
pub(super) struct Tokenizer(&'static Vocabulary);

impl Tokenizer {
    pub(super) fn for_model(model: &str) -> Self {
        let is_old = ["text-embedding-", "gpt-3.5", "gpt-4-"]
            .iter()
            .any(|family| model.starts_with(family));
        Self(if is_old || model == "gpt-4" {
            cl100k_base()
        } else {
            o200k_base()
        })
    }

    pub(super) fn count(self, text: &str) -> usize {
        self.0.count(text)
    }

    /// The text's tokens if they are no more than `limit`.
    pub(super) fn count_to(self, text: &str, limit: usize) -> Option<usize> {
        self.0.count_till_limit(&self.0.normalize(text), limit)
    }

    /// The longest head of the text that has no more than `limit` tokens.
    pub(super) fn head(self, text: &str, limit: usize) -> &str {
        let mut ends = text.char_indices().map(|(at, _)| at).collect::<Vec<_>>();
        ends.push(text.len());
        let fits = |end: &usize| {
            text.get(..*end)
                .is_some_and(|head| self.count(head) <= limit)
        };
        let end = ends.partition_point(fits).saturating_sub(1);
        ends.get(end)
            .and_then(|end| text.get(..*end))
            .unwrap_or_default()
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokenizer")
    }
}
