//! The formula of the final score, written a second time. The product computes it only in SQL.

use std::collections::BTreeMap;

use serde_json::Value;

/// What a dimension without a score counts as. It is used in the sum and never stored.
const MISSING_DIMENSION: f64 = 5.0;
/// The highest score of a dimension, and the highest final score.
const HIGHEST: f64 = 10.0;

/// How much each dimension counts.
pub type Weights = BTreeMap<String, f64>;

/// A post's final score, from 0 to 10: the weighted mean of its scores, times the novelty multiplier, clamped.
///
/// The sums run over the weights in alphabetical order. A dimension without a weight does not count. One without
/// a score counts as 5.
pub fn final_score(scores: &BTreeMap<String, f64>, weights: &Weights, novelty: f64) -> f64 {
    let score = |name: &String| scores.get(name).copied().unwrap_or(MISSING_DIMENSION);
    let sum: f64 = weights
        .iter()
        .map(|(name, weight)| score(name) * weight)
        .sum();
    let highest: f64 = weights.values().map(|weight| HIGHEST * weight).sum();
    (sum / highest * HIGHEST * novelty).clamp(0.0, HIGHEST)
}

/// The scores of a stored `llm_scores.scores`. Values that are not numbers count as missing.
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

    use sluice_runner::scoring::Rubric;

    use super::*;

    fn default_weights() -> Weights {
        let dimensions = Rubric::default().dimensions.into_iter();
        dimensions.map(|d| (d.name, d.weight)).collect()
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
    fn other_values_count_as_missing_and_dimensions_without_a_weight_are_ignored() {
        let odd = json!({ "drama": "10", "readability": null, "absurdity": [1], "unheard_of": 10 });
        assert_near(score(&odd, &default_weights(), 1.0), 5.0);
        assert!(stored_scores(&json!([1, 2])).is_empty());
    }

    #[test]
    fn it_is_clamped_at_both_ends() {
        let weights = Weights::from([("a".to_owned(), 1.0)]);
        assert_near(score(&json!({ "a": 400 }), &weights, 1.0), 10.0);
        assert_near(score(&json!({ "a": -400 }), &weights, 1.0), 0.0);
    }

    fn any_weights() -> impl Strategy<Value = Weights> {
        prop::collection::btree_map("[a-e]", 0.0..20.0_f64, 1..5)
            .prop_filter("all zero", |weights| {
                weights.values().any(|weight| *weight > 0.0)
            })
    }

    fn any_scores() -> impl Strategy<Value = BTreeMap<String, f64>> {
        prop::collection::btree_map("[a-e]", 1.0..10.0_f64, 0..5)
    }

    proptest! {
        #[test]
        fn it_is_a_mean_of_the_scores(scores in any_scores(), weights in any_weights()) {
            let counted = || weights.keys().map(|n| scores.get(n).copied().unwrap_or(5.0));
            let lowest = counted().fold(f64::INFINITY, f64::min);
            let highest = counted().fold(0.0, f64::max);
            let found = final_score(&scores, &weights, 1.0);
            prop_assert!(lowest - 1e-9 <= found && found <= highest + 1e-9);
        }

        #[test]
        fn only_the_ratio_of_weights_counts(
            scores in any_scores(), weights in any_weights(), factor in 0.01..100.0_f64
        ) {
            let scaled: Weights = weights.iter().map(|(n, w)| (n.clone(), w * factor)).collect();
            let (one, other) = (final_score(&scores, &weights, 1.0), final_score(&scores, &scaled, 1.0));
            prop_assert!((one - other).abs() < 1e-9);
        }

        #[test]
        fn storing_the_five_would_change_nothing(scores in any_scores(), weights in any_weights()) {
            let mut filled = scores.clone();
            for name in weights.keys() {
                filled.entry(name.clone()).or_insert(MISSING_DIMENSION);
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
