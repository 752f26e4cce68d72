//! How far two ways to score agree about the same posts.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

/// What one way says about a post: its scores and its categories.
pub type Judgement = (BTreeMap<String, f64>, Vec<String>);

/// How far two ways agree.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Agreement {
    /// By dimension, in the order of their names.
    pub dimensions: Vec<DimensionAgreement>,
    /// The part of all categories of a post that both name, on average. Null without posts.
    pub category_overlap: Option<f64>,
}

/// How far two ways agree about one dimension.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DimensionAgreement {
    /// The dimension.
    pub name: String,
    /// Posts that both have a score for.
    pub posts: usize,
    /// How much higher the second way scores, on average.
    pub mean_difference: f64,
    /// Spearman's rank correlation, from -1 to 1. Null if one way gives every post the same score.
    pub rank_correlation: Option<f64>,
}

impl Agreement {
    /// Compares what two ways say about each post.
    pub fn of(pairs: &[(Judgement, Judgement)]) -> Self {
        let mut scores: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
        for ((first, _), (second, _)) in pairs {
            for (name, score) in first {
                if let Some(other) = second.get(name) {
                    scores.entry(name).or_default().push((*score, *other));
                }
            }
        }
        let overlaps = pairs
            .iter()
            .map(|((_, first), (_, second))| overlap(first, second));
        Self {
            dimensions: scores
                .into_iter()
                .map(|(name, pairs)| dimension(name, &pairs))
                .collect(),
            category_overlap: mean(&overlaps.collect::<Vec<_>>()),
        }
    }
}

fn dimension(name: &str, pairs: &[(f64, f64)]) -> DimensionAgreement {
    let differences: Vec<f64> = pairs.iter().map(|(first, second)| second - first).collect();
    let (first, second): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    DimensionAgreement {
        name: name.to_owned(),
        posts: pairs.len(),
        mean_difference: mean(&differences).unwrap_or_default(),
        rank_correlation: correlation(&ranks(&first), &ranks(&second)),
    }
}

/// The part of both lists that is in both. Two empty lists agree.
fn overlap(first: &[String], second: &[String]) -> f64 {
    let (first, second): (BTreeSet<_>, BTreeSet<_>) =
        (first.iter().collect(), second.iter().collect());
    let all = first.union(&second).count();
    if all == 0 {
        return 1.0;
    }
    first.intersection(&second).count() as f64 / all as f64
}

/// The rank of each value, from 1. Equal values share the mean of their ranks.
fn ranks(values: &[f64]) -> Vec<f64> {
    let below = |value: &f64| values.iter().filter(|other| *other < value).count();
    let equal = |value: &f64| {
        values
            .iter()
            .filter(|other| other.total_cmp(value).is_eq())
            .count()
    };
    let rank = |value: &f64| below(value) as f64 + f64::midpoint(equal(value) as f64, 1.0);
    values.iter().map(rank).collect()
}

/// Pearson's correlation. `None` if one side does not vary.
fn correlation(first: &[f64], second: &[f64]) -> Option<f64> {
    let (mean_first, mean_second) = (mean(first)?, mean(second)?);
    let (mut both, mut of_first, mut of_second) = (0.0, 0.0, 0.0);
    for (a, b) in first.iter().zip(second) {
        let (a, b) = (a - mean_first, b - mean_second);
        both += a * b;
        of_first += a * a;
        of_second += b * b;
    }
    let spread = f64::sqrt(of_first * of_second);
    (spread > 0.0).then(|| both / spread)
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judgement(drama: f64, categories: &[&str]) -> Judgement {
        let categories = categories.iter().map(|&name| name.to_owned());
        ([("drama".to_owned(), drama)].into(), categories.collect())
    }

    #[test]
    fn agreement_is_counted_by_hand() {
        let pairs = [
            (judgement(1.0, &["noise"]), judgement(2.0, &["noise"])),
            (
                judgement(2.0, &["noise", "crime"]),
                judgement(2.0, &["crime"]),
            ),
            (judgement(5.0, &[]), judgement(9.0, &[])),
        ];
        let found = Agreement::of(&pairs);
        let drama = &found.dimensions[0];
        assert_eq!((drama.name.as_str(), drama.posts), ("drama", 3));
        // (1 + 0 + 4) / 3
        assert!((drama.mean_difference - 5.0 / 3.0).abs() < 1e-12);
        // Ranks 1, 2, 3 and 1.5, 1.5, 3: covariance 1.5, variances 2 and 1.5.
        let expected = 1.5 / f64::sqrt(3.0);
        assert!((drama.rank_correlation.unwrap() - expected).abs() < 1e-12);
        // 1, 1/2 and 1.
        assert!((found.category_overlap.unwrap() - 2.5 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn what_cannot_be_compared_is_left_out() {
        assert_eq!(Agreement::of(&[]), Agreement::default());
        let other = ([("news_value".to_owned(), 3.0)].into(), Vec::new());
        let found = Agreement::of(&[(judgement(1.0, &[]), other)]);
        assert!(found.dimensions.is_empty());
        let same = [
            (judgement(4.0, &[]), judgement(1.0, &[])),
            (judgement(4.0, &[]), judgement(2.0, &[])),
        ];
        assert_eq!(Agreement::of(&same).dimensions[0].rank_correlation, None);
    }
}
