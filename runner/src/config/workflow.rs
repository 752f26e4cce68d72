//! `[workflow]`: what `sluice run` does, and in which order.

use schemars::JsonSchema;
use serde::Deserialize;

use super::ConfigError;

/// `[workflow]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Workflow {
    /// The steps, in their order (by default all, in the order `store`, `embed`, `score`, `rescore`, `recompute`).
    pub steps: Vec<Step>,
}

/// A step of `sluice run`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// Stores the posts of the file, if one is given.
    Store,
    /// Embeds posts without a current embedding.
    Embed,
    /// Scores posts without a score.
    Score,
    /// Scores posts whose score is from another rubric or model.
    Rescore,
    /// Computes final scores, if new scores were written or posts lack one.
    Recompute,
}

impl Default for Workflow {
    fn default() -> Self {
        let steps = vec![
            Step::Store,
            Step::Embed,
            Step::Score,
            Step::Rescore,
            Step::Recompute,
        ];
        Self { steps }
    }
}

impl Workflow {
    /// Refuses a workflow without a step, or with one twice.
    pub(super) fn check(self) -> Result<Self, ConfigError> {
        let refused = |message: &str| Err(ConfigError::invalid("workflow.steps", message));
        if self.steps.is_empty() {
            return refused("has no step; leave it out to do all");
        }
        let mut seen = Vec::new();
        for step in &self.steps {
            if seen.contains(step) {
                return refused("has a step twice");
            }
            seen.push(*step);
        }
        Ok(self)
    }
}

impl Step {
    /// Its name, as the file and the report have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Embed => "embed",
            Self::Score => "score",
            Self::Rescore => "rescore",
            Self::Recompute => "recompute",
        }
    }

    /// Whether it asks the provider.
    pub fn spends(self) -> bool {
        matches!(self, Self::Embed | Self::Score | Self::Rescore)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workflow_has_each_step_at_most_once() {
        let check = |steps: &[Step]| {
            Workflow {
                steps: steps.to_vec(),
            }
            .check()
        };
        assert!(check(&[Step::Score, Step::Embed]).is_ok());
        assert!(Workflow::default().check().is_ok());
        assert!(check(&[]).is_err());
        let twice = check(&[Step::Embed, Step::Embed]).unwrap_err();
        assert!(twice.to_string().contains("workflow.steps"), "{twice}");
    }
}
