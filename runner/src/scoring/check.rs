//! Checks a rubric, and names the key of each problem.

use std::{collections::HashSet, fmt, ops::RangeInclusive};

use super::{
    rubric::{Dimension, Rubric},
    schema::RESERVED_KEYS,
};
use crate::provider::ReasoningEffort;

/// All problems of a rubric, so that a file can be corrected at once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(.problems))]
pub struct RubricError {
    /// At least one problem, in the order of the rubric's keys.
    pub problems: Vec<Problem>,
}

/// One wrong value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key in `sluice.toml`, such as `scoring.dimensions[2].weight`. Lists count from 0.
    pub key: String,
    /// What the value has to be.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.message)
    }
}

impl Rubric {
    /// Checks that posts can be scored by this rubric.
    ///
    /// # Errors
    /// Names every key with a wrong value, and what the value has to be.
    pub fn check(&self) -> Result<(), RubricError> {
        let mut problems = Problems::default();
        self.check_dimensions(&mut problems);
        self.check_scale(&mut problems);
        self.check_categories(&mut problems);
        self.check_model(&mut problems);
        problems.within("max_categories", self.max_categories, 1..=20);
        problems.within("posts_per_call", self.posts_per_call, 1..=50);
        problems.within("runs", self.runs, 1..=9);
        problems.within("text_limit", self.text_limit, 1..=100_000);
        problems.within("summary_limit", self.summary_limit, 1..=5_000);
        problems.into_result()
    }

    fn check_dimensions(&self, problems: &mut Problems) {
        problems.count("dimensions", self.dimensions.len(), 100);
        problems.names(
            "dimensions",
            self.dimensions.iter().map(|d| d.name.as_str()),
        );
        for (at, dimension) in self.dimensions.iter().enumerate() {
            check_dimension(at, dimension, problems);
        }
        let counts = |d: &Dimension| d.weight > 0.0;
        let sum: f64 = self.dimensions.iter().map(|d| d.weight).sum();
        if !self.dimensions.is_empty() && !self.dimensions.iter().any(counts) {
            problems.add("dimensions", "at least one weight must be above 0");
        } else if sum.is_infinite() {
            problems.add("dimensions", "the weights are too large to be added up");
        }
    }

    fn check_scale(&self, problems: &mut Problems) {
        if self.scale.max > 10 {
            problems.add("scale.max", "must be at most 10, the highest final score");
        }
        if self.scale.min >= self.scale.max {
            problems.add(
                "scale.min",
                format!("must be below scale.max ({})", self.scale.max),
            );
        }
    }

    fn check_categories(&self, problems: &mut Problems) {
        problems.count("categories", self.categories.len(), 200);
        problems.names(
            "categories",
            self.categories.iter().map(|c| c.name.as_str()),
        );
        for (at, category) in self.categories.iter().enumerate() {
            problems.filled(
                &format!("categories[{at}].description"),
                &category.description,
            );
        }
    }

    fn check_model(&self, problems: &mut Problems) {
        problems.filled("model", self.model());
        let Some(temperature) = self.temperature else {
            return;
        };
        if !(0.0..=2.0).contains(&temperature) {
            problems.add("temperature", "must be from 0 to 2");
        }
        if self
            .effort()
            .is_some_and(|effort| effort != ReasoningEffort::None)
        {
            problems.add(
                "temperature",
                "must be left out if reasoning_effort is not `none`: models that reason refuse it",
            );
        }
    }
}

fn check_dimension(at: usize, dimension: &Dimension, problems: &mut Problems) {
    let key = |field: &str| format!("dimensions[{at}].{field}");
    if RESERVED_KEYS.contains(&dimension.name.as_str()) {
        problems.add(&key("name"), "is a key of every answer; choose another");
    }
    problems.filled(&key("description"), &dimension.description);
    if let Some(anchors) = &dimension.anchors {
        problems.filled(&key("anchors.low"), &anchors.low);
        problems.filled(&key("anchors.mid"), &anchors.mid);
        problems.filled(&key("anchors.high"), &anchors.high);
    }
    // TOML can contain NaN, which is not ≥ 0 either.
    if !(dimension.weight >= 0.0 && dimension.weight.is_finite()) {
        problems.add(&key("weight"), "must be ≥ 0");
    }
}

/// Collects problems. Each key gets the name of the section.
#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, key: &str, message: impl Into<String>) {
        self.0.push(Problem {
            key: format!("scoring.{key}"),
            message: message.into(),
        });
    }

    fn within(&mut self, key: &str, value: usize, range: RangeInclusive<usize>) {
        if !range.contains(&value) {
            let (min, max) = range.into_inner();
            self.add(key, format!("must be from {min} to {max}"));
        }
    }

    fn count(&mut self, key: &str, count: usize, max: usize) {
        if count == 0 {
            self.add(key, "must have at least one entry");
        } else if count > max {
            self.add(key, format!("must have at most {max} entries"));
        }
    }

    fn filled(&mut self, key: &str, value: &str) {
        if value.trim().is_empty() {
            self.add(key, "must not be blank");
        }
    }

    fn names<'n>(&mut self, list: &str, names: impl Iterator<Item = &'n str>) {
        let mut seen = HashSet::new();
        for (at, name) in names.enumerate() {
            let key = format!("{list}[{at}].name");
            if !is_name(name) {
                self.add(&key, "must match [a-z][a-z0-9_]{0,39}");
            } else if !seen.insert(name) {
                self.add(&key, format!("`{name}` exists already"));
            }
        }
    }

    fn into_result(self) -> Result<(), RubricError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(RubricError { problems: self.0 })
        }
    }
}

