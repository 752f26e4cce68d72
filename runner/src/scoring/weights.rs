//! The weights of the dimensions in the final score, as they are checked before use. The formula is in SQL.

use std::collections::BTreeMap;

use serde_json::Value;

use super::rubric::Rubric;

/// The highest score of a dimension.
const HIGHEST: f64 = 10.0;

/// How much each dimension counts. Checked, so that the formula can divide by their sum.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights(BTreeMap<String, f64>);

/// Why weights cannot rank anything.
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
    /// The sum of the weights is infinite.
    #[error("the weights are too large to be added up")]
    TooLarge,
}

impl Weights {
    /// Weights as they are stored in `weight_configs.weights`: an object of numbers.
    ///
    /// # Errors
    /// If the value is not an object of numbers, a weight is negative, no weight is above zero, or their sum
    /// overflows.
    pub fn from_json(stored: &Value) -> Result<Self, WeightsError> {
        let object = stored.as_object().ok_or(WeightsError::NotAnObject)?;
        let mut weights = BTreeMap::new();
        for (name, weight) in object {
            let weight = weight.as_f64().ok_or(WeightsError::NotAnObject)?;
            if !(weight >= 0.0 && weight.is_finite()) {
                let dimension = name.clone();
                return Err(WeightsError::BadWeight { dimension });
            }
            weights.insert(name.clone(), weight);
        }
        let highest: f64 = weights.values().map(|weight| HIGHEST * weight).sum();
        if highest.is_infinite() {
            Err(WeightsError::TooLarge)
        } else if highest > 0.0 {
            Ok(Self(weights))
        } else {
            Err(WeightsError::AllZero)
        }
    }

    /// A warning about weights of dimensions that the rubric does not have. No post has a score for these, so
    /// each adds the same number to every sum.
    pub fn warning(&self, rubric: &Rubric) -> Option<String> {
        let weights = self.0.iter();
        let unknown: Vec<&str> = weights
            .filter(|(name, weight)| **weight > 0.0 && rubric.dimension(name).is_none())
            .map(|(name, _)| name.as_str())
            .collect();
        (!unknown.is_empty()).then(|| {
            format!(
                "the rubric has no {}: weights of dimensions that are never scored only draw all \
                 posts towards the middle",
                unknown.join(", ")
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
    }

    #[test]
    fn weights_without_a_dimension_are_pointed_out() {
        let rubric = Rubric::default();
        let weights =
            Weights::from_json(&json!({ "drama": 1, "zest": 2, "charm": 1, "x": 0 })).unwrap();
        let warning = weights.warning(&rubric).unwrap();
        assert!(warning.contains("no charm, zest:"), "{warning}");
        let of_rubric: serde_json::Map<String, Value> = rubric
            .dimensions
            .iter()
            .map(|d| (d.name.clone(), json!(d.weight)))
            .collect();
        let weights = Weights::from_json(&Value::Object(of_rubric)).unwrap();
        assert_eq!(weights.warning(&rubric), None);
    }
}
