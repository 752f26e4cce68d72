//! Slugs, which identify neighborhoods.

use deunicode::deunicode_char;
use unicode_normalization::UnicodeNormalization;

use crate::text::{head, sha256_hex};

/// The length of the column `neighborhoods.slug`.
pub const MAX_LEN: usize = 255;

/// How many hex digits of a SHA-256 distinguish names with the same transliteration.
const DIGEST_LEN: usize = 12;

/// The slug of a name: lowercase ASCII letters, digits and single hyphens, never empty, at most [`MAX_LEN`]
/// characters.
///
/// Spellings that differ in case, accents, spaces or punctuation share a slug. Other scripts are transliterated.
/// That loses something: 東京 and 东京 both become "dong jing". So such a slug ends in a digest of the name. If
/// no letter or digit is left, the slug is only the digest.
///
/// ```
/// use sluice_runner::flow::store::slug::slug;
///
/// assert_eq!(slug("St. Johns"), slug("St Johns"));
/// assert_eq!(slug("Cañada del Oro"), "canada-del-oro");
/// assert!(slug("東京").starts_with("dong-jing-"));
/// assert_ne!(slug("東京"), slug("东京"));
/// ```
pub fn slug(name: &str) -> String {
    let spellings = Spellings::of(name);
    if spellings.ascii.is_empty() {
        let whole: String = name.trim().nfkc().collect();
        with_digest("n", &whole)
    } else if spellings.is_transliterated || spellings.ascii.len() > MAX_LEN {
        with_digest(&spellings.ascii, &spellings.original)
    } else {
        spellings.ascii
    }
}

/// The slug that the earlier implementation gave a name. `None` if it is the same as [`slug`]'s.
///
/// It dropped every character that is not an ASCII letter, a digit or a separator, so "Cañada" became "caada". Several
/// names may share such a slug. A row under it belongs to a name only if both have the same [`slug`].
///
/// ```
/// use sluice_runner::flow::store::slug::earlier_slug;
///
/// assert_eq!(earlier_slug("Cañada del Oro").as_deref(), Some("caada-del-oro"));
/// assert_eq!(earlier_slug("Main Street"), None);
/// ```
pub fn earlier_slug(name: &str) -> Option<String> {
    let mut earlier = Hyphenated::default();
    for c in name.to_lowercase().chars() {
        if c.is_ascii_alphanumeric() {
            earlier.push(c);
        } else if c == '-' || c.is_whitespace() {
            earlier.part();
        }
    }
    let earlier = earlier.text;
    let found = !earlier.is_empty() && earlier.len() <= MAX_LEN && earlier != slug(name);
    found.then_some(earlier)
}

/// A name in two spellings, made in one pass.
struct Spellings {
    /// Transliterated.
    ascii: String,
    /// With letters of other scripts left as they are.
    original: String,
    /// True if the two differ, because of another script or a pictograph.
    is_transliterated: bool,
}

impl Spellings {
    fn of(name: &str) -> Self {
        let mut ascii = Hyphenated::default();
        let mut original = Hyphenated::default();
        let mut is_transliterated = false;
        for c in name.nfkc() {
            let latin = deunicode_char(c);
            match Kind::of(c, latin) {
                Kind::Silent => {}
                Kind::Separator => {
                    ascii.part();
                    original.part();
                }
                Kind::Latin => {
                    ascii.push_words(latin.unwrap_or_default());
                    original.push_words(latin.unwrap_or_default());
                }
                Kind::Foreign => {
                    is_transliterated = true;
                    ascii.push_words(latin.unwrap_or_default());
                    c.to_lowercase().for_each(|lower| original.push(lower));
                }
            }
        }
        Self {
            ascii: ascii.text,
            original: original.text,
            is_transliterated,
        }
    }
}

/// What a character of a name does to its slug.
enum Kind {
    /// Nothing. These are accents, joiners and apostrophes ("O'Brien" is one word).
    Silent,
    /// It separates two words.
    Separator,
    /// An ASCII digit or a letter of the Latin script, accents and ligatures included.
    Latin,
    /// A letter of another script, or a symbol with a name. Its transliteration loses something.
    Foreign,
}

