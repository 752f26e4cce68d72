//! What can go wrong, and which requests it happens to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    hash::{hash, unit},
    ledger::Tier,
    request::Route,
};

/// Something that goes wrong with a request. A request has at most one fault.
///
/// The faults of all endpoints come first, then those of embeddings, those of chats, and those of
/// tiers and keys. New ones come last: the position decides which requests have the fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// 429 `rate_limit_exceeded`, though no limit was reached.
    RateLimit,
    /// 503 `server_is_overloaded`.
    Overloaded,
    /// 500.
    ServerError,
    /// 429 `insufficient_quota`.
    Quota,
    /// 401 `invalid_api_key`.
    BadKey,
    /// The right response, late.
    Slow,
    /// The connection closes in the middle of the response.
    Drop,
    /// Half of the JSON, with a `Content-Length` that matches.
    TruncatedJson,
    /// A web page with status 200.
    NotJson,
    /// The last vector is missing.
    FewerVectors,
    /// The vectors come in another order, which is allowed: their indices are right.
    Shuffled,
    /// The last vector is one number short.
    WrongDimensions,
    /// A vector contains NaN.
    Nan,
    /// The model refuses to answer.
    Refusal,
    /// The response ends early, at its limit of tokens.
    Length,
    /// A content filter removed the response.
    ContentFilter,
    /// The last entry is missing.
    MissingItem,
    /// The first entry comes twice.
    RepeatedItem,
    /// There is an entry for a post that was not in the request.
    ExtraItem,
    /// A number is above its maximum.
    OutOfRange,
    /// 429 `resource_unavailable`, for a request in the flex tier. It is not billed.
    ResourceUnavailable,
    /// 401: the key lacks scopes.
    MissingScopes,
    /// 401 `ip_not_authorized`.
    IpNotAuthorized,
}

impl Fault {
    /// All faults.
    pub const ALL: [Self; 23] = [
        Self::RateLimit,
        Self::Overloaded,
        Self::ServerError,
        Self::Quota,
        Self::BadKey,
        Self::Slow,
        Self::Drop,
        Self::TruncatedJson,
        Self::NotJson,
        Self::FewerVectors,
        Self::Shuffled,
        Self::WrongDimensions,
        Self::Nan,
        Self::Refusal,
        Self::Length,
        Self::ContentFilter,
        Self::MissingItem,
        Self::RepeatedItem,
        Self::ExtraItem,
        Self::OutOfRange,
        Self::ResourceUnavailable,
        Self::MissingScopes,
        Self::IpNotAuthorized,
    ];

    /// Whether the fault is about the key, so that every request with a key can have it.
    pub(crate) fn is_of_keys(self) -> bool {
        let of_keys = [Self::BadKey, Self::MissingScopes, Self::IpNotAuthorized];
        of_keys.contains(&self)
    }

    /// Whether a line of a batch can have the fault. The others are about the connection or the key.
    pub(crate) fn is_of_lines(self) -> bool {
        let of_requests = [
            Self::Slow,
            Self::Drop,
            Self::TruncatedJson,
            Self::NotJson,
            Self::ResourceUnavailable,
        ];
        !self.is_of_keys() && !of_requests.contains(&self)
    }

    /// Whether a request to this endpoint, in this tier, can have the fault.
    fn applies_to(self, route: Route, tier: Tier) -> bool {
        match self {
            Self::FewerVectors | Self::Shuffled | Self::WrongDimensions | Self::Nan => {
                route == Route::Embeddings
            }
            Self::Refusal
            | Self::Length
            | Self::ContentFilter
            | Self::MissingItem
            | Self::RepeatedItem
            | Self::ExtraItem
            | Self::OutOfRange => route != Route::Embeddings,
            Self::ResourceUnavailable => tier == Tier::Flex,
            _ => true,
        }
    }
}

/// What goes wrong, and how often. In JSON and TOML the rates stand beside the other keys:
/// `{"drop":0.1,"nan":0.05,"seed":7,"poison":"☠"}`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
pub struct Faults {
    /// The share of requests, from 0 to 1, that have each fault. If several apply to a request, one
    /// of them is chosen.
    #[serde(flatten)]
    pub rates: BTreeMap<Fault, f64>,
    /// Decides which requests have a fault. The same seed and the same sequence of requests give the
    /// same faults.
    pub seed: u64,
    /// A request with a text that contains this is refused with a 400.
    pub poison: Option<String>,
    /// The `Retry-After` of [`Fault::RateLimit`], in milliseconds.
    pub retry_after_ms: u64,
    /// The delay of [`Fault::Slow`], in milliseconds.
    pub slow_ms: u64,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            rates: BTreeMap::new(),
            seed: 0,
            poison: None,
            retry_after_ms: 500,
            slow_ms: 2_000,
        }
    }
}

