//! The fingerprint, which says what question a stored score answers.

use serde::Serialize;

use super::rubric::{Anchors, Category, Rubric, Scale};
use crate::provider::ReasoningEffort;
use crate::text::{head, sha256_hex};

/// The version of the prompt's own words, stored with every score as `prompt_version`.
///
/// Raise it if the prompt or the schema asks for something else. It is part of the
/// [fingerprint](Rubric::fingerprint), so a new version makes every stored score stale.
pub const PROMPT_VERSION: &str = "sluice-1";

/// How many hexadecimal digits of the hash are kept. 64 bits are enough to distinguish the rubrics of a project, and
/// fit into a table on a terminal.
const DIGITS: usize = 16;

/// What changes the answers, in a fixed order. To rename or move a field changes every fingerprint.
#[derive(Serialize)]
struct Asked<'r> {
    prompt_version: &'static str,
    model: &'r str,
    temperature: Option<f64>,
    reasoning_effort: Option<ReasoningEffort>,
    scale: Scale,
    dimensions: Vec<AskedDimension<'r>>,
    categories: &'r [Category],
    max_categories: usize,
    text_limit: usize,
    summary_limit: usize,
}

/// A dimension without its weight.
#[derive(Serialize)]
struct AskedDimension<'r> {
    name: &'r str,
    description: &'r str,
    anchors: Option<&'r Anchors>,
}

impl Rubric {
    /// The fingerprint of what is asked: 16 hexadecimal digits, stored with each score. If the stored one differs, the
    /// post is due for a re-score.
    ///
    /// It covers [`PROMPT_VERSION`], the model, its temperature or reasoning effort, the scale, the dimensions and
    /// categories (names, descriptions, anchors, order), and the limits of categories, text and summary. It does not
    /// cover the weights, which change only final scores. Nor does it cover `posts_per_call`, `runs` and `texts`,
    /// which do not change what is asked about a post.
    ///
    /// ```
    /// use sluice_runner::scoring::Rubric;
    ///
    /// let mut rubric = Rubric::default();
    /// let before = rubric.fingerprint();
    /// rubric.dimensions[0].weight = 0.5;
    /// assert_eq!(rubric.fingerprint(), before);
    /// rubric.model = Some("gpt-4o".to_owned());
    /// assert_ne!(rubric.fingerprint(), before);
    /// ```
    pub fn fingerprint(&self) -> String {
        let asked = Asked {
            prompt_version: PROMPT_VERSION,
            model: self.model(),
            temperature: self.temperature,
            reasoning_effort: self.effort(),
            scale: self.scale,
            dimensions: self
                .dimensions
                .iter()
                .map(|d| AskedDimension {
                    name: &d.name,
                    description: &d.description,
                    anchors: d.anchors.as_ref(),
                })
                .collect(),
            categories: &self.categories,
            max_categories: self.max_categories,
            text_limit: self.text_limit,
            summary_limit: self.summary_limit,
        };
        // A struct of strings, numbers and lists always has a JSON form, and `Value` writes it.
        hash(&serde_json::json!(asked).to_string())
    }
}

fn hash(canonical: &str) -> String {
    head(&sha256_hex(canonical), DIGITS).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scoring::rubric::Texts;

    fn changed(change: impl FnOnce(&mut Rubric)) -> bool {
        let mut rubric = Rubric::default();
        change(&mut rubric);
        rubric.fingerprint() != Rubric::default().fingerprint()
    }

    #[test]
    fn what_is_hashed_is_sha256() {
        // The first eight bytes of the digest of "abc" in FIPS 180-4.
        assert_eq!(hash("abc"), "ba7816bf8f01cfea");
    }

    #[test]
    fn what_changes_the_answers_changes_it() {
        assert!(changed(|r| r.model = Some("x".to_owned())));
        assert!(changed(|r| r.temperature = Some(0.0)));
        assert!(changed(|r| r.reasoning_effort = Some(ReasoningEffort::Low)));
        assert!(changed(|r| r.scale.min = 0));
        assert!(changed(|r| r.dimensions[3].name.push('x')));
        assert!(changed(|r| r.dimensions[3].description.push('x')));
        assert!(changed(|r| r.dimensions[3].anchors = None));
        assert!(changed(|r| r.dimensions.swap(0, 1)));
        assert!(changed(|r| r.dimensions.truncate(6)));
        assert!(changed(|r| r.categories[0].description.push('x')));
        assert!(changed(|r| r.max_categories = 2));
        assert!(changed(|r| r.text_limit = 1_999));
        assert!(changed(|r| r.summary_limit = 499));
    }

    #[test]
    fn what_changes_only_ranking_or_price_does_not() {
        assert!(!changed(|r| r.dimensions[0].weight = 9.0));
        assert!(!changed(|r| r.posts_per_call = 10));
        assert!(!changed(|r| r.runs = 5));
        assert!(!changed(|r| r.texts = Some(Texts::EveryRun)));
    }

    /// A new fingerprint means that every stored score is paid for again. This test notices an unintended one.
    #[test]
    fn defaults_keep_their_fingerprints() {
        let earlier = Rubric::default().of_earlier_version();
        assert_eq!(earlier.fingerprint(), "4d1b5848099057dd");
        assert_eq!(Rubric::default().fingerprint(), "71a620ae5c4ce4ea");
    }
}
