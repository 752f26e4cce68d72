//! Tiers of service: slower and cheaper, or faster and dearer.

use std::sync::LazyLock;

use serde::Deserialize;

/// The file beside this one.
static FACTORS: LazyLock<Factors> = LazyLock::new(|| {
    toml::from_str(include_str!("tier.toml")).expect("a test reads the file of tiers")
});

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Factors {
    flex: f64,
    batch: f64,
    priority: f64,
}

/// At which price a request is processed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// The usual one.
    #[default]
    Standard,
    /// Slower and cheaper.
    Flex,
    /// Within a day, and cheaper.
    Batch,
    /// Faster and dearer.
    Priority,
}

impl Tier {
    /// Its name, for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Flex => "flex",
            Self::Batch => "batch",
            Self::Priority => "priority",
        }
    }

    /// The tier that the `service_tier` of a response names. A name that is not known costs the usual price.
    pub fn of_response(name: &str) -> Self {
        match name {
            "flex" => Self::Flex,
            "batch" => Self::Batch,
            "priority" | "fast" => Self::Priority,
            _ => Self::Standard,
        }
    }

    /// What it costs, as a part of the standard price.
    pub(super) fn factor(self) -> f64 {
        match self {
            Self::Standard => 1.0,
            Self::Flex => FACTORS.flex,
            Self::Batch => FACTORS.batch,
            Self::Priority => FACTORS.priority,
        }
    }
}
