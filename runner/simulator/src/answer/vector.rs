//! Vectors from words: texts that share words, or parts of words, are near each other.

use std::collections::BTreeMap;

use super::affinity::words;
use crate::hash::hash;

/// A vector of length 1 that only the text, the model and the number of dimensions decide.
///
/// Each word, pair of neighbouring words and triple of letters is a feature. Its hash picks a
/// dimension and a sign, so unrelated features cancel out on average.
pub(super) fn embed(model: &str, text: &str, dimensions: usize) -> Vec<f32> {
    let mut vector = vec![0.0_f32; dimensions];
    for (feature, kind, weight) in features(text) {
        let hash = hash([model.as_bytes(), &[kind as u8], feature.as_bytes()]);
        let sign = if hash & 1 == 0 { 1.0 } else { -1.0 };
        if let Some(number) = vector.get_mut(remainder(hash >> 1, dimensions)) {
            *number += sign * weight;
        }
    }
    normalize(&mut vector);
    vector
}

/// What a feature is. The word `dog` and the triple `dog` are different features.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum FeatureKind {
    Word,
    Pair,
    Triple,
    /// A character, in texts without words.
    Sign,
}

/// The features of a text with their weights, always in the same order, because sums of floats
/// depend on it. Each repetition of a feature adds less.
fn features(text: &str) -> impl Iterator<Item = (String, FeatureKind, f32)> {
    let mut counts: BTreeMap<(String, FeatureKind), (f32, f32)> = BTreeMap::new();
    let mut add = |feature: String, kind: FeatureKind, weight: f32| {
        counts.entry((feature, kind)).or_insert((weight, 0.0)).1 += 1.0;
    };
    let words: Vec<String> = words(text).map(singular).collect();
    let is_telling = |word: &&String| !STOP_WORDS.contains(&word.as_str());
    for word in &words {
        let weight = if is_telling(&word) { 1.0 } else { 0.1 };
        add(word.clone(), FeatureKind::Word, weight);
    }
    for word in words.iter().filter(is_telling) {
        triples(word).for_each(|triple| add(triple, FeatureKind::Triple, 0.25));
    }
    let telling = words.iter().filter(is_telling);
    for (first, second) in telling.clone().zip(telling.skip(1)) {
        add(format!("{first} {second}"), FeatureKind::Pair, 0.5);
    }
    if words.is_empty() {
        let signs = text.chars().map(String::from);
        signs.for_each(|sign| add(sign, FeatureKind::Sign, 1.0));
    }
    counts
        .into_iter()
        .map(|((feature, kind), (weight, count))| (feature, kind, weight * count.sqrt()))
}

/// The word without the `s` of a plural.
fn singular(word: String) -> String {
    match word.strip_suffix('s') {
        Some(stem) if stem.len() > 2 && !stem.ends_with('s') => stem.to_owned(),
        _ => word,
    }
}

/// All runs of three letters. The ends of the word count as letters.
fn triples(word: &str) -> impl Iterator<Item = String> {
    let letters: Vec<char> = format!("^{word}$").chars().collect();
    (2..letters.len()).map(move |end| letters.iter().take(end + 1).skip(end - 2).collect())
}

fn normalize(vector: &mut [f32]) {
    let squares = vector.iter().map(|number| number * number);
    let length = squares.sum::<f32>().sqrt();
    if length > f32::EPSILON {
        for number in vector {
            *number /= length;
        }
    } else if let Some(first) = vector.first_mut() {
        // All features cancelled out, so any direction is as good as another.
        *first = 1.0;
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a remainder is below its divisor, a usize"
)]
fn remainder(hash: u64, divisor: usize) -> usize {
    (hash % (divisor as u64)) as usize
}

const STOP_WORDS: [&str; 48] = [
    "a", "about", "all", "also", "am", "an", "and", "any", "are", "at", "be", "been", "but", "by",
    "can", "do", "for", "from", "had", "has", "have", "i", "if", "in", "is", "it", "just", "me",
    "my", "no", "not", "of", "on", "or", "our", "so", "that", "the", "their", "there", "they",
    "this", "to", "was", "we", "were", "with", "you",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn nearness(a: &str, b: &str) -> f32 {
        let [a, b] = [a, b].map(|text| embed("text-embedding-3-small", text, 1536));
        a.iter().zip(&b).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn texts_about_the_same_thing_are_nearer() {
        let lost = "Lost dog near the park, brown collar, answers to Rufus. Please call me!";
        let found = "Found a brown dog with a collar by the park, is this your dog?";
        let noise = "Fireworks again at midnight, third night in a row. Anyone else awake?";
        let same = nearness(lost, found);
        let other = nearness(lost, noise);
        assert!(same > other + 0.15, "{same} against {other}");
    }

    #[test]
    fn plurals_case_and_stop_words_matter_little() {
        assert!(nearness("barking dogs", "BARKING DOG!") > 0.99);
        assert!(nearness("the raccoon is in the attic", "raccoon attic") > 0.9);
        let partial = nearness("neighbours", "neighbourhood");
        assert!((0.2..0.9).contains(&partial), "{partial}");
        assert!(nearness("這隻狗不見了", "這隻狗在公園") > nearness("這隻狗不見了", "昨晚很吵"));
    }

    #[test]
    fn a_vector_has_length_one_and_the_requested_dimensions() {
        for text in ["gnome", "🎆🎆", "...", "a", "x".repeat(20_000).as_str()] {
            for dimensions in [1, 2, 256, 3072] {
                let vector = embed("text-embedding-3-large", text, dimensions);
                let length: f32 = vector.iter().map(|number| number * number).sum();
                assert_eq!(vector.len(), dimensions);
                assert!((length - 1.0).abs() < 1e-4, "{text} {dimensions} {length}");
            }
        }
    }

    #[test]
    fn a_text_has_one_vector_for_each_model() {
        let embed = |model: &str| embed(model, "The gnome is back, and it brought friends.", 64);
        assert_eq!(
            embed("text-embedding-3-small"),
            embed("text-embedding-3-small")
        );
        assert_ne!(
            embed("text-embedding-3-small"),
            embed("text-embedding-3-large")
        );
    }
}
