//! Novelty: posts about something rare count more, posts about the usual count less.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// With fewer scored posts, frequencies say nothing.
const MIN_SCORED_POSTS: u64 = 30;

/// The row `novelty_config` of the table `settings`. Missing keys are as in the default.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Novelty {
    /// The multiplier of what is on every page.
    pub min_multiplier: f64,
    /// The multiplier of what hardly ever happens.
    pub max_multiplier: f64,
    /// The frequencies at which the multiplier changes.
    pub frequency_thresholds: FrequencyThresholds,
    /// The days over which posts are counted.
    pub window_days: u32,
}

/// Numbers of posts in the window, in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FrequencyThresholds {
    /// Up to here the multiplier is the highest; from here it falls.
    pub rare: f64,
    /// Here it has fallen to 1.
    pub common: f64,
    /// Here it has fallen to the lowest, and stays there.
    pub very_common: f64,
}

impl Novelty {
    /// What the final score of a post with these categories is multiplied by.
    ///
    /// The mean of the categories' frequencies decides. A category without a frequency counts as 0. The
    /// multiplier is 1 without categories or frequencies, and with fewer than 30 scored posts.
    pub fn multiplier(
        &self,
        categories: &[String],
        frequencies: &BTreeMap<String, u64>,
        scored_posts: u64,
    ) -> f64 {
        if categories.is_empty() || frequencies.is_empty() || scored_posts < MIN_SCORED_POSTS {
            return 1.0;
        }
        let counts = categories
            .iter()
            .map(|name| frequencies.get(name).copied().unwrap_or(0));
        self.multiplier_at(mean(counts))
    }

    /// The multiplier at a frequency: highest up to `rare`, then falling in a straight line to 1 at
    /// `common` and in another to the lowest at `very_common`.
    pub fn multiplier_at(&self, frequency: f64) -> f64 {
        let FrequencyThresholds {
            rare,
            common,
            very_common,
        } = self.frequency_thresholds;
        // A line is reached only after its start and before its end. So equal thresholds, or thresholds in the
        // wrong order, never divide by zero.
        if frequency <= rare {
            self.max_multiplier
        } else if frequency <= common {
            let way = (frequency - rare) / (common - rare);
            self.max_multiplier + (1.0 - self.max_multiplier) * way
        } else if frequency < very_common {
            let way = (frequency - common) / (very_common - common);
            1.0 + (self.min_multiplier - 1.0) * way
        } else {
            self.min_multiplier
        }
    }
}

impl Default for Novelty {
    fn default() -> Self {
        Self {
            min_multiplier: 0.2,
            max_multiplier: 1.5,
            frequency_thresholds: FrequencyThresholds::default(),
            window_days: 30,
        }
    }
}

impl Default for FrequencyThresholds {
    fn default() -> Self {
        Self {
            rare: 5.0,
            common: 30.0,
            very_common: 100.0,
        }
    }
}

fn mean(counts: impl ExactSizeIterator<Item = u64>) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts of posts are far below 2^53"
    )]
    let float = |count: u64| count as f64;
    let number = float(counts.len() as u64);
    counts.map(float).sum::<f64>() / number
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn assert_near(found: f64, expected: f64) {
        assert!(
            (found - expected).abs() < 1e-12,
            "{found} instead of {expected}"
        );
    }

    fn multiplier(categories: &[&str], frequencies: &[(&str, u64)], scored_posts: u64) -> f64 {
        let categories: Vec<String> = categories.iter().map(|&name| name.to_owned()).collect();
        let frequencies = frequencies
            .iter()
            .map(|&(name, count)| (name.to_owned(), count))
            .collect();
        Novelty::default().multiplier(&categories, &frequencies, scored_posts)
    }

    /// The table of docs/scoring.md.
    #[test]
    fn the_multiplier_falls_along_two_lines() {
        for (frequency, expected) in [
            (0.0, 1.5),
            (5.0, 1.5),
            (10.0, 1.4),
            (17.5, 1.25),
            (25.0, 1.1),
            (30.0, 1.0),
            (44.0, 0.84),
            (65.0, 0.6),
            (86.0, 0.36),
            (100.0, 0.2),
            (1_000_000.0, 0.2),
        ] {
            assert_near(Novelty::default().multiplier_at(frequency), expected);
        }
    }

    #[test]
    fn it_is_one_without_frequencies() {
        assert_near(multiplier(&[], &[("noise", 1)], 1_000), 1.0);
        assert_near(multiplier(&["noise"], &[], 1_000), 1.0);
        assert_near(multiplier(&["noise"], &[("noise", 1)], 29), 1.0);
        assert_near(multiplier(&["noise"], &[("noise", 1)], 30), 1.5);
    }

    #[test]
    fn a_category_without_a_frequency_counts_as_zero() {
        // (20 + 0) / 2 = 10.
        assert_near(multiplier(&["noise", "humor"], &[("noise", 20)], 30), 1.4);
    }

    #[test]
    fn settings_may_say_part_of_it() {
        let stored = r#"{"max_multiplier": 2, "frequency_thresholds": {"rare": 1}, "note": "x"}"#;
        let novelty: Novelty = serde_json::from_str(stored).unwrap();
        assert_near(novelty.max_multiplier, 2.0);
        assert_near(novelty.min_multiplier, 0.2);
        assert_near(novelty.frequency_thresholds.rare, 1.0);
        assert_near(novelty.frequency_thresholds.common, 30.0);
        assert_eq!(novelty.window_days, 30);
    }

    proptest! {
        #[test]
        fn it_stays_within_its_bounds_and_never_rises(low in 0.0..200.0_f64, step in 0.0..200.0_f64) {
            let novelty = Novelty::default();
            let (rarer, commoner) = (novelty.multiplier_at(low), novelty.multiplier_at(low + step));
            prop_assert!((0.2..=1.5).contains(&rarer));
            prop_assert!(commoner <= rarer);
        }

        #[test]
        fn odd_thresholds_never_make_it_infinite(
            thresholds in prop::array::uniform3(prop::sample::select(vec![0.0, 5.0, 30.0, 100.0])),
            frequency in 0_u32..120,
        ) {
            let [rare, common, very_common] = thresholds;
            let novelty = Novelty {
                frequency_thresholds: FrequencyThresholds { rare, common, very_common },
                ..Novelty::default()
            };
            prop_assert!((0.2..=1.5).contains(&novelty.multiplier_at(f64::from(frequency))));
        }
    }
}
