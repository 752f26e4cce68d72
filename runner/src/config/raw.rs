//! The configuration file: every key is optional, unknown keys are errors.

use std::collections::BTreeMap;
use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use super::environment::Source;
use super::section::{BatchSettings, BudgetSettings, EmbeddingSettings, LimitSettings};
use super::{ConfigError, Workflow};
use crate::provider::{ChatApi, KeyHeader, ModelSettings, Models, Price, ServiceTier};
use crate::scoring::Rubric;

/// `sluice.toml`. `sluice schema config` prints its JSON Schema.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RawConfig {
    /// The Supabase project. Its key is read from the environment.
    pub supabase: RawSupabase,
    /// The provider. Its key is read from the environment.
    pub openai: RawOpenAi,
    /// The embed flow.
    pub embedding: EmbeddingSettings,
    /// The rate limits.
    pub limits: LimitSettings,
    /// How rows are leased and retried.
    pub leases: RawLeases,
    /// What all runners together may spend.
    pub budget: BudgetSettings,
    /// Batches at the provider.
    pub batch: BatchSettings,
    /// The rubric.
    pub scoring: Rubric,
    /// What models take and cost, if the table of models lacks them or is wrong. `*` in a name stands for any
    /// letters.
    pub models: BTreeMap<String, ModelSettings>,
    /// USD per million tokens. It is the same as `price` under `[models."NAME"]`.
    pub prices: BTreeMap<String, Price>,
    /// What `sluice run` does.
    pub workflow: Workflow,
    /// Who chose the file.
    #[serde(skip)]
    pub(super) source: Source,
}

/// `[supabase]`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RawSupabase {
    /// The project's URL; `/rest/v1` is appended.
    pub url: Option<String>,
    /// A PostgREST server's URL, used as it is.
    pub postgrest_url: Option<String>,
    /// The schema of the tables (default `public`).
    pub schema: Option<String>,
    /// Seconds to wait for a database that does not answer (default 600).
    pub patience_seconds: Option<u64>,
}

/// `[openai]`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RawOpenAi {
    /// The API's base URL (default `https://api.openai.com/v1`). Any compatible API works.
    pub base_url: Option<String>,
    /// The header of the key: `authorization` (a bearer token, the default) or `api-key` (Azure).
    pub key_header: Option<KeyHeader>,
    /// Added to every URL as `api-version` (Azure).
    pub api_version: Option<String>,
    /// The API that scores are requested from: `chat` (the default, which every server has) or `responses`.
    pub api: Option<ChatApi>,
    /// The tier of requests that score. `flex` costs half and is slower.
    pub service_tier: Option<ServiceTier>,
    /// Whether a request goes to the standard tier, at its price, if `flex` has no capacity (default false: it waits).
    pub flex_fallback: Option<bool>,
    /// Seconds until a request times out (default 120, with `service_tier = "flex"` 900).
    pub timeout_seconds: Option<u64>,
    /// Seconds to wait for a provider that is overloaded or unreachable (default 600).
    pub patience_seconds: Option<u64>,
}

/// `[leases]`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RawLeases {
    /// Seconds until another runner takes over the rows of a runner that died (default 90).
    pub seconds: Option<u32>,
    /// Attempts until a row becomes a dead letter (default 5).
    pub max_attempts: Option<u32>,
    /// Seconds before the second attempt; doubled for each further one (default 2).
    pub backoff_seconds: Option<u32>,
}

impl RawConfig {
    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read, is not TOML, or has an unknown key.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let path = path.to_owned();
        match std::fs::read_to_string(&path) {
            Err(source) => Err(ConfigError::Unreadable { path, source }),
            Ok(text) => {
                Self::parse(&text).map_err(|message| ConfigError::Malformed { path, message })
            }
        }
    }

    /// Parses the text of a file.
    ///
    /// # Errors
    /// If it is not TOML, or has an unknown key: the position, and what is expected there.
    pub fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| error.to_string().trim().to_owned())
    }
}

/// The table of models with those of the configuration, and with prices that were written the earlier way.
pub(super) fn models(
    mut models: BTreeMap<String, ModelSettings>,
    prices: BTreeMap<String, Price>,
) -> Result<Models, ConfigError> {
    for (name, price) in prices {
        let model = models.entry(name.clone()).or_default();
        if model.price.replace(price).is_some() {
            let message =
                format!("is there twice: remove it, and keep the one under [models.\"{name}\"]");
            return Err(ConfigError::invalid(format!("prices.\"{name}\""), message));
        }
    }
    Ok(Models::with(models))
}
