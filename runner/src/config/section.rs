//! Sections of the file whose values are used as they are given, once they are checked.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::provider::batch::MAX_BATCH_REQUESTS;
use crate::provider::{EmbeddingRequest, VectorEncoding};

/// `[embedding]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EmbeddingSettings {
    /// The model (default `text-embedding-3-small`).
    pub model: String,
    /// The dimensions of its vectors (default 1536, as the database's column).
    pub dimensions: u32,
    /// Inputs a request (default 100, at most 2048).
    pub batch_size: u32,
    /// Rows claimed at once (default 500).
    pub chunk_size: u32,
    /// The requested encoding of vectors: `base64` (the default), or `float` for servers that refuse base64.
    /// Either is read in a response.
    pub encoding_format: VectorEncoding,
    /// Whether requests contain the dimensions (by default only for `text-embedding-3-*` models). The
    /// response must have these dimensions in any case.
    pub send_dimensions: Option<bool>,
    /// What to embed of a text with more than 8192 tokens: its beginning (`truncate`, the default), or all of
    /// it in parts whose vectors are averaged (`average`).
    #[serde(alias = "overlong")]
    pub oversized: OversizedPolicy,
}

impl EmbeddingSettings {
    /// The request for the vectors of these texts.
    pub(crate) fn request<'a>(&'a self, inputs: &'a [&'a str]) -> EmbeddingRequest<'a> {
        let dimensions = Some(self.dimensions as usize);
        EmbeddingRequest {
            model: &self.model,
            inputs,
            dimensions,
        }
    }
}

/// What to embed of a text with more tokens than the provider takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OversizedPolicy {
    /// Its beginning.
    #[default]
    #[serde(alias = "cut")]
    Truncate,
    /// All of it in parts, whose vectors are averaged by their tokens.
    Average,
}

/// `[limits]`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitSettings {
    /// Requests a minute (by default as the provider's first response says).
    pub requests_per_minute: Option<u32>,
    /// Tokens a minute (by default as the provider's first response says).
    pub tokens_per_minute: Option<u32>,
    /// Requests in flight at once (default 16).
    pub concurrency: u32,
}

/// `[batch]`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BatchSettings {
    /// Requests in a batch at most (default 50000, which is also the most).
    pub requests: u32,
}

impl Default for BatchSettings {
    fn default() -> Self {
        Self {
            requests: most(MAX_BATCH_REQUESTS),
        }
    }
}

/// `[budget]`: what all runners and flows on a database may spend together. Days and months are those of UTC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BudgetSettings {
    /// US dollars a day (by default no limit).
    pub usd_per_day: Option<f64>,
    /// US dollars a month (by default no limit).
    pub usd_per_month: Option<f64>,
}

impl Default for EmbeddingSettings {
    fn default() -> Self {
        Self {
            model: "text-embedding-3-small".to_owned(),
            dimensions: 1_536,
            batch_size: 100,
            chunk_size: 500,
            encoding_format: VectorEncoding::default(),
            send_dimensions: None,
            oversized: OversizedPolicy::default(),
        }
    }
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            requests_per_minute: None,
            tokens_per_minute: None,
            concurrency: 16,
        }
    }
}

pub(super) fn most(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
