//! The final score: one number from a post's scores, the weights and the novelty of its subject.

use std::collections::BTreeMap;

use serde_json::Value;

use super::rubric::Rubric;

/// What a dimension that a post has no score for counts as, until the post is re-scored.
///
/// It is used in the sum and never stored: see "A missing dimension" in docs/scoring.md.
/// The database's formula has the same number in one place of its own.
pub const MISSING_DIMENSION: f64 = 5.0;

/// The highest score of a dimension, and the highest final score.
const HIGHEST: f64 = 10.0;

/// How much each dimension counts: checked, so that the formula can divide by their sum.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights(BTreeMap<String, f64>);

/// Weights by which nothing can be ranked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeightsError {
    /// Not a JSON object of numbers.
    #[error("weights must be an object such as {{\"drama\": 1.5}}, every value a number")]
    NotAnObject,
    /// A weight below zero, infinite or not a number.
    #[error("the weight of `{dimension}` must be a number ≥ 0")]
    BadWeight {
        /// The dimension's name.
        dimension: String,
    },
    /// No weight above zero, or none at all.
    #[error("at least one weight must be above 0")]
    AllZero,
    /// The weights are so large that their sum is infinite.
    #[error("the weights are too large to be added up")]
    TooLarge,
}

impl Weights {
    /// Weights by the dimensions' names.
    ///
    /// # Errors
    /// A weight that is negative or not finite; no weight above zero; a sum that overflows.
    pub fn new(weights: BTreeMap<String, f64>) -> Result<Self, WeightsError> {
        let bad = weights
            .iter()
            .find(|(_, weight)| !(**weight >= 0.0 && weight.is_finite()));
        if let Some((dimension, _)) = bad {
            return Err(WeightsError::BadWeight {
                dimension: dimension.clone(),
            });
        }
        let weights = Self(weights);
        let highest = weights.highest_sum();
        if highest.is_infinite() {
            Err(WeightsError::TooLarge)
        } else if highest > 0.0 {
            Ok(weights)
        } else {
            Err(WeightsError::AllZero)
        }
    }

    /// Weights as they are stored in `weight_configs.weights`: an object of numbers.
    ///
    /// # Errors
    /// As [`new`](Self::new), and where the value is anything else.
    pub fn from_json(stored: &Value) -> Result<Self, WeightsError> {
        let object = stored.as_object().ok_or(WeightsError::NotAnObject)?;
        let weights = object
            .iter()
            .map(|(name, weight)| Some((name.clone(), weight.as_f64()?)))
            .collect::<Option<_>>();
        Self::new(weights.ok_or(WeightsError::NotAnObject)?)
    }

    /// The weights of a rubric.
    ///
    /// # Errors
    /// As [`new`](Self::new); not for a rubric that has been [checked](Rubric::check).
    pub fn of_rubric(rubric: &Rubric) -> Result<Self, WeightsError> {
        Self::new(
            rubric
                .dimensions
                .iter()
                .map(|d| (d.name.clone(), d.weight))
                .collect(),
        )
    }

    /// The dimensions that count although the rubric does not have them, in alphabetical order.
    /// Posts are never scored on these, so each adds the same [`MISSING_DIMENSION`] to every sum:
    /// worth a warning.
    pub fn unknown_dimensions<'w>(&'w self, rubric: &Rubric) -> Vec<&'w str> {
        self.iter()
            .filter(|&(name, weight)| weight > 0.0 && rubric.dimension(name).is_none())
            .map(|(name, _)| name)
            .collect()
    }

    /// What to say of [these](Self::unknown_dimensions), where there are any.
    pub fn warning(&self, rubric: &Rubric) -> Option<String> {
        let unknown = self.unknown_dimensions(rubric);
        (!unknown.is_empty()).then(|| {
            format!(
                "the rubric has no {}: weights for what is never scored only draw all posts \
                 towards the middle",
                unknown.join(", ")
            )
        })
    }

    /// The weights in alphabetical order of their dimensions: the order of the sums.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().map(|(name, weight)| (name.as_str(), *weight))
    }

    /// What the weighted scores of a perfect post add up to.
    fn highest_sum(&self) -> f64 {
        self.iter().map(|(_, weight)| HIGHEST * weight).sum()
    }
}

