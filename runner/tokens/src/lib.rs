//! Tokens, counted as `OpenAI` counts them.
//!
//! The provider's client counts a text before it sends it, and the simulator counts what it
//! receives. Both use this crate, so the program holds each vocabulary once. A vocabulary is
//! compressed until the first [`Tokenizer`] that needs it is made.
//!
//! docs/decisions/0007-vocabularies-are-packed.md says why the crate `tiktoken` does the counting.

use std::fmt;

use tiktoken::CoreBpe;

/// Long texts are counted in parts of at least this many bytes, so that counting can end early.
const MIN_PART_BYTES: usize = 4 << 10;

/// A part has at most this many bytes, whatever it consists of. Encoding a single word takes
/// n·log n steps and memory for each byte, and this bounds both.
const MAX_PART_BYTES: usize = 64 << 10;

/// Counts a text's tokens and truncates it to a number of them.
///
/// Time grows with the text's length, memory does not, whatever the text consists of. Work ends early
/// if a limit is given.
///
/// Counts are exact for every text with two ASCII words in each 64 KiB. A larger text without such
/// words, such as a megabyte of one letter, may count a few tokens more for each 64 KiB.
///
/// ```
/// use sluice_tokens::Tokenizer;
///
/// let tokenizer = Tokenizer::cl100k();
/// assert_eq!(tokenizer.count("The gnome is back."), 5);
/// assert_eq!(tokenizer.count_to("The gnome is back.", 4), None);
/// assert_eq!(tokenizer.truncate("The gnome is back.", 4).text, "The gnome is back");
/// ```
#[derive(Clone, Copy)]
pub struct Tokenizer {
    vocabulary: &'static CoreBpe,
}

/// A piece of a text that fits a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'t> {
    /// The piece.
    pub text: &'t str,
    /// The piece's tokens.
    pub tokens: usize,
    /// Whether more of the text follows.
    pub truncated: bool,
}

impl Tokenizer {
    /// The tokenizer of embeddings, and of chat models before `gpt-4o`.
    ///
    /// The first call unpacks the vocabulary, which takes some milliseconds.
    pub fn cl100k() -> Self {
        Self::named("cl100k_base")
    }

    /// The tokenizer of chat models from `gpt-4o` on.
    ///
    /// The first call unpacks the vocabulary, which takes some milliseconds.
    pub fn o200k() -> Self {
        Self::named("o200k_base")
    }

    fn named(name: &str) -> Self {
        let vocabulary = tiktoken::get_encoding(name).expect("the crate's features include both");
        Self { vocabulary }
    }

    /// The text's tokens.
    pub fn count(self, text: &str) -> usize {
        parts(text).map(|part| self.vocabulary.count(part)).sum()
    }

    /// The text's tokens if there are no more than `limit`. Stops soon after it passes the limit, so
    /// the text may have any size.
    pub fn count_to(self, text: &str, limit: usize) -> Option<usize> {
        let mut tokens = 0;
        for part in parts(text) {
            tokens += self.vocabulary.count(part);
            if tokens > limit {
                return None;
            }
        }
        Some(tokens)
    }

    /// The longest head of the text that has at most `limit` tokens and ends between two tokens and
    /// between two characters.
    pub fn truncate(self, text: &str, limit: usize) -> Piece<'_> {
        if let Some(tokens) = self.count_to(text, limit) {
            return Piece {
                text,
                tokens,
                truncated: false,
            };
        }
        // A token may end inside a character. The bytes that are left of it may count as more tokens
        // than before, so the head is counted again and loses characters until it fits.
        let mut end = self.end_of(text, limit);
        loop {
            let head = text.get(..end).unwrap_or_default();
            if let Some(tokens) = self.count_to(head, limit) {
                return Piece {
                    text: head,
                    tokens,
                    truncated: true,
                };
            }
            end = char_boundary(text, end.saturating_sub(1));
        }
    }

    /// Splits the text into pieces of at most `limit` tokens. Each is the [truncated](Self::truncate)
    /// rest of the text. A limit below four counts as four, because one character can have as many.
    pub fn split(self, text: &str, limit: usize) -> impl Iterator<Item = Piece<'_>> {
        let mut rest = text;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let piece = self.truncate(rest, limit.max(4));
            rest = rest.get(piece.text.len()..).unwrap_or_default();
            Some(piece)
        })
    }

    /// The byte at which the first `limit` tokens of a longer text end.
    fn end_of(self, text: &str, limit: usize) -> usize {
        let mut tokens = Vec::new();
        for part in parts(text) {
            tokens.extend(self.vocabulary.encode(part));
            if tokens.len() > limit {
                break;
            }
        }
        tokens.truncate(limit);
        char_boundary(text, self.vocabulary.decode(&tokens).len())
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokenizer").finish_non_exhaustive()
    }
}

/// The text in parts whose tokens add up to the text's: no token spans the space between two
/// words of ASCII letters, so the parts end there if they can.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (part, tail) = rest.split_at(part_end(rest));
        rest = tail;
        Some(part)
    })
}

fn part_end(text: &str) -> usize {
    let max = char_boundary(text, MAX_PART_BYTES.min(text.len()));
    let candidates = text.as_bytes().get(..max).unwrap_or_default();
    let between_words = candidates
        .windows(3)
        .skip(MIN_PART_BYTES)
        .position(|bytes| {
            matches!(bytes, [before, b' ', after]
                if before.is_ascii_alphabetic() && after.is_ascii_alphabetic())
        });
    between_words.map_or(max, |at| MIN_PART_BYTES + at + 1)
}

/// The last place at or before `end` that is between two characters.
fn char_boundary(text: &str, mut end: usize) -> usize {
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    end
}

#[cfg(test)]
mod tests;
