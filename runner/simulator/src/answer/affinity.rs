//! How close a text is to a notion such as `drama` or `lost_pet`, by its words.

use crate::hash::{hash, unit};

/// The beginnings of words that belong to each dimension and category of the standard rubric.
const NOTIONS: &str = include_str!("notions.txt");

/// A text, divided into words once and then compared with many notions.
#[derive(Debug)]
pub(super) struct TextWords<'t> {
    text: &'t str,
    words: Vec<String>,
    sentences: usize,
}

impl<'t> TextWords<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let sentences = text
            .split(SENTENCE_ENDS)
            .filter(|part| !part.trim().is_empty());
        Self {
            text,
            words: words(text).collect(),
            sentences: sentences.count().max(1),
        }
    }

    /// The text's first sentence, but at most `limit` characters.
    pub(super) fn first_sentence(&self, limit: usize) -> String {
        let sentence = self.text.split(SENTENCE_ENDS).next().unwrap_or_default();
        sentence.trim().chars().take(limit).collect()
    }

    /// From 0 (nothing in common) to 1. Each word that belongs to the notion moves the value two
    /// fifths of the remaining way to 1.
    pub(super) fn affinity(&self, notion: &str) -> f64 {
        if notion == "readability" {
            return self.readability();
        }
        let stems = stems(notion);
        let belongs = |word: &&String| stems.iter().any(|stem| word.starts_with(stem));
        let hits = self.words.iter().filter(belongs).count();
        let marks = match notion {
            "discussion_spark" => self.text.matches('?').count(),
            "drama" | "emotional_intensity" => self.text.matches('!').count(),
            _ => 0,
        };
        let strength = i32::try_from(hits + marks.min(3)).unwrap_or(i32::MAX);
        1.0 - 0.6_f64.powi(strength)
    }

    /// A number from 0 to 1 that only the text and the notion decide, and the run of an ensemble if
    /// one is given.
    pub(super) fn chance(&self, notion: &str, run: Option<i64>) -> f64 {
        let run = run.map(i64::to_le_bytes);
        let run = run.as_ref().map_or(&[][..], |run| &run[..]);
        unit(hash([self.text.as_bytes(), notion.as_bytes(), run]))
    }

    /// Sentences of about 14 words are the most readable.
    #[expect(clippy::cast_precision_loss, reason = "no text has 2^53 words")]
    fn readability(&self) -> f64 {
        let words_per_sentence = self.words.len() as f64 / self.sentences as f64;
        (1.0 - (words_per_sentence - 14.0).abs() / 28.0).max(0.0)
    }
}

const SENTENCE_ENDS: [char; 4] = ['.', '!', '?', '\n'];

/// The words of a text in lower case.
pub(super) fn words(text: &str) -> impl Iterator<Item = String> {
    let words = text.split(|c: char| !c.is_alphanumeric());
    words.filter(|word| !word.is_empty()).map(str::to_lowercase)
}

/// The beginnings of a notion's words. An unlisted notion has the parts of its own name.
fn stems(notion: &str) -> Vec<&str> {
    let mut lines = NOTIONS.lines().filter_map(|line| line.split_once(": "));
    match lines.find(|(name, _)| *name == notion) {
        Some((_, stems)) => stems.split(' ').collect(),
        None => notion
            .split(['_', '-', ' '])
            .map(|part| part.get(..5).unwrap_or(part))
            .filter(|stem| stem.len() > 2)
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_move_a_text_towards_a_notion() {
        let theft = TextWords::new("Someone stole a package. Police have the thief on camera.");
        assert!(theft.affinity("crime") > 0.8);
        assert!(theft.affinity("wildlife") < 1e-9);
        let coyote = TextWords::new("Two coyotes by the creek.");
        assert!(coyote.affinity("wildlife") > 0.3);
    }

    #[test]
    fn an_unlisted_notion_has_the_words_of_its_name() {
        let text = TextWords::new("So much kindness on this street, what a kind lot");
        assert!(text.affinity("neighbourly_kindness") > 0.3);
        assert!(text.affinity("gossip_potential") < 1e-9);
    }

    #[test]
    fn short_sentences_are_more_readable_than_one_long_one() {
        let plain = TextWords::new(
            "The library opens again on Monday. There will be cake for everyone who comes.",
        );
        let endless = TextWords::new(&"and then ".repeat(60)).affinity("readability");
        assert!(plain.affinity("readability") > endless + 0.5);
    }

    #[test]
    fn chance_depends_on_text_and_run() {
        let chance = |text, run| TextWords::new(text).chance("drama", run).to_bits();
        assert_eq!(chance("a", None), chance("a", None));
        assert_ne!(chance("a", None), chance("b", None));
        assert_ne!(chance("a", Some(1)), chance("a", Some(2)));
    }

    #[test]
    fn the_first_sentence_ends_between_characters() {
        let reading = TextWords::new("¡Ñandú suelto! Cuidado.");
        assert_eq!(reading.first_sentence(50), "¡Ñandú suelto");
        assert_eq!(reading.first_sentence(2), "¡Ñ");
    }
}
