//! Texts that are longer than the provider takes, in parts: the average of their vectors is the text's.

use super::embedder::Hashed;
use super::pack::Measured;
use crate::provider::{MAX_INPUT_TOKENS, Tokenizer};

/// A text in parts, and the rows that have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parted {
    /// Never none; all with the same hash.
    pub(super) rows: Vec<Hashed>,
    parts: Vec<Part>,
}

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    text: String,
    tokens: u32,
}

impl Parted {
    /// The text of a row, split between tokens.
    pub(super) fn new(row: Hashed, text: &str, tokenizer: Tokenizer) -> Self {
        let part = |cut: crate::provider::Cut<'_>| Part {
            text: cut.text.to_owned(),
            tokens: u32::try_from(cut.tokens).unwrap_or(u32::MAX),
        };
        Self {
            rows: vec![row],
            parts: tokenizer.split(text, MAX_INPUT_TOKENS).map(part).collect(),
        }
    }

    /// Whether another row has the same text.
    pub(super) fn is_of(&self, row: &Hashed) -> bool {
        self.rows
            .first()
            .is_some_and(|first| first.hash == row.hash)
    }

    /// The parts to be sent: not the blank ones, which mean nothing.
    pub(super) fn measured(&self) -> impl Iterator<Item = Measured<&Part>> {
        let parts = self.parts.iter();
        parts.filter_map(|part| Measured::new(part, &part.text, part.tokens))
    }
}

impl AsRef<str> for Part {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

/// The average of vectors by their weights, of length 1 as each of them is. Vectors that cancel each other out
/// have no direction together: then it is the first of them.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the numbers of a vector of length 1 are at most 1"
)]
pub(super) fn average(weighed: &[(f64, Vec<f32>)]) -> Vec<f32> {
    let Some((_, first)) = weighed.first() else {
        return Vec::new();
    };
    let mut sum = vec![0.0_f64; first.len()];
    for (weight, vector) in weighed {
        for (total, number) in sum.iter_mut().zip(vector) {
            *total += weight * f64::from(*number);
        }
    }
    let length = sum.iter().map(|number| number * number).sum::<f64>().sqrt();
    if length < f64::from(f32::MIN_POSITIVE) {
        return first.clone();
    }
    sum.into_iter()
        .map(|number| (number / length) as f32)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_weighs_parts_by_their_tokens_and_has_length_one() {
        let average = average(&[(3.0, vec![1.0, 0.0]), (4.0, vec![0.0, 1.0])]);
        assert_eq!(average, [0.6, 0.8]);
        let opposite = [(1.0, vec![0.6, 0.8]), (1.0, vec![-0.6, -0.8])];
        assert_eq!(super::average(&opposite), [0.6, 0.8]);
        assert_eq!(super::average(&[(7.0, vec![0.6, 0.8])]), [0.6, 0.8]);
    }

    #[test]
    fn a_text_is_split_into_parts_and_blank_ones_are_not_sent() {
        let tokenizer = Tokenizer::for_model("text-embedding-3-small");
        let text = format!("{}{}end", "gnome ".repeat(9_000), "\n \t".repeat(40_000));
        let row = Hashed {
            id: uuid::Uuid::nil(),
            hash: "h".into(),
        };
        let parted = Parted::new(row, &text, tokenizer);
        let whole: String = parted.parts.iter().map(|part| part.text.as_str()).collect();
        assert_eq!(whole, text);
        assert!(parted.parts.len() > parted.measured().count());
        assert!(parted.parts.iter().all(|part| part.tokens <= 8_192));
    }
}
