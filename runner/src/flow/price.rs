//! What a request may cost, and what it did cost.

use crate::provider::{Price, ServiceTier, Tier, Usage};

/// The price of one model's tokens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tariff {
    price: Option<Price>,
}

impl Tariff {
    pub(super) fn new(price: Option<Price>) -> Self {
        Self { price }
    }

    /// Dollars for a usage. 0 if the model has no price (see [`is_known`](Self::is_known)).
    pub(super) fn usd(&self, usage: &Usage, tier: Tier) -> f64 {
        self.price.map_or(0.0, |price| price.usd(usage, tier))
    }

    /// The most dollars for a request with these tokens, whatever part of them is written to the provider's cache.
    pub(super) fn usd_at_most(&self, usage: &Usage, tier: Tier) -> f64 {
        self.price
            .map_or(0.0, |price| price.usd_at_most(usage, tier))
    }

    /// True if the model has a price.
    pub(super) fn is_known(&self) -> bool {
        self.price.is_some()
    }
}

/// At which tier requests are sent, and whether another may take its place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tiering {
    /// The tier that requests name.
    pub(super) named: Option<ServiceTier>,
    /// Whether a request goes to the standard tier if this one has no capacity.
    pub(super) falls_back: bool,
}

impl Tiering {
    /// The dearest tier at which a request may be billed.
    pub(super) fn dearest(self) -> Tier {
        let named = price_of(self.named);
        match named {
            Tier::Flex if self.falls_back => Tier::Standard,
            named => named,
        }
    }
}

/// The tier at which a request that names this one is billed, if its response does not say.
pub(super) fn price_of(named: Option<ServiceTier>) -> Tier {
    named.map_or(Tier::Standard, ServiceTier::price)
}
