//! What tokens cost.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Usage,
    model::{family, undated},
};

/// The month in which the built-in prices were last compared with the published list.
pub const PRICES_AS_OF: &str = "2026-03";

/// The price of a model's tokens, in US dollars for a million.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Input that is not in the provider's prompt cache.
    pub input: f64,
    /// Input from the prompt cache; the same as `input` if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_input: Option<f64>,
    /// Output; free if not given, as embeddings have none.
    #[serde(default)]
    pub output: f64,
}

/// The prices of all models. Those of the configuration replace those built in.
///
/// ```
/// use sluice_provider::{Prices, Usage};
///
/// let usage = Usage { input_tokens: 500_000, ..Usage::default() };
/// assert_eq!(Prices::default().usd("text-embedding-3-small", &usage), Some(0.01));
/// assert_eq!(Prices::default().usd("a-model-of-our-own", &usage), None);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Prices {
    overrides: BTreeMap<String, Price>,
}

impl Prices {
    /// The built-in prices, with the given ones (model → price) in place of them or beside them.
    pub fn with(overrides: BTreeMap<String, Price>) -> Self {
        Self { overrides }
    }

    /// The model's price; `None` if it is not known.
    ///
    /// The exact name is looked up first, then the name without the date of a snapshot
    /// (`gpt-4o-mini-2024-07-18`) and without a reseller's prefix. Only the configuration can give the
    /// price of a fine-tuned model.
    pub fn price(&self, model: &str) -> Option<Price> {
        let exact = |name: &str| self.overrides.get(name).copied().or_else(|| built_in(name));
        if let Some(price) = exact(model) {
            return Some(price);
        }
        if model.starts_with("ft:") {
            return None;
        }
        let name = family(model);
        exact(name).or_else(|| exact(undated(name)))
    }

    /// What the usage costs, in US dollars; `None` if the model's price is not known.
    pub fn usd(&self, model: &str, usage: &Usage) -> Option<f64> {
        let price = self.price(model)?;
        let cached = usage.cached_input_tokens.min(usage.input_tokens);
        let micro_usd = tokens(usage.input_tokens - cached) * price.input
            + tokens(cached) * price.cached_input.unwrap_or(price.input)
            + tokens(usage.output_tokens) * price.output;
        Some(micro_usd / 1e6)
    }
}

/// Model, input, cached input, output. Source: the provider's "Pricing" page, standard tier.
const TABLE: &[(&str, f64, f64, f64)] = &[
    ("text-embedding-3-small", 0.02, 0.02, 0.0),
    ("text-embedding-3-large", 0.13, 0.13, 0.0),
    ("text-embedding-ada-002", 0.10, 0.10, 0.0),
    ("gpt-5.4", 2.50, 0.25, 15.0),
    ("gpt-5.4-mini", 0.75, 0.075, 4.5),
    ("gpt-5.2", 1.75, 0.175, 14.0),
    ("gpt-5.1", 1.25, 0.125, 10.0),
    ("gpt-5", 1.25, 0.125, 10.0),
    ("gpt-5-chat-latest", 1.25, 0.125, 10.0),
    ("gpt-5-mini", 0.25, 0.025, 2.0),
    ("gpt-5-nano", 0.05, 0.005, 0.4),
    ("gpt-4.1", 2.0, 0.5, 8.0),
    ("gpt-4.1-mini", 0.4, 0.1, 1.6),
    ("gpt-4.1-nano", 0.1, 0.025, 0.4),
    ("gpt-4o", 2.5, 1.25, 10.0),
    ("gpt-4o-2024-05-13", 5.0, 5.0, 15.0),
    ("gpt-4o-mini", 0.15, 0.075, 0.6),
    ("o1", 15.0, 7.5, 60.0),
    ("o3", 2.0, 0.5, 8.0),
    ("o3-mini", 1.1, 0.55, 4.4),
    ("o4-mini", 1.1, 0.275, 4.4),
];

fn built_in(model: &str) -> Option<Price> {
    TABLE
        .iter()
        .find(|(name, ..)| *name == model)
        .map(|&(_, input, cached, output)| Price {
            input,
            cached_input: Some(cached),
            output,
        })
}

#[expect(clippy::cast_precision_loss, reason = "no run counts 2^53 tokens")]
fn tokens(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: Option<f64>, expected: f64) {
        assert!(
            (found.unwrap() - expected).abs() < 1e-12,
            "{found:?} is not {expected}"
        );
    }

    #[test]
    fn input_cache_and_output_have_prices_of_their_own() {
        let usage = Usage {
            input_tokens: 3_000_000,
            cached_input_tokens: 1_000_000,
            output_tokens: 500_000,
        };
        close(
            Prices::default().usd("gpt-4o-mini", &usage),
            2.0 * 0.15 + 0.075 + 0.5 * 0.6,
        );
    }

    #[test]
    fn a_snapshot_costs_as_much_as_its_family_unless_it_is_listed() {
        let prices = Prices::default();
        assert_eq!(prices.price("gpt-4o-2024-08-06"), prices.price("gpt-4o"));
        assert_ne!(prices.price("gpt-4o-2024-05-13"), prices.price("gpt-4o"));
        assert_eq!(
            prices.price("openai/gpt-5-mini"),
            prices.price("gpt-5-mini")
        );
        assert_eq!(prices.price("gpt-4o-2024-XX-06"), None);
        assert_eq!(prices.price("ft:gpt-4o:team::id"), None);
    }

    #[test]
    fn the_configuration_wins_and_adds() {
        let own = Price {
            input: 1.0,
            cached_input: None,
            output: 2.0,
        };
        let prices = Prices::with(BTreeMap::from([
            ("gpt-4o".to_owned(), own),
            ("ft:gpt-4o:team::id".to_owned(), own),
        ]));
        let usage = Usage {
            input_tokens: 1_000_000,
            cached_input_tokens: 400_000,
            output_tokens: 0,
        };
        close(prices.usd("gpt-4o", &usage), 1.0);
        close(prices.usd("gpt-4o-2024-08-06", &usage), 1.0);
        close(prices.usd("ft:gpt-4o:team::id", &usage), 1.0);
        close(prices.usd("gpt-5-nano", &usage), 0.6 * 0.05 + 0.4 * 0.005);
    }

    #[test]
    fn a_price_can_be_written_with_its_input_alone() {
        let price: Price = serde_json::from_str(r#"{"input":0.5}"#).unwrap();
        assert_eq!(
            price,
            Price {
                input: 0.5,
                cached_input: None,
                output: 0.0
            }
        );
        assert!(serde_json::from_str::<Price>(r#"{"input":0.5,"ouput":1}"#).is_err());
    }

    #[test]
    fn no_model_is_listed_twice() {
        let names: std::collections::BTreeSet<_> = TABLE.iter().map(|row| row.0).collect();
        assert_eq!(names.len(), TABLE.len());
    }
}