impl Kind {
    fn of(c: char, latin: Option<&str>) -> Self {
        let has_reading = latin.is_some_and(|text| text.contains(is_slug_char));
        if is_apostrophe(c) {
            Self::Silent
        } else if has_reading && is_latin(c) {
            Self::Latin
        } else if has_reading || latin.is_none() || c.is_alphanumeric() {
            Self::Foreign
        } else if latin == Some("") {
            Self::Silent
        } else {
            Self::Separator
        }
    }
}

/// Words joined by single hyphens.
#[derive(Default)]
struct Hyphenated {
    text: String,
    parted: bool,
}

impl Hyphenated {
    fn push(&mut self, c: char) {
        if self.parted && !self.text.is_empty() {
            self.text.push('-');
        }
        self.parted = false;
        self.text.push(c);
    }

    fn part(&mut self) {
        self.parted = true;
    }

    /// Pushes a transliteration, which may be several words, in upper case, with apostrophes.
    fn push_words(&mut self, words: &str) {
        for c in words.chars() {
            if is_slug_char(c) {
                self.push(c.to_ascii_lowercase());
            } else if !is_apostrophe(c) {
                self.part();
            }
        }
    }
}

fn is_slug_char(c: char) -> bool {
    c.is_ascii_alphanumeric()
}

/// Signs inside a word: apostrophes and the ʻokina, which looks like one.
fn is_apostrophe(c: char) -> bool {
    matches!(c, '\'' | '`' | '‘' | '’' | 'ʻ' | 'ʼ' | '′')
}

/// True for ASCII and for the blocks of the Latin script.
fn is_latin(c: char) -> bool {
    c.is_ascii()
        || matches!(c, '\u{c0}'..='\u{2af}' | '\u{1e00}'..='\u{1eff}')
        || matches!(c, '\u{2c60}'..='\u{2c7f}' | '\u{a720}'..='\u{a7ff}' | '\u{ab30}'..='\u{ab6f}')
}