impl Faults {
    /// One fault at this rate.
    pub fn only(fault: Fault, rate: f64) -> Self {
        Self {
            rates: BTreeMap::from([(fault, rate)]),
            ..Self::default()
        }
    }

    /// The fault of the request with this number, if these rates give it one.
    pub(crate) fn choose(
        &self,
        rates: &BTreeMap<Fault, f64>,
        number: u64,
        (route, tier): (Route, Tier),
    ) -> Option<Fault> {
        let rates = rates.iter().map(|(fault, rate)| (*fault, *rate));
        let happens = |fault: Fault, rate| self.happens(number, &[fault as u8], rate);
        let candidates: Vec<Fault> = rates
            .filter(|&(fault, rate)| fault.applies_to(route, tier) && happens(fault, rate))
            .map(|(fault, _)| fault)
            .collect();
        let chosen = self
            .draw(number, b"choice")
            .checked_rem(candidates.len() as u64)?;
        candidates.get(usize::try_from(chosen).ok()?).copied()
    }

    /// The share of the jitter, from 0 to 1, for the request with this number.
    pub(crate) fn luck(&self, number: u64) -> f64 {
        unit(self.draw(number, b"luck"))
    }

    /// Whether something with this rate happens to the request with this number.
    pub(crate) fn happens(&self, number: u64, purpose: &[u8], rate: f64) -> bool {
        unit(self.draw(number, purpose)) < rate
    }

    fn draw(&self, number: u64, purpose: &[u8]) -> u64 {
        hash([&self.seed.to_le_bytes(), &number.to_le_bytes(), purpose])
    }

    /// Whether the text contains the poison.
    pub(crate) fn poisons(&self, text: &str) -> bool {
        self.poison
            .as_deref()
            .is_some_and(|poison| text.contains(poison))
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        if self.poison.as_deref() == Some("") {
            return Err("every text contains an empty poison; leave it out for none".to_owned());
        }
        match self
            .rates
            .iter()
            .find(|(_, rate)| !(0.0..=1.0).contains(*rate))
        {
            Some((fault, rate)) => Err(format!("the rate of {fault:?} is {rate}, not from 0 to 1")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(faults: &Faults, route: Route) -> Vec<Option<Fault>> {
        (0..10_000)
            .map(|number| faults.choose(&faults.rates, number, (route, Tier::Flex)))
            .collect()
    }

    #[test]
    fn a_fault_happens_as_often_as_its_rate_says() {
        let faults = Faults::only(Fault::Drop, 0.1);
        let count = chosen(&faults, Route::Chat).iter().flatten().count();
        assert!((900..1100).contains(&count), "{count}");
        assert!(
            chosen(&Faults::only(Fault::Drop, 1.0), Route::Chat)
                .iter()
                .all(Option::is_some)
        );
        assert!(
            chosen(&Faults::default(), Route::Chat)
                .iter()
                .all(Option::is_none)
        );
    }

    #[test]
    fn with_several_rates_every_fault_happens() {
        let rates = Fault::ALL.map(|fault| (fault, 0.5)).into();
        let faults = Faults {
            rates,
            ..Faults::default()
        };
        for route in [Route::Chat, Route::Responses, Route::Embeddings] {
            let chosen = chosen(&faults, route);
            for fault in Fault::ALL {
                assert_eq!(
                    chosen.contains(&Some(fault)),
                    fault.applies_to(route, Tier::Flex),
                    "{fault:?}"
                );
            }
        }
    }

    #[test]
    fn only_flex_finds_no_resources() {
        let faults = Faults::only(Fault::ResourceUnavailable, 1.0);
        let in_tier = |tier| faults.choose(&faults.rates, 0, (Route::Chat, tier));
        assert_eq!(in_tier(Tier::Flex), Some(Fault::ResourceUnavailable));
        assert_eq!(
            (in_tier(Tier::Default), in_tier(Tier::Priority)),
            (None, None)
        );
    }

    #[test]
    fn the_same_seed_chooses_the_same_faults() {
        let faults = Faults::only(Fault::Nan, 0.5);
        let other = Faults {
            seed: 1,
            ..faults.clone()
        };
        assert_eq!(
            chosen(&faults, Route::Embeddings),
            chosen(&faults, Route::Embeddings)
        );
        assert_ne!(
            chosen(&faults, Route::Embeddings),
            chosen(&other, Route::Embeddings)
        );
    }

    #[test]
    fn rates_stand_beside_the_other_keys_and_typos_are_errors() {
        let faults: Faults =
            serde_json::from_str(r#"{"drop":0.1,"not_json":0.2,"seed":7,"poison":"x"}"#).unwrap();
        assert!((faults.rates[&Fault::NotJson] - 0.2).abs() < 1e-9);
        assert_eq!((faults.seed, faults.rates.len()), (7, 2));
        assert!(faults.poisons("axb") && !faults.poisons("ab"));
        assert!(serde_json::from_str::<Faults>(r#"{"dorp":0.1}"#).is_err());
    }
}
