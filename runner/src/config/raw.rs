//! The configuration file as it is written: every key optional, unknown keys refused.

use std::collections::BTreeMap;
use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use super::ConfigError;
use crate::provider::{KeyHeader, Price, VectorEncoding};
use crate::scoring::Rubric;

/// `sluice.toml`. `sluice schema config` prints its JSON Schema.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Raw {
    /// The Supabase project (its key stays in the environment).
    pub supabase: RawSupabase,
    /// The provider (its key stays in the environment).
    pub openai: RawOpenAi,
    /// The embed flow.
    pub embedding: RawEmbedding,
    /// How fast to go.
    pub limits: RawLimits,
    /// How rows are leased and tried again.
    pub leases: RawLeases,
    /// The rubric.
    pub scoring: Rubric,
    /// USD per million tokens of models that are not in the price table, or cost something else.
    pub prices: BTreeMap<String, Price>,
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
}

/// `[openai]`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RawOpenAi {
    /// The API's base URL (default `https://api.openai.com/v1`); anything compatible works.
    pub base_url: Option<String>,
    /// The header that carries the key: `authorization` (as a bearer token, the default) or `api-key` (Azure).
    pub key_header: Option<KeyHeader>,
    /// Added to every address as `api-version` (Azure).
    pub api_version: Option<String>,
    /// Seconds until a request is given up (default 120).
    pub timeout_seconds: Option<u64>,
    /// Seconds to go on trying while the provider is overloaded or unreachable (default 600).
    pub patience_seconds: Option<u64>,
}

/// `[embedding]`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RawEmbedding {
    /// The model (default `text-embedding-3-small`).
    pub model: Option<String>,
    /// The dimensions of its vectors (default 1536, as the column has).
    pub dimensions: Option<u32>,
    /// Inputs a request (default 100, at most 2048).
    pub batch_size: Option<u32>,
    /// Rows claimed at once (default 500).
    pub chunk_size: Option<u32>,
    /// How vectors are asked for: `base64` (the default) or `float`, for servers that refuse base64. Either is
    /// read, whatever was asked for.
    pub encoding_format: Option<VectorEncoding>,
    /// Whether the dimensions are sent (by default to `text-embedding-3-*` models alone). The answer is held
    /// against them in any case.
    pub send_dimensions: Option<bool>,
    /// What is embedded of a text of more than 8192 tokens: its beginning (`cut`, the default), or all of it in
    /// parts whose vectors are averaged (`average`).
    pub overlong: Option<Overlong>,
}

/// What is embedded of a text that is longer than the provider takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Overlong {
    /// Its beginning.
    #[default]
    Cut,
    /// Its parts, averaged by their tokens.
    Average,
}

/// `[limits]`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RawLimits {
    /// Requests a minute; left out, the provider's first answer tells.
    pub requests_per_minute: Option<u32>,
    /// Tokens a minute; left out, the provider's first answer tells.
    pub tokens_per_minute: Option<u32>,
    /// Requests in flight at once (default 16).
    pub concurrency: Option<u32>,
}

/// `[leases]`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RawLeases {
    /// Seconds until the rows of a runner that died are taken up by another (default 90).
    pub seconds: Option<u32>,
    /// Attempts until a row is set aside (default 5).
    pub max_attempts: Option<u32>,
    /// Seconds before the second attempt; doubled for each further one (default 2).
    pub backoff_seconds: Option<u32>,
}

impl Raw {
    /// Reads a file.
    ///
    /// # Errors
    /// Where it cannot be read, is not TOML, or holds a key that does not exist.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text).map_err(|message| ConfigError::Malformed {
            path: path.to_owned(),
            message,
        })
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// Where it is not TOML, or holds a key that does not exist: where, and what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| error.to_string().trim().to_owned())
    }
}