/// A slug with the digest of `key` at its end, truncated to fit.
fn with_digest(slug: &str, key: &str) -> String {
    let room = MAX_LEN - DIGEST_LEN - 1;
    let digest = sha256_hex(key);
    let (slug, digest) = (head(slug, room), head(&digest, DIGEST_LEN));
    format!("{}-{digest}", slug.trim_end_matches('-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn plain_names_keep_the_slugs_they_always_had() {
        for (name, expected) in [
            ("Main Street", "main-street"),
            ("  Main   Street ", "main-street"),
            ("St. Johns", "st-johns"),
            ("St Johns", "st-johns"),
            ("O'Brien", "obrien"),
            ("O’Brien", "obrien"),
            ("ʻEwa Beach", "ewa-beach"),
            ("Smith & Wesson", "smith-wesson"),
            ("Ward 9 -- North", "ward-9-north"),
            ("O\"Brien\\s (upper), lower", "o-brien-s-upper-lower"),
            ("Unknown", "unknown"),
        ] {
            assert_eq!(slug(name), expected, "{name}");
        }
    }

    #[test]
    fn accents_ligatures_and_wide_letters_fold() {
        for (name, expected) in [
            ("Cañada del Oro", "canada-del-oro"),
            ("Can\u{303}ada del Oro", "canada-del-oro"),
            ("Łódź – Śródmieście", "lodz-srodmiescie"),
            ("q\u{303}ua\u{200d}y", "quay"),
            ("Straße", "strasse"),
            ("Æbleby", "aebleby"),
            ("Ｐａｒｋ", "park"),
            ("Đống Đa", "dong-da"),
        ] {
            assert_eq!(slug(name), expected, "{name}");
        }
    }

    #[test]
    fn other_scripts_are_transliterated_and_end_in_a_digest() {
        assert!(slug("Москва-Сокольники").starts_with("moskva-sokolniki-"));
        assert!(slug("👾 Street").starts_with("space-invader-street-"));
        let alike = ["東京", "东京", "Dong Jing", "動静", "どんぐ 京"];
        let unlike = ["👾 Street", "Space Invader Street", "Street", "🌲 Street"];
        for names in [alike.as_slice(), unlike.as_slice()] {
            let slugs: std::collections::BTreeSet<_> = names.iter().map(|n| slug(n)).collect();
            assert_eq!(slugs.len(), names.len(), "{slugs:?}");
        }
    }

    #[test]
    fn spellings_of_one_foreign_name_share_a_slug() {
        assert_eq!(slug("МОСКВА"), slug(" москва "));
        assert_eq!(slug("東京・下北沢"), slug("東京 下北沢"));
        assert_eq!(slug("が park"), slug("か\u{3099} Park"));
        assert_eq!(slug("Café 東京"), slug("cafe 東京"));
    }

    #[test]
    fn a_name_without_letters_is_its_digest() {
        let (bangs, asks) = (slug("!!!"), slug("???"));
        assert_eq!(bangs.len(), "n-".len() + DIGEST_LEN);
        assert!(bangs.starts_with("n-"));
        assert_ne!(bangs, asks);
        assert_eq!(slug(" !!! "), bangs);
    }

    #[test]
    fn long_names_are_truncated_and_stay_distinct() {
        let (a, b) = (slug(&"a".repeat(300)), slug(&"a".repeat(301)));
        assert_eq!(a.len(), MAX_LEN);
        assert_ne!(a, b);
        assert_eq!(slug(&"a".repeat(MAX_LEN)), "a".repeat(MAX_LEN));
    }

    #[test]
    fn the_earlier_rule_drops_what_is_not_ascii() {
        assert_eq!(
            earlier_slug("Cañada del Oro").as_deref(),
            Some("caada-del-oro")
        );
        assert_eq!(earlier_slug("A.B. Street").as_deref(), Some("ab-street"));
        assert_eq!(earlier_slug("Москва - Park").as_deref(), Some("park"));
        assert_eq!(earlier_slug("St. Johns"), None);
        assert_eq!(earlier_slug("O'Brien"), None);
        assert_eq!(earlier_slug("東京・下北沢"), None);
        assert_eq!(earlier_slug("!!!"), None);
    }

    proptest! {
        #[test]
        fn every_slug_is_well_formed(name in any::<String>()) {
            assert_well_formed(&slug(&name));
        }

        #[test]
        fn every_slug_of_latin_and_han_is_well_formed(name in "[ -~À-ɏ一-龥ぁ-ん'.!]{0,300}") {
            assert_well_formed(&slug(&name));
        }

        #[test]
        fn names_in_different_scripts_never_share_a_slug(
            latin in "[a-zA-Z]{1,12}( [a-zA-Z]{1,12})?",
            han in "[一-龥]{1,6}",
            other in "[一-龥]{1,6}",
            cyrillic in "[а-яА-Я]{1,12}",
        ) {
            prop_assert_ne!(slug(&latin), slug(&han));
            prop_assert_ne!(slug(&latin), slug(&cyrillic));
            prop_assert_ne!(slug(&han), slug(&cyrillic));
            prop_assert_eq!(slug(&han) == slug(&other), han == other);
        }

        #[test]
        fn an_earlier_slug_is_well_formed_and_another(name in any::<String>()) {
            if let Some(earlier) = earlier_slug(&name) {
                assert_well_formed(&earlier);
                prop_assert_ne!(earlier, slug(&name));
            }
        }
    }

    fn assert_well_formed(slug: &str) {
        assert!(!slug.is_empty() && slug.len() <= MAX_LEN, "{slug:?}");
        let ascii = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        assert!(slug.chars().all(ascii), "{slug:?}");
        assert!(!slug.starts_with('-') && !slug.ends_with('-'), "{slug:?}");
        assert!(!slug.contains("--"), "{slug:?}");
        assert_eq!(super::slug(slug), slug);
    }
}
