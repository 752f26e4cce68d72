//! What everything cost, to the last digit: only whole numbers are added.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::ModelPrice;

/// How a request was processed, which decides its price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// The standard price.
    Default,
    /// Half the price, slower.
    Flex,
    /// Twice the price, faster.
    Priority,
    /// Half the price, as a line of a batch.
    Batch,
}

impl Tier {
    /// The tier as a response names it. A batch's line does not say that it is one.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Default | Self::Batch => "default",
            Self::Flex => "flex",
            Self::Priority => "priority",
        }
    }
}

/// The tokens of one response, or of many. All but `input` and `output` are part of these two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TokenUsage {
    pub(crate) input: u64,
    pub(crate) cached: u64,
    pub(crate) written: u64,
    pub(crate) output: u64,
    pub(crate) reasoning: u64,
}

/// The bill since the start, or since the last reset.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    /// The sum, in millionths of a millionth of a dollar.
    pub picodollars: u64,
    /// The sum in dollars, for people: it is rounded.
    pub usd: f64,
    /// What each model, tier and endpoint cost, in the order of their names.
    pub entries: Vec<LedgerEntry>,
}

/// What a model cost in one tier at one endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// The name of the model, as the requests have it.
    pub model: String,
    /// How the requests were processed.
    pub tier: Tier,
    /// The endpoint, such as `/v1/embeddings`.
    pub endpoint: String,
    /// The requests that were billed. Each is billed once, whatever became of its response.
    pub requests: u64,
    /// Tokens of input, with those from or for the prompt cache.
    pub input_tokens: u64,
    /// Tokens of input that came from the prompt cache.
    pub cached_tokens: u64,
    /// Tokens of input that were written to the prompt cache.
    pub cache_write_tokens: u64,
    /// Tokens of output, with those of reasoning.
    pub output_tokens: u64,
    /// Tokens of reasoning.
    pub reasoning_tokens: u64,
    /// The price of all these, in millionths of a millionth of a dollar.
    pub picodollars: u64,
}

impl Ledger {
    /// The sum for one model and tier, at all endpoints, in millionths of a millionth of a dollar.
    pub fn picodollars_of(&self, model: &str, tier: Tier) -> u64 {
        let entries = self.entries.iter();
        let entries = entries.filter(|entry| entry.model == model && entry.tier == tier);
        entries.map(|entry| entry.picodollars).sum()
    }
}

