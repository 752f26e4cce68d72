//! Texts with more tokens than the model takes, in parts. The vector of such a text is the average of its parts.

use super::pack::Measured;
use crate::provider::{MAX_INPUT_TOKENS, Piece, Tokenizer};

/// The parts of a text, which together are the whole text.
#[derive(Debug)]
pub(super) struct Parts(Vec<Part>);

#[derive(Debug)]
pub(super) struct Part {
    text: String,
    tokens: usize,
}

impl Parts {
    /// Splits a text between tokens.
    pub(super) fn of(text: &str, tokenizer: Tokenizer) -> Self {
        let part = |piece: Piece<'_>| Part {
            text: piece.text.to_owned(),
            tokens: piece.tokens,
        };
        Self(tokenizer.split(text, MAX_INPUT_TOKENS).map(part).collect())
    }

    /// The parts to send. Blank parts are left out.
    pub(super) fn measured(&self) -> impl Iterator<Item = Measured<&Part>> {
        let parts = self.0.iter();
        parts.filter_map(|part| Measured::new(part, &part.text, part.tokens))
    }
}

impl AsRef<str> for Part {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

/// The weighted average of vectors of length 1. It has length 1 too. If the vectors cancel each other out, it is
/// the first of them.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the numbers of a vector of length 1 are at most 1"
)]
pub(super) fn average(weighted: &[(f64, Vec<f32>)]) -> Vec<f32> {
    let Some((_, first)) = weighted.first() else {
        return Vec::new();
    };
    let mut sum = vec![0.0_f64; first.len()];
    for (weight, vector) in weighted {
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
    fn the_average_weights_parts_by_their_tokens_and_has_length_one() {
        let average = average(&[(3.0, vec![1.0, 0.0]), (4.0, vec![0.0, 1.0])]);
        assert_eq!(average, [0.6, 0.8]);
        let opposite = [(1.0, vec![0.6, 0.8]), (1.0, vec![-0.6, -0.8])];
        assert_eq!(super::average(&opposite), [0.6, 0.8]);
        assert_eq!(super::average(&[(7.0, vec![0.6, 0.8])]), [0.6, 0.8]);
    }

    #[test]
    fn a_text_is_split_into_parts_and_blank_ones_are_not_sent() {
        let tokenizer = Tokenizer::cl100k();
        let text = format!("{}{}end", "gnome ".repeat(9_000), "\n \t".repeat(40_000));
        let parts = Parts::of(&text, tokenizer);
        let whole: String = parts.0.iter().map(|part| part.text.as_str()).collect();
        assert_eq!(whole, text);
        assert!(parts.0.len() > parts.measured().count());
        assert!(parts.0.iter().all(|part| part.tokens <= 8_192));
    }
}
