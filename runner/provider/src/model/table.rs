//! The table of models that the program carries.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use jiff::civil::Date;
use serde::Deserialize;

use super::ModelSettings;
use crate::Tier;

/// The file beside this one.
pub(super) static TABLE: LazyLock<Table> = LazyLock::new(|| {
    toml::from_str(include_str!("table.toml")).expect("a test reads the table of models")
});

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    /// When the provider's pages were read.
    pub(super) read: Date,
    tiers: Tiers,
    pub(super) models: BTreeMap<String, ModelSettings>,
}

/// What each tier costs, as a part of the standard price.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tiers {
    flex: f64,
    batch: f64,
    priority: f64,
}

/// What a tier costs, as a part of the standard price.
pub(crate) fn factor(tier: Tier) -> f64 {
    let Tiers {
        flex,
        batch,
        priority,
    } = TABLE.tiers;
    match tier {
        Tier::Standard => 1.0,
        Tier::Flex => flex,
        Tier::Batch => batch,
        Tier::Priority => priority,
    }
}
