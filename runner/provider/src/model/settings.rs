//! What is written about a model, in the table or in the configuration.

use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::effort::ReasoningEffort;
use crate::price::Price;

/// What a model takes and what it costs, as the table of models and `[models."NAME"]` in `sluice.toml` say. A key
/// that is left out is as in the table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ModelSettings {
    /// The tokens that the model divides texts into.
    pub vocabulary: Option<Vocabulary>,
    /// The efforts that the model takes. Empty if it does not reason.
    pub efforts: Option<Vec<ReasoningEffort>>,
    /// The effort of a request that names none (default `medium`, if the model reasons).
    pub default_effort: Option<ReasoningEffort>,
    /// The efforts at which a model that reasons takes a temperature.
    pub sampling: Option<Vec<ReasoningEffort>>,
    /// The name under which a request limits the tokens of its answer.
    pub token_limit: Option<TokenLimit>,
    /// Whether one request may have several answers.
    pub n: Option<bool>,
    /// Whether a request says which part of it the provider's prompt cache is to keep.
    pub prompt_cache: Option<bool>,
    /// Whether a request for embeddings may ask for shorter vectors.
    pub dimensions: Option<bool>,
    /// Whether the model has the service tier `flex`.
    pub flex: Option<bool>,
    /// Whether the model takes part in batches.
    pub batch: Option<bool>,
    /// US dollars for a million tokens.
    pub price: Option<Price>,
    /// The day from which on the provider no longer serves it.
    #[schemars(with = "Option<String>")]
    pub ends: Option<Date>,
}

/// The tokens that a model divides texts into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Vocabulary {
    /// That of embeddings, and of chat models before `gpt-4o`.
    Cl100k,
    /// That of later chat models.
    #[default]
    O200k,
}

/// The name under which a request limits the tokens of its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenLimit {
    /// Every server understands it, except `OpenAI`'s models that reason.
    #[default]
    MaxTokens,
    /// What models that reason take.
    MaxCompletionTokens,
}

impl ModelSettings {
    /// Puts what is given in `above` in place of what is here.
    pub(super) fn put(&mut self, above: &Self) {
        fn put<T: Clone>(below: &mut Option<T>, above: Option<&T>) {
            if above.is_some() {
                *below = above.cloned();
            }
        }
        put(&mut self.vocabulary, above.vocabulary.as_ref());
        put(&mut self.efforts, above.efforts.as_ref());
        put(&mut self.default_effort, above.default_effort.as_ref());
        put(&mut self.sampling, above.sampling.as_ref());
        put(&mut self.token_limit, above.token_limit.as_ref());
        put(&mut self.n, above.n.as_ref());
        put(&mut self.prompt_cache, above.prompt_cache.as_ref());
        put(&mut self.dimensions, above.dimensions.as_ref());
        put(&mut self.flex, above.flex.as_ref());
        put(&mut self.batch, above.batch.as_ref());
        put(&mut self.price, above.price.as_ref());
        put(&mut self.ends, above.ends.as_ref());
    }
}
