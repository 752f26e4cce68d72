//! Counting tokens as the provider does, before anything is sent.

use bpe_openai::{cl100k_base, o200k_base};

use super::model;

/// Counts a text's tokens and cuts it to a number of them.
///
/// All work is linear in the text's length, whatever the text, and ends early where a limit is
/// given: a megabyte of one letter costs no more than prose.
///
/// ```
/// use sluice_provider::Tokenizer;
///
/// let tokenizer = Tokenizer::for_model("text-embedding-3-small");
/// assert_eq!(tokenizer.count("The gnome is back."), 5);
/// assert_eq!(tokenizer.count_to("The gnome is back.", 4), None);
/// assert_eq!(tokenizer.cut("The gnome is back.", 4).text, "The gnome is back");
/// ```
#[derive(Clone, Copy)]
pub struct Tokenizer {
    vocabulary: &'static bpe_openai::Tokenizer,
}

/// The longest head of a text that fits a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut<'t> {
    /// The head, or the whole text where it fits.
    pub text: &'t str,
    /// The head's tokens.
    pub tokens: usize,
    /// Whether anything was cut off.
    pub shortened: bool,
}

/// The tokens that the provider estimates before it counts: a quarter of the UTF-8 bytes. A
/// request's estimate must stay below [`MAX_REQUEST_TOKENS`](super::MAX_REQUEST_TOKENS), beside its
/// true count.
pub fn estimate(utf8_bytes: usize) -> usize {
    utf8_bytes.div_ceil(4)
}

impl Tokenizer {
    /// The tokenizer that the model counts with.
    pub fn for_model(model: &str) -> Self {
        let vocabulary = if model::counts_in_cl100k(model) {
            cl100k_base()
        } else {
            o200k_base()
        };
        Self { vocabulary }
    }

    /// The text's tokens.
    pub fn count(self, text: &str) -> usize {
        self.vocabulary.count(text)
    }

    /// The text's tokens where they are no more than `limit`. It stops soon after the limit is
    /// passed, so that a text of any size can be asked about.
    pub fn count_to(self, text: &str, limit: usize) -> Option<usize> {
        self.vocabulary
            .count_till_limit(&self.vocabulary.normalize(text), limit)
    }

    /// Cuts the text so that it has at most `limit` tokens, between tokens and between characters.
    pub fn cut(self, text: &str, limit: usize) -> Cut<'_> {
        let mut end = match self.boundary(text, limit) {
            Boundary::Whole { tokens } => {
                return Cut {
                    text,
                    tokens,
                    shortened: false,
                };
            }
            Boundary::At(end) => end,
        };
        // A token may end within a character, and what is left of it may then count as more tokens
        // than it did: the head is counted again, and loses characters until it fits.
        loop {
            let head = text.get(..end).unwrap_or_default();
            if let Some(tokens) = self.count_to(head, limit) {
                return Cut {
                    text: head,
                    tokens,
                    shortened: true,
                };
            }
            end = char_boundary(text, end.saturating_sub(1));
        }
    }

    /// Splits the text into pieces of at most `limit` tokens, each [cut](Self::cut) off what is left of it. A
    /// limit below that of one character counts as four, the most that one can have.
    pub fn split(self, text: &str, limit: usize) -> impl Iterator<Item = Cut<'_>> {
        let mut rest = text;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let cut = self.cut(rest, limit.max(4));
            rest = rest.get(cut.text.len()..).unwrap_or_default();
            Some(cut)
        })
    }

    /// Where `limit` tokens end, going over the text piece by piece.
    fn boundary(self, text: &str, limit: usize) -> Boundary {
        let bpe = &self.vocabulary.bpe;
        let (mut tokens, mut end) = (0, 0);
        for piece in self.vocabulary.split(text) {
            let left = limit - tokens;
            if let Some(count) = bpe.count_till_limit(piece.as_bytes(), left) {
                tokens += count;
                end += piece.len();
                continue;
            }
            let head = bpe.encode_via_backtracking(piece.as_bytes());
            end += head
                .iter()
                .take(left)
                .map(|&token| bpe.token_len(token))
                .sum::<usize>();
            return Boundary::At(char_boundary(text, end));
        }
        Boundary::Whole { tokens }
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer").finish_non_exhaustive()
    }
}

