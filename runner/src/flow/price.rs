//! What a request may cost, and what it did cost.

use crate::provider::{Prices, Usage};

/// The price of one model's tokens.
#[derive(Debug, Clone)]
pub(super) struct Tariff {
    prices: Prices,
    model: String,
}

impl Tariff {
    pub(super) fn new(prices: Prices, model: &str) -> Self {
        Self {
            prices,
            model: model.to_owned(),
        }
    }

    /// Dollars for a usage. 0 if the model has no price (see [`is_known`](Self::is_known)).
    pub(super) fn usd(&self, usage: &Usage) -> f64 {
        self.prices.usd(&self.model, usage).unwrap_or(0.0)
    }

    /// Dollars for a usage in a batch: half the standard price.
    pub(super) fn batch_usd(&self, usage: &Usage) -> f64 {
        self.usd(usage) / 2.0
    }

    /// True if the model has a price.
    pub(super) fn is_known(&self) -> bool {
        self.prices.price(&self.model).is_some()
    }
}
