//! What tokens cost.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::tier::Tier;
use super::usage::Usage;

/// The price of a model's tokens, in US dollars for a million at the standard tier.
///
/// ```
/// use sluice_provider::{Models, Tier, Usage};
///
/// let price = Models::default().get("text-embedding-3-small").price().unwrap();
/// let usage = Usage { input_tokens: 500_000, ..Usage::default() };
/// assert_eq!(price.usd(&usage, Tier::Standard), 0.01);
/// assert_eq!(price.usd(&usage, Tier::Batch), 0.005);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Input that is neither read from the provider's prompt cache nor written to it.
    pub input: f64,
    /// Input from the prompt cache; the same as `input` if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_input: Option<f64>,
    /// Input that is written to the prompt cache; the same as `input` if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<f64>,
    /// Output; free if not given, as embeddings have none.
    #[serde(default)]
    pub output: f64,
    /// What a request with a very long input costs more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub long: Option<LongInput>,
}

/// A request with more input than this costs more as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LongInput {
    /// The most tokens of input at the usual price.
    pub above: u64,
    /// How many times the usual price all of its input costs.
    pub input: f64,
    /// How many times the usual price all of its output costs.
    pub output: f64,
}

impl Price {
    /// What the usage of one request costs, in US dollars.
    pub fn usd(&self, usage: &Usage, tier: Tier) -> f64 {
        let cached = usage.cached_input_tokens.min(usage.input_tokens);
        let written = usage.cache_write_tokens.min(usage.input_tokens - cached);
        let input = tokens(usage.input_tokens - cached - written) * self.input
            + tokens(cached) * self.cached_input.unwrap_or(self.input)
            + tokens(written) * self.cache_write.unwrap_or(self.input);
        self.sum(usage, tier, input)
    }

    /// The most that a request with this many tokens can cost, in US dollars: all of its input at the dearest rate.
    pub fn usd_at_most(&self, usage: &Usage, tier: Tier) -> f64 {
        let rates = [self.cached_input, self.cache_write];
        let dearest = rates.into_iter().flatten().fold(self.input, f64::max);
        self.sum(usage, tier, tokens(usage.input_tokens) * dearest)
    }

    /// The sum of an input's price and the output's, for the whole request.
    fn sum(&self, usage: &Usage, tier: Tier, input: f64) -> f64 {
        let long = self.long.filter(|long| usage.input_tokens > long.above);
        let (more_input, more_output) = long.map_or((1.0, 1.0), |long| (long.input, long.output));
        let output = tokens(usage.output_tokens) * self.output;
        (input * more_input + output * more_output) * tier.factor() / 1e6
    }
}

#[expect(clippy::cast_precision_loss, reason = "no run counts 2^53 tokens")]
fn tokens(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Models;

    fn luna() -> Price {
        Models::default().get("gpt-6-luna").price().unwrap()
    }

    fn close(found: f64, expected: f64) {
        assert!(
            (found - expected).abs() < 1e-12,
            "{found} is not {expected}"
        );
    }

    #[test]
    fn every_kind_of_token_has_its_own_price() {
        let usage = Usage {
            input_tokens: 10_000,
            cached_input_tokens: 6_000,
            cache_write_tokens: 3_000,
            output_tokens: 500,
        };
        let expected = (1_000.0 * 0.10 + 6_000.0 * 0.01 + 3_000.0 * 0.125 + 500.0 * 0.50) / 1e6;
        close(luna().usd(&usage, Tier::Standard), expected);
        close(luna().usd(&usage, Tier::Flex), expected / 2.0);
        close(luna().usd(&usage, Tier::Batch), expected / 2.0);
        close(luna().usd(&usage, Tier::Priority), expected * 2.0);
    }

    #[test]
    fn a_long_input_makes_the_whole_request_dearer() {
        let usage = |input_tokens| Usage {
            input_tokens,
            output_tokens: 1_000,
            ..Usage::default()
        };
        close(luna().usd(&usage(272_000), Tier::Standard), 0.0272 + 0.0005);
        close(
            luna().usd(&usage(272_001), Tier::Standard),
            2.0 * 0.027_200_1 + 1.5 * 0.0005,
        );
    }

    #[test]
    fn a_price_can_be_written_with_its_input_alone() {
        let price: Price = serde_json::from_str(r#"{"input":0.5}"#).unwrap();
        let usage = Usage {
            input_tokens: 2_000_000,
            cached_input_tokens: 1_000_000,
            cache_write_tokens: 500_000,
            output_tokens: 7,
        };
        close(price.usd(&usage, Tier::Standard), 1.0);
        assert!(serde_json::from_str::<Price>(r#"{"input":0.5,"ouput":1}"#).is_err());
    }

    #[test]
    fn the_tier_of_a_response_is_read() {
        for (name, tier) in [
            ("default", Tier::Standard),
            ("flex", Tier::Flex),
            ("priority", Tier::Priority),
            ("something new", Tier::Standard),
        ] {
            assert_eq!(Tier::of_response(name), tier);
        }
    }

    proptest! {
        /// Whatever part of the input is cached or written, no bill is above the most of its tokens.
        #[test]
        fn no_bill_is_above_what_was_reserved(
            model in prop::sample::select(Models::priced().collect::<Vec<_>>()),
            input in 0..400_000_u64, cached in 0..=100_u64, written in 0..=100_u64, output in 0..100_000_u64,
        ) {
            let price = Models::default().get(model).price().unwrap();
            let part = |percent: u64| input * percent / 100;
            let usage = Usage {
                input_tokens: input,
                cached_input_tokens: part(cached),
                cache_write_tokens: part((100 - cached) * written / 100),
                output_tokens: output,
            };
            let asked = Usage { cached_input_tokens: 0, cache_write_tokens: 0, ..usage };
            for tier in [Tier::Standard, Tier::Flex, Tier::Batch] {
                prop_assert!(price.usd(&usage, tier) <= price.usd_at_most(&asked, tier) * (1.0 + 1e-12));
            }
        }
    }
}