/// The last place at or before `end` where the text may be cut.
fn char_boundary(text: &str, mut end: usize) -> usize {
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    end
}

enum Boundary {
    Whole { tokens: usize },
    At(usize),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn embedding() -> Tokenizer {
        Tokenizer::for_model("text-embedding-3-small")
    }

    #[test]
    fn the_vocabulary_follows_the_model() {
        // The newer vocabulary has a token for this word; the older spells it.
        let text = " 你好世界，こんにちは";
        let old = embedding().count(text);
        let new = Tokenizer::for_model("gpt-4o-mini").count(text);
        assert!(new < old, "{new} < {old}");
    }

    #[test]
    fn counting_to_a_limit_agrees_with_counting() {
        let text = "Lost: one grey cat, answers to Biscuit. ".repeat(40);
        let count = embedding().count(&text);
        assert_eq!(embedding().count_to(&text, count), Some(count));
        assert_eq!(embedding().count_to(&text, count - 1), None);
        assert_eq!(embedding().count_to("", 0), Some(0));
    }

    #[test]
    fn a_text_that_fits_is_left_whole() {
        let cut = embedding().cut("a b c", 3);
        assert_eq!(
            cut,
            Cut {
                text: "a b c",
                tokens: 3,
                shortened: false
            }
        );
    }

    #[test]
    fn a_character_of_several_tokens_is_never_split() {
        let text = "🏴󠁧󠁢󠁷󠁬󠁳󠁿".repeat(20);
        for limit in 0..40 {
            let cut = embedding().cut(&text, limit);
            assert!(cut.tokens <= limit && text.starts_with(cut.text));
        }
    }

    /// In the newer vocabulary a token can end in the middle of a Georgian letter. What is left of
    /// it after the cut counts as more tokens than it did before.
    #[test]
    fn a_head_that_counts_more_than_it_did_is_cut_further() {
        let tokenizer = Tokenizer::for_model("gpt-4o");
        assert_eq!(tokenizer.count("წაუ"), 3);
        let cut = tokenizer.cut("წაუძყფშჩკწტ", 2);
        assert_eq!((cut.text, cut.tokens), ("წა", 2));
    }

    /// An encoder that is quadratic in a word's length takes minutes for this.
    #[test]
    fn a_megabyte_without_a_boundary_is_counted_and_cut() {
        for text in [
            "a".repeat(1 << 20),
            " ".repeat(1 << 20),
            "\n \t".repeat(1 << 18),
        ] {
            let cut = embedding().cut(&text, 1000);
            assert!(cut.shortened && cut.tokens > 990, "{}", cut.tokens);
            assert_eq!(embedding().count_to(&text, 1000), None);
        }
    }

    #[test]
    fn the_estimate_is_a_quarter_of_the_bytes() {
        assert_eq!(
            [estimate(0), estimate(1), estimate(4), estimate(5)],
            [0, 1, 1, 2]
        );
    }

    proptest! {
        #[test]
        fn the_pieces_of_a_text_are_the_text(text in "(\\PC|[ \n]){0,80}", limit in 0_usize..30) {
            let pieces: Vec<_> = embedding().split(&text, limit).collect();
            let whole: String = pieces.iter().map(|piece| piece.text).collect();
            prop_assert_eq!(&whole, &text);
            for piece in &pieces {
                prop_assert!(!piece.text.is_empty() && piece.tokens <= limit.max(4));
            }
        }

        #[test]
        fn a_cut_fits_and_is_a_head(text in "(\\PC|[ \n]){0,60}", limit in 0_usize..30) {
            let tokenizer = embedding();
            let cut = tokenizer.cut(&text, limit);
            prop_assert!(text.starts_with(cut.text));
            prop_assert_eq!(tokenizer.count(cut.text), cut.tokens);
            prop_assert!(cut.tokens <= limit);
            prop_assert_eq!(cut.shortened, tokenizer.count(&text) > limit);
            prop_assert_eq!(cut.shortened, cut.text != text);
        }
    }
}
