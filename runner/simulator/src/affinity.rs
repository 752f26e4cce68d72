//! How near a text is to a notion such as `drama` or `lost_pet`, judged by its words.

use super::hash::{hash, unit};

/// A text, read once and then held against many notions.
#[derive(Debug)]
pub(super) struct Reading<'t> {
    text: &'t str,
    words: Vec<String>,
    sentences: usize,
}

impl<'t> Reading<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let words = text
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty());
        let enders = text.split(['.', '!', '?', '\n']);
        Self {
            text,
            words: words.map(str::to_lowercase).collect(),
            sentences: enders.filter(|part| !part.trim().is_empty()).count().max(1),
        }
    }

    /// The text's first sentence, cut after `limit` characters.
    pub(super) fn first_sentence(&self, limit: usize) -> String {
        let end = self
            .text
            .find(['.', '!', '?', '\n'])
            .unwrap_or(self.text.len());
        let sentence = self.text.get(..end).unwrap_or(self.text).trim();
        sentence.chars().take(limit).collect()
    }

    /// From 0 (nothing in common) to 1: each word that belongs to the notion takes away two fifths of
    /// what is missing.
    pub(super) fn affinity(&self, notion: &str) -> f64 {
        if notion == "readability" {
            return self.readability();
        }
        let hits = self
            .words
            .iter()
            .filter(|word| belongs(word, notion))
            .count();
        let marks = match notion {
            "discussion_spark" => self.text.matches('?').count(),
            "drama" | "emotional_intensity" => self.text.matches('!').count(),
            _ => 0,
        };
        let strength = i32::try_from(hits + marks.min(3)).unwrap_or(i32::MAX);
        1.0 - 0.6_f64.powi(strength)
    }

    /// A number from 0 to 1 that is the text's own for this notion, in this run of an ensemble where
    /// one is given.
    pub(super) fn chance(&self, notion: &str, run: Option<i64>) -> f64 {
        let run = run.map(i64::to_le_bytes);
        let run = run.as_ref().map_or(&[][..], |run| &run[..]);
        unit(hash([self.text.as_bytes(), notion.as_bytes(), run]))
    }

    /// Sentences of some fourteen words read best.
    #[expect(clippy::cast_precision_loss, reason = "no text has 2^53 words")]
    fn readability(&self) -> f64 {
        let words_a_sentence = self.words.len() as f64 / self.sentences as f64;
        (1.0 - (words_a_sentence - 14.0).abs() / 28.0).max(0.0)
    }
}

/// Whether the word begins as one of the notion's words does. A notion that is not listed has the
/// parts of its own name.
fn belongs(word: &str, notion: &str) -> bool {
    match NOTIONS.iter().find(|(name, _)| *name == notion) {
        Some((_, stems)) => stems.split(' ').any(|stem| word.starts_with(stem)),
        None => notion.split(['_', '-', ' ']).any(|part| {
            let stem = part.get(..5).unwrap_or(part);
            stem.len() > 2 && word.starts_with(stem)
        }),
    }
}

/// The beginnings of words that belong to the rubric's dimensions and categories. `drama` is both.
const NOTIONS: [(&str, &str); 13] = [
    (
        "absurdity",
        "gnome llama alien costume weird bizarre strange inflatable flamingo clown goose \
         geese ufo haunt ghost mannequin banana",
    ),
    (
        "discussion_spark",
        "vote council parking opinion leash tax ban unpopular agree disagree school rent \
         election policy debate thoughts",
    ),
    (
        "drama",
        "feud argu scream yell furious confront threat hoa accus lawsuit police shout \
         fight fought rude petty war revenge",
    ),
    (
        "emotional_intensity",
        "heart angry anger love devastat cry crie tear furious scare grateful sad terrif \
         outrag worr desperate thank miss hate",
    ),
    (
        "news_value",
        "fire police road clos outage council storm flood evacuat crash school water \
         power meeting construct shoot accident",
    ),
    (
        "podcast_worthy",
        "gnome myster saga secret feud ghost revenge legend twist caught confess update \
         story unbeliev plot conspir",
    ),
    (
        "crime",
        "stole steal theft thie burglar robb vandal police gun package scam crime arrest \
         broke smash",
    ),
    (
        "humor",
        "funny lol haha joke hilarious laugh gnome goose clown banana flamingo ridiculous",
    ),
    (
        "local_news",
        "council road clos meeting school election construct library open store \
         restaurant permit outage city",
    ),
    (
        "lost_pet",
        "lost missing dog cat pet collar parrot microchip pup kitten leash tortoise \
         rabbit",
    ),
    (
        "noise",
        "loud nois firework music bark blower party horn drill siren quiet drum bang \
         alarm",
    ),
    (
        "suspicious",
        "suspicious prowl stranger lurk casing camera van knock creep follow flashlight \
         trespass",
    ),
    (
        "wildlife",
        "coyote raccoon bear deer owl snake hawk fox turkey goose geese skunk possum \
         squirrel bobcat alligator moose heron bee",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_draw_a_text_towards_a_notion() {
        let theft = Reading::new("Someone stole a package. Police have the thief on camera.");
        assert!(theft.affinity("crime") > 0.8);
        assert!(theft.affinity("wildlife") < 1e-9);
        let coyote = Reading::new("Two coyotes by the creek.");
        assert!(coyote.affinity("wildlife") > 0.3);
    }

    #[test]
    fn a_notion_of_ones_own_is_known_by_its_name() {
        let text = Reading::new("So much kindness on this street, what a kind lot");
        assert!(text.affinity("neighbourly_kindness") > 0.3);
        assert!(text.affinity("gossip_potential") < 1e-9);
    }

    #[test]
    fn plain_sentences_read_better_than_one_without_end() {
        let plain = Reading::new(
            "The library opens again on Monday. There will be cake for everyone who comes.",
        );
        let endless = Reading::new(&"and then ".repeat(60)).affinity("readability");
        assert!(plain.affinity("readability") > endless + 0.5);
    }

    #[test]
    fn chance_is_the_texts_own() {
        let chance = |text, run| Reading::new(text).chance("drama", run).to_bits();
        assert_eq!(chance("a", None), chance("a", None));
        assert_ne!(chance("a", None), chance("b", None));
        assert_ne!(chance("a", Some(1)), chance("a", Some(2)));
    }

    #[test]
    fn the_first_sentence_is_cut_between_characters() {
        let reading = Reading::new("¡Ñandú suelto! Cuidado.");
        assert_eq!(reading.first_sentence(50), "¡Ñandú suelto");
        assert_eq!(reading.first_sentence(2), "¡Ñ");
    }
}