/// A post's final score, from 0 to 10: the weighted mean of its scores, times the novelty
/// multiplier, clamped.
///
/// The sums run over the weights in alphabetical order, in double precision, so that the database's
/// formula gives the same number to 1e-9. A dimension without a weight does not count; one without
/// a score counts as [`MISSING_DIMENSION`].
///
/// ```
/// use std::collections::BTreeMap;
///
/// use sluice_runner::scoring::{Weights, final_score};
///
/// let weights = Weights::from_json(&serde_json::json!({ "drama": 1.5, "absurdity": 2.5 }))?;
/// let scores = BTreeMap::from([("drama".to_owned(), 9.0)]);
/// // (2.5 × 5 + 1.5 × 9) / (25 + 15) × 10 = 6.5, and × 1.4 = 9.1.
/// assert!((final_score(&scores, &weights, 1.4) - 9.1).abs() < 1e-9);
/// # Ok::<(), sluice_runner::scoring::WeightsError>(())
/// ```
pub fn final_score(scores: &BTreeMap<String, f64>, weights: &Weights, novelty: f64) -> f64 {
    let sum: f64 = weights
        .iter()
        .map(|(name, weight)| scores.get(name).copied().unwrap_or(MISSING_DIMENSION) * weight)
        .sum();
    (sum / weights.highest_sum() * HIGHEST * novelty).clamp(0.0, HIGHEST)
}