/// The sums by model, tier and endpoint.
#[derive(Debug, Default)]
pub(crate) struct Account(BTreeMap<(String, Tier, &'static str), (u64, TokenUsage, u64)>);

impl Account {
    /// Adds one response.
    pub(crate) fn bill(
        &mut self,
        (model, price): (&str, &ModelPrice),
        tier: Tier,
        endpoint: &'static str,
        usage: TokenUsage,
    ) {
        let key = (model.to_owned(), tier, endpoint);
        let (requests, sums, picodollars) = self.0.entry(key).or_default();
        *requests += 1;
        sums.input += usage.input;
        sums.cached += usage.cached;
        sums.written += usage.written;
        sums.output += usage.output;
        sums.reasoning += usage.reasoning;
        *picodollars += price_of(price, tier, usage);
    }

    pub(crate) fn ledger(&self) -> Ledger {
        let entries =
            self.0
                .iter()
                .map(
                    |((model, tier, endpoint), (requests, sums, picodollars))| LedgerEntry {
                        model: model.clone(),
                        tier: *tier,
                        endpoint: (*endpoint).to_owned(),
                        requests: *requests,
                        input_tokens: sums.input,
                        cached_tokens: sums.cached,
                        cache_write_tokens: sums.written,
                        output_tokens: sums.output,
                        reasoning_tokens: sums.reasoning,
                        picodollars: *picodollars,
                    },
                );
        let entries: Vec<LedgerEntry> = entries.collect();
        let picodollars = entries.iter().map(|entry| entry.picodollars).sum();
        Ledger {
            picodollars,
            usd: picodollars as f64 / 1e12,
            entries,
        }
    }
}

/// Above this many tokens of input, a long request costs more.
const LONG_INPUT: u64 = 272_000;

/// What a response costs, in picodollars. Source: "Pricing".
fn price_of(price: &ModelPrice, tier: Tier, usage: TokenUsage) -> u64 {
    let plain = usage.input - usage.cached - usage.written;
    let mut input = plain * price.input
        + usage.cached * price.cached
        + usage.written * price.cache_write.unwrap_or(price.input);
    let mut output = usage.output * price.output;
    if price.long_costs_more && usage.input > LONG_INPUT {
        input *= 2;
        output = output * 3 / 2;
    }
    let standard = input + output;
    match tier {
        Tier::Default => standard,
        Tier::Flex | Tier::Batch => standard / 2,
        Tier::Priority => standard * 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::find;

    fn price(model: &str, tier: Tier, usage: TokenUsage) -> u64 {
        price_of(&find(model).unwrap().price, tier, usage)
    }

    /// Dollars, written as dollars and millionths of a dollar, in picodollars.
    fn micro(dollars: u64, millionths: u64) -> u64 {
        (dollars * 1_000_000 + millionths) * 1_000_000
    }

    #[test]
    fn a_million_tokens_cost_what_the_list_says() {
        // Input, cached input, output, in millionths of a dollar.
        for (model, [input, cached, output]) in [
            ("gpt-6-luna", [100_000, 10_000, 500_000]),
            ("gpt-6.1-terra", [1_000_000, 50_000, 5_000_000]),
            ("gpt-6-sol", [2_000_000, 200_000, 10_000_000]),
            ("gpt-5.6-luna", [200_000, 20_000, 1_200_000]),
            ("gpt-5.6-terra", [2_000_000, 200_000, 12_000_000]),
            ("gpt-4o-mini", [150_000, 75_000, 600_000]),
            ("text-embedding-3-small", [20_000, 20_000, 0]),
            ("text-embedding-3-large", [130_000, 130_000, 0]),
            ("text-embedding-ada-002", [100_000, 100_000, 0]),
        ] {
            // In four requests, so that none is long.
            let quarter = |usage| 4 * price(model, Tier::Default, usage);
            let tokens = 250_000;
            let of_input = TokenUsage {
                input: tokens,
                ..TokenUsage::default()
            };
            assert_eq!(quarter(of_input), micro(0, input), "{model}");
            let of_cache = TokenUsage {
                cached: tokens,
                ..of_input
            };
            assert_eq!(quarter(of_cache), micro(0, cached), "{model}");
            let of_output = TokenUsage {
                output: tokens,
                ..TokenUsage::default()
            };
            assert_eq!(quarter(of_output), micro(0, output), "{model}");
        }
    }

    #[test]
    fn a_response_is_billed_by_its_parts_and_its_tier() {
        let usage = TokenUsage {
            input: 1_900,
            cached: 1_024,
            written: 768,
            output: 901,
            reasoning: 0,
        };
        // 108 × 0.10 + 1,024 × 0.01 + 768 × 0.125 + 901 × 0.50 = 567.54 millionths.
        let standard = 567_540_000;
        assert_eq!(price("gpt-6-luna", Tier::Default, usage), standard);
        assert_eq!(price("gpt-6-luna", Tier::Flex, usage), standard / 2);
        assert_eq!(price("gpt-6-luna", Tier::Batch, usage), standard / 2);
        assert_eq!(price("gpt-6-luna", Tier::Priority, usage), standard * 2);
        // Without a fee for writes: (108 + 768) × 0.15 + 1,024 × 0.075 + 901 × 0.60.
        assert_eq!(price("gpt-4o-mini", Tier::Default, usage), 748_800_000);
    }

    #[test]
    fn a_long_request_costs_more_as_a_whole() {
        let usage = |input| TokenUsage {
            input,
            output: 1_000,
            ..TokenUsage::default()
        };
        let luna = |input| price("gpt-6-luna", Tier::Default, usage(input));
        assert_eq!(luna(272_000), micro(0, 27_200 + 500));
        assert_eq!(luna(272_001), 54_400_200_000 + micro(0, 750));
        let older = price("gpt-4.1", Tier::Default, usage(300_000));
        assert_eq!(older, micro(0, 600_000 + 8_000));
    }

    #[test]
    fn sums_are_kept_by_model_tier_and_endpoint() {
        let mut account = Account::default();
        let model = find("text-embedding-3-small").unwrap();
        let usage = TokenUsage {
            input: 3,
            ..TokenUsage::default()
        };
        for tier in [Tier::Batch, Tier::Default, Tier::Batch] {
            account.bill((model.name, &model.price), tier, "/v1/embeddings", usage);
        }
        let ledger = account.ledger();
        let sums: Vec<_> = ledger
            .entries
            .iter()
            .map(|e| (e.tier, e.requests, e.picodollars))
            .collect();
        assert_eq!(sums, [(Tier::Default, 1, 60_000), (Tier::Batch, 2, 60_000)]);
        assert_eq!(
            (
                ledger.picodollars,
                ledger.picodollars_of(model.name, Tier::Batch)
            ),
            (120_000, 60_000)
        );
    }
}
