//! What can go wrong, and the dealing of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    hash::{hash, unit},
    question::Endpoint,
};

/// Something that goes wrong with a request. At most one befalls each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// 429 `rate_limit_exceeded`, though the limit was not reached.
    RateLimit,
    /// 503 `server_is_overloaded`.
    Overloaded,
    /// 500.
    ServerError,
    /// 429 `insufficient_quota`.
    Quota,
    /// 401 `invalid_api_key`.
    BadKey,
    /// The right answer, late.
    Slow,
    /// The connection closes in the middle of the answer.
    Drop,
    /// The answer ends early, though its length is as announced.
    TruncatedJson,
    /// A web page with status 200.
    NotJson,
    /// The last vector is missing.
    FewerVectors,
    /// The vectors come in another order, which is allowed: their indices are right.
    Shuffled,
    /// The last vector is one number short.
    WrongDimensions,
    /// A vector holds NaN.
    Nan,
    /// The model refuses to answer.
    Refusal,
    /// The answer reaches its limit of tokens.
    Length,
    /// The answer is withheld.
    ContentFilter,
    /// The last entry of the answer is missing.
    MissingItem,
    /// The first entry of the answer comes twice.
    RepeatedItem,
    /// The answer has an entry that nobody asked for.
    ExtraItem,
    /// A number lies above its maximum.
    OutOfRange,
}

impl Fault {
    /// All there are.
    pub const ALL: [Self; 20] = [
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
    ];

    /// Whether it can befall an answer of this endpoint.
    fn befalls(self, endpoint: Endpoint) -> bool {
        match self {
            Self::FewerVectors | Self::Shuffled | Self::WrongDimensions | Self::Nan => {
                endpoint == Endpoint::Embeddings
            }
            Self::Refusal
            | Self::Length
            | Self::ContentFilter
            | Self::MissingItem
            | Self::RepeatedItem
            | Self::ExtraItem
            | Self::OutOfRange => endpoint == Endpoint::Chat,
            _ => true,
        }
    }
}

/// What goes wrong, and how often. In JSON and TOML the rates stand beside the other keys:
/// `{"drop":0.1,"nan":0.05,"seed":7,"poison":"☠"}`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
pub struct Faults {
    /// The part of all requests, from 0 to 1, that each fault befalls. Where several would befall
    /// the same request, one of them does.
    #[serde(flatten)]
    pub rates: BTreeMap<Fault, f64>,
    /// Decides which requests are befallen: the same seed and the same sequence of requests meet the
    /// same faults.
    pub seed: u64,
    /// Whatever holds this text is refused with a 400, as the whole request that it came in is.
    pub poison: Option<String>,
    /// How long [`Fault::RateLimit`] asks to be left alone, in milliseconds.
    pub retry_after_ms: u64,
    /// How late [`Fault::Slow`] comes, in milliseconds.
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

    /// The fault that befalls the request with this number, if any does.
    pub(super) fn deal(&self, number: u64, endpoint: Endpoint) -> Option<Fault> {
        let draw = |what: &[u8]| hash([&self.seed.to_le_bytes(), &number.to_le_bytes(), what]);
        let hit: Vec<Fault> = self
            .rates
            .iter()
            .filter(|&(fault, &rate)| fault.befalls(endpoint) && unit(draw(&[*fault as u8])) < rate)
            .map(|(fault, _)| *fault)
            .collect();
        let chosen = draw(b"choice").checked_rem(hit.len() as u64)?;
        hit.get(usize::try_from(chosen).ok()?).copied()
    }

    /// How lucky the request with this number is, from 0 to 1; decides its share of the jitter.
    pub(super) fn luck(&self, number: u64) -> f64 {
        unit(hash([
            &self.seed.to_le_bytes(),
            &number.to_le_bytes(),
            b"luck".as_slice(),
        ]))
    }

    /// Whether the text is refused for what it holds.
    pub(super) fn poisons(&self, text: &str) -> bool {
        self.poison
            .as_ref()
            .is_some_and(|marker| text.contains(marker.as_str()))
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if self.poison.as_deref() == Some("") {
            return Err("an empty poison is in every text; leave it out for none".to_owned());
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

    fn dealt(faults: &Faults, endpoint: Endpoint) -> Vec<Option<Fault>> {
        (0..10_000)
            .map(|number| faults.deal(number, endpoint))
            .collect()
    }

    #[test]
    fn a_fault_comes_as_often_as_asked() {
        let faults = Faults::only(Fault::Drop, 0.1);
        let count = dealt(&faults, Endpoint::Chat).iter().flatten().count();
        assert!((900..1100).contains(&count), "{count}");
        assert!(
            dealt(&Faults::only(Fault::Drop, 1.0), Endpoint::Chat)
                .iter()
                .all(Option::is_some)
        );
        assert!(
            dealt(&Faults::default(), Endpoint::Chat)
                .iter()
                .all(Option::is_none)
        );
    }

    #[test]
    fn together_all_have_their_turn() {
        let rates = Fault::ALL.map(|fault| (fault, 0.5)).into();
        let faults = Faults {
            rates,
            ..Faults::default()
        };
        for endpoint in [Endpoint::Chat, Endpoint::Embeddings] {
            let dealt = dealt(&faults, endpoint);
            for fault in Fault::ALL {
                assert_eq!(
                    dealt.contains(&Some(fault)),
                    fault.befalls(endpoint),
                    "{fault:?}"
                );
            }
        }
    }

    #[test]
    fn the_seed_decides_and_repeats() {
        let faults = Faults::only(Fault::Nan, 0.5);
        let other = Faults {
            seed: 1,
            ..faults.clone()
        };
        assert_eq!(
            dealt(&faults, Endpoint::Embeddings),
            dealt(&faults, Endpoint::Embeddings)
        );
        assert_ne!(
            dealt(&faults, Endpoint::Embeddings),
            dealt(&other, Endpoint::Embeddings)
        );
    }

    #[test]
    fn rates_stand_beside_the_other_keys_and_typos_are_found() {
        let faults: Faults =
            serde_json::from_str(r#"{"drop":0.1,"not_json":0.2,"seed":7,"poison":"x"}"#).unwrap();
        assert!((faults.rates[&Fault::NotJson] - 0.2).abs() < 1e-9);
        assert_eq!((faults.seed, faults.rates.len()), (7, 2));
        assert!(faults.poisons("axb") && !faults.poisons("ab"));
        assert!(serde_json::from_str::<Faults>(r#"{"dorp":0.1}"#).is_err());
    }
}