/// The scores of a stored `llm_scores.scores`; what is not a number is left out, and so counts as
/// missing.
pub fn stored_scores(stored: &Value) -> BTreeMap<String, f64> {
    let entries = stored.as_object().into_iter().flatten();
    entries
        .filter_map(|(name, score)| Some((name.clone(), score.as_f64()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn default_weights() -> Weights {
        Weights::of_rubric(&Rubric::default()).unwrap()
    }

    fn score(scores: &Value, weights: &Weights, novelty: f64) -> f64 {
        final_score(&stored_scores(scores), weights, novelty)
    }

    fn assert_near(found: f64, expected: f64) {
        assert!(
            (found - expected).abs() < 1e-9,
            "{found} instead of {expected}"
        );
    }

    /// The worked example of docs/scoring.md.
    #[test]
    fn the_formula_by_hand() {
        let scores = json!({
            "absurdity": 8, "discussion_spark": 6, "drama": 7, "emotional_intensity": 5,
            "news_value": 2, "podcast_worthy": 9, "readability": 7
        });
        // 20 + 6 + 10.5 + 6 + 2 + 22.5 + 8.4 = 75.4, of 10 × 10.9 = 109.
        assert_near(score(&scores, &default_weights(), 1.0), 754.0 / 109.0);
        assert_near(score(&scores, &default_weights(), 1.25), 942.5 / 109.0);
        assert_near(score(&scores, &default_weights(), 1.5), 10.0);
    }

    #[test]
    fn a_missing_dimension_counts_as_five() {
        assert_near(score(&json!({}), &default_weights(), 1.0), 5.0);
        let given = json!({ "drama": 5, "readability": 5 });
        assert_near(score(&given, &default_weights(), 1.0), 5.0);
        // Five points more than the middle, at 1.5 of 10.9.
        let one = json!({ "drama": 10 });
        assert_near(score(&one, &default_weights(), 1.0), 5.0 + 7.5 / 10.9);
    }

    #[test]
    fn what_is_no_number_is_missing_and_what_has_no_weight_is_ignored() {
        let odd = json!({ "drama": "10", "readability": null, "absurdity": [1], "unheard_of": 10 });
        assert_near(score(&odd, &default_weights(), 1.0), 5.0);
        assert!(stored_scores(&json!([1, 2])).is_empty());
    }

    #[test]
    fn it_is_clamped_at_both_ends() {
        let weights = Weights::from_json(&json!({ "a": 1 })).unwrap();
        assert_near(score(&json!({ "a": 400 }), &weights, 1.0), 10.0);
        assert_near(score(&json!({ "a": -400 }), &weights, 1.0), 0.0);
    }

    #[test]
    fn weights_that_rank_nothing_are_refused() {
        let bad = |dimension: &str| WeightsError::BadWeight {
            dimension: dimension.to_owned(),
        };
        for (stored, error) in [
            (json!({}), WeightsError::AllZero),
            (json!({ "a": 0, "b": 0.0 }), WeightsError::AllZero),
            (json!({ "a": 1, "b": -1 }), bad("b")),
            (json!({ "a": "1" }), WeightsError::NotAnObject),
            (json!({ "a": null }), WeightsError::NotAnObject),
            (json!([1]), WeightsError::NotAnObject),
            (json!({ "a": 1e308, "b": 1e308 }), WeightsError::TooLarge),
        ] {
            assert_eq!(Weights::from_json(&stored), Err(error), "{stored}");
        }
        for weight in [f64::NAN, f64::INFINITY] {
            assert_eq!(
                Weights::new([("a".to_owned(), weight)].into()),
                Err(bad("a"))
            );
        }
    }

    #[test]
    fn weights_without_a_dimension_are_pointed_out() {
        let weights =
            Weights::from_json(&json!({ "drama": 1, "zest": 2, "charm": 1, "x": 0 })).unwrap();
        assert_eq!(
            weights.unknown_dimensions(&Rubric::default()),
            ["charm", "zest"]
        );
        let warning = weights.warning(&Rubric::default()).unwrap();
        assert!(warning.contains("no charm, zest:"), "{warning}");
        assert_eq!(default_weights().warning(&Rubric::default()), None);
    }

    fn any_weights() -> impl Strategy<Value = Weights> {
        prop::collection::btree_map("[a-e]", 0.0..20.0_f64, 1..5)
            .prop_filter_map("all zero", |weights| Weights::new(weights).ok())
    }

    fn any_scores() -> impl Strategy<Value = BTreeMap<String, f64>> {
        prop::collection::btree_map("[a-e]", 1.0..10.0_f64, 0..5)
    }

    proptest! {
        #[test]
        fn it_is_a_mean_of_the_scores(scores in any_scores(), weights in any_weights()) {
            let counted = || weights.iter().map(|(n, _)| scores.get(n).copied().unwrap_or(5.0));
            let lowest = counted().fold(f64::INFINITY, f64::min);
            let highest = counted().fold(0.0, f64::max);
            let found = final_score(&scores, &weights, 1.0);
            prop_assert!(lowest - 1e-9 <= found && found <= highest + 1e-9);
        }

        #[test]
        fn only_the_ratio_of_weights_counts(
            scores in any_scores(), weights in any_weights(), factor in 0.01..100.0_f64
        ) {
            let scaled = weights.iter().map(|(n, w)| (n.to_owned(), w * factor)).collect();
            let scaled = Weights::new(scaled).unwrap();
            let (one, other) = (final_score(&scores, &weights, 1.0), final_score(&scores, &scaled, 1.0));
            prop_assert!((one - other).abs() < 1e-9);
        }

        #[test]
        fn storing_the_five_would_change_nothing(scores in any_scores(), weights in any_weights()) {
            let mut filled = scores.clone();
            for (name, _) in weights.iter() {
                filled.entry(name.to_owned()).or_insert(MISSING_DIMENSION);
            }
            let difference =
                final_score(&scores, &weights, 1.2) - final_score(&filled, &weights, 1.2);
            prop_assert!(difference.abs() < 1e-12);
        }

        #[test]
        fn it_never_leaves_its_range(
            scores in prop::collection::btree_map("[a-e]", -1e6..1e6_f64, 0..5),
            weights in any_weights(),
            novelty in 0.0..10.0_f64,
        ) {
            prop_assert!((0.0..=10.0).contains(&final_score(&scores, &weights, novelty)));
        }
    }
}