/// Names become JSON keys, enum values and arguments of `sluice backfill`, so they are plain.
fn is_name(name: &str) -> bool {
    name.len() <= 40
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

fn lines(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(Problem::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scoring::rubric::Scale;

    fn problems(change: impl FnOnce(&mut Rubric)) -> String {
        let mut rubric = Rubric::default();
        change(&mut rubric);
        rubric
            .check()
            .expect_err("the change should be refused")
            .to_string()
    }

    #[test]
    fn the_default_is_valid() {
        assert_eq!(Rubric::default().check(), Ok(()));
    }

    #[test]
    fn a_bad_weight_is_named_by_its_place() {
        for weight in [-0.1, f64::NAN, f64::INFINITY] {
            let found = problems(|r| r.dimensions[2].weight = weight);
            assert!(
                found.starts_with("scoring.dimensions[2].weight: must be ≥ 0"),
                "{found}"
            );
        }
    }

    #[test]
    fn the_sum_of_weights_is_above_zero_and_finite() {
        let zero = problems(|r| r.dimensions.iter_mut().for_each(|d| d.weight = 0.0));
        assert_eq!(
            zero,
            "scoring.dimensions: at least one weight must be above 0"
        );
        let huge = problems(|r| r.dimensions.iter_mut().for_each(|d| d.weight = f64::MAX));
        assert_eq!(
            huge,
            "scoring.dimensions: the weights are too large to be added up"
        );
        let mut one = Rubric::default();
        one.dimensions
            .iter_mut()
            .skip(1)
            .for_each(|d| d.weight = 0.0);
        assert_eq!(one.check(), Ok(()));
    }

    #[test]
    fn names_are_plain_unique_and_not_reserved() {
        for name in ["", "Drama", "1st", "_x", "a-b", "a b", "é", &"a".repeat(41)] {
            let found = problems(|r| r.dimensions[0].name = name.to_owned());
            assert_eq!(
                found,
                "scoring.dimensions[0].name: must match [a-z][a-z0-9_]{0,39}"
            );
            let found = problems(|r| r.categories[1].name = name.to_owned());
            assert_eq!(
                found,
                "scoring.categories[1].name: must match [a-z][a-z0-9_]{0,39}"
            );
        }
        let twice = problems(|r| r.dimensions[0].name = "drama".to_owned());
        assert_eq!(twice, "scoring.dimensions[2].name: `drama` exists already");
        let reserved = problems(|r| r.dimensions[0].name = "summary".to_owned());
        assert_eq!(
            reserved,
            "scoring.dimensions[0].name: is a key of every answer; choose another"
        );
        let mut longest = Rubric::default();
        longest.dimensions[0].name = "a".repeat(40);
        assert_eq!(longest.check(), Ok(()));
    }

    #[test]
    fn lists_have_at_least_one_entry_and_not_too_many() {
        let empty = problems(|r| r.dimensions.clear());
        assert_eq!(empty, "scoring.dimensions: must have at least one entry");
        let empty = problems(|r| r.categories.clear());
        assert_eq!(empty, "scoring.categories: must have at least one entry");
        let many = problems(|r| {
            let one = r.dimensions[0].clone();
            r.dimensions = (0..101)
                .map(|n| Dimension {
                    name: format!("d{n}"),
                    ..one.clone()
                })
                .collect();
        });
        assert_eq!(many, "scoring.dimensions: must have at most 100 entries");
    }

    #[test]
    fn blank_texts_are_refused() {
        let found = problems(|r| {
            r.dimensions[1].description = " \n".to_owned();
            if let Some(anchors) = &mut r.dimensions[1].anchors {
                anchors.mid.clear();
            }
            r.categories[3].description = "\u{a0}".to_owned();
            r.model = Some("\t".to_owned());
        });
        assert_eq!(
            found,
            "scoring.dimensions[1].description: must not be blank\n\
             scoring.dimensions[1].anchors.mid: must not be blank\n\
             scoring.categories[3].description: must not be blank\n\
             scoring.model: must not be blank"
        );
    }

    #[test]
    fn the_scale_rises_and_ends_at_ten_at_most() {
        let flat = problems(|r| r.scale = Scale { min: 5, max: 5 });
        assert_eq!(flat, "scoring.scale.min: must be below scale.max (5)");
        let high = problems(|r| r.scale = Scale { min: 1, max: 11 });
        assert_eq!(
            high,
            "scoring.scale.max: must be at most 10, the highest final score"
        );
    }

    #[test]
    fn a_temperature_is_in_range_and_excludes_reasoning() {
        for temperature in [-0.1, 2.1, f64::NAN] {
            let found = problems(|r| r.temperature = Some(temperature));
            assert_eq!(found, "scoring.temperature: must be from 0 to 2");
        }
        let both = problems(|r| {
            r.temperature = Some(0.2);
            r.reasoning_effort = Some(ReasoningEffort::Low);
        });
        assert!(
            both.starts_with("scoring.temperature: must be left out"),
            "{both}"
        );
    }

    #[test]
    fn counts_and_limits_have_bounds() {
        let found = problems(|r| {
            r.runs = 0;
            r.posts_per_call = 51;
            r.max_categories = 0;
            r.text_limit = 0;
            r.summary_limit = 5_001;
        });
        assert_eq!(
            found,
            "scoring.max_categories: must be from 1 to 20\n\
             scoring.posts_per_call: must be from 1 to 50\n\
             scoring.runs: must be from 1 to 9\n\
             scoring.text_limit: must be from 1 to 100000\n\
             scoring.summary_limit: must be from 1 to 5000"
        );
    }
}
