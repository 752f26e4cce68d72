//! What a request may cost, and what it did.

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

    /// Dollars for a usage; 0 where the model has no price (see [`Tariff::is_known`]).
    pub(super) fn usd(&self, usage: &Usage) -> f64 {
        self.prices.usd(&self.model, usage).unwrap_or(0.0)
    }

    /// Dollars at most for a request that reads and writes so many tokens.
    pub(super) fn at_most(&self, input_tokens: u32, output_tokens: u32) -> f64 {
        self.usd(&Usage {
            input_tokens: input_tokens.into(),
            output_tokens: output_tokens.into(),
            ..Usage::default()
        })
    }

    /// Whether the model has a price.
    pub(super) fn is_known(&self) -> bool {
        self.prices.price(&self.model).is_some()
    }
}
