//! How long a model thinks.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How long a reasoning model thinks before it answers. Each model takes some of these.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum ReasoningEffort {
    /// Not at all.
    None,
    /// Hardly at all.
    Minimal,
    /// A little.
    Low,
    /// As most models without a setting.
    Medium,
    /// Long.
    High,
    /// Longer.
    Xhigh,
    /// As long as it takes.
    Max,
}

impl ReasoningEffort {
    /// All efforts, the shortest first.
    pub const ALL: [Self; 7] = [
        Self::None,
        Self::Minimal,
        Self::Low,
        Self::Medium,
        Self::High,
        Self::Xhigh,
        Self::Max,
    ];

    /// The word that the API takes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Minimal => "minimal",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Xhigh => "xhigh",
            Self::Max => "max",
        }
    }

    /// How many tokens to allow for it, on top of the answer's. They are billed as output.
    pub fn tokens(self) -> usize {
        match self {
            Self::None => 0,
            Self::Minimal => 512,
            Self::Low => 2_048,
            Self::Medium => 8_192,
            Self::High => 24_576,
            Self::Xhigh => 49_152,
            Self::Max => 98_304,
        }
    }

    /// The effort among these that is nearest to this one: of two, the shorter.
    pub fn nearest(self, among: &[Self]) -> Option<Self> {
        let distance = |other: &&Self| (**other as i8 - self as i8).abs();
        among
            .iter()
            .min_by_key(|other| (distance(other), **other))
            .copied()
    }
}

impl fmt::Display for ReasoningEffort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
