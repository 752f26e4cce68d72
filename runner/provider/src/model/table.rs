//! The table of models that the program carries.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use jiff::civil::Date;
use serde::Deserialize;

use super::settings::ModelSettings;

/// The file beside this one.
pub(super) static TABLE: LazyLock<Table> = LazyLock::new(|| {
    toml::from_str(include_str!("table.toml")).expect("a test reads the table of models")
});

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    /// When the provider's pages were read.
    pub(super) read: Date,
    pub(super) models: BTreeMap<String, ModelSettings>,
}
