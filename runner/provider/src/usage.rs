//! What a request was billed for.

use std::ops::AddAssign;

use serde::Deserialize;

/// Tokens as the provider counted them.
///
/// Source: "The chat completion object", `usage`; "Embeddings", `usage`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "UsageBody")]
pub struct Usage {
    /// Tokens of the input, including those from the cache.
    pub input_tokens: u64,
    /// The part of the input that came from the provider's prompt cache, at a lower price.
    pub cached_input_tokens: u64,
    /// The part of the input that was written to the prompt cache, which some models bill at a higher price.
    pub cache_write_tokens: u64,
    /// Tokens of the answer, including reasoning; none for embeddings.
    pub output_tokens: u64,
}

impl Usage {
    /// Input and output together: limits on tokens a minute count both.
    pub fn total(&self) -> u64 {
        self.input_tokens + self.output_tokens
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.input_tokens += other.input_tokens;
        self.cached_input_tokens += other.cached_input_tokens;
        self.cache_write_tokens += other.cache_write_tokens;
        self.output_tokens += other.output_tokens;
    }
}

/// The names of chat completions and embeddings, and those of responses.
#[derive(Default, Deserialize)]
#[serde(default)]
struct UsageBody {
    #[serde(alias = "input_tokens")]
    prompt_tokens: u64,
    #[serde(alias = "output_tokens")]
    completion_tokens: u64,
    #[serde(alias = "input_tokens_details")]
    prompt_tokens_details: Option<Details>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Details {
    cached_tokens: Option<u64>,
    cache_write_tokens: Option<u64>,
}

impl From<UsageBody> for Usage {
    fn from(body: UsageBody) -> Self {
        let details = body.prompt_tokens_details.unwrap_or_default();
        Self {
            input_tokens: body.prompt_tokens,
            cached_input_tokens: details.cached_tokens.unwrap_or_default(),
            cache_write_tokens: details.cache_write_tokens.unwrap_or_default(),
            output_tokens: body.completion_tokens,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embeddings_report_input_alone() {
        let usage: Usage = serde_json::from_str(r#"{"prompt_tokens":8,"total_tokens":8}"#).unwrap();
        assert_eq!(
            usage,
            Usage {
                input_tokens: 8,
                ..Usage::default()
            }
        );
    }

    #[test]
    fn cached_input_is_part_of_the_input() {
        let usage: Usage = serde_json::from_str(
            r#"{"prompt_tokens":2006,"completion_tokens":300,"total_tokens":2306,
                "prompt_tokens_details":{"cached_tokens":1024,"cache_write_tokens":896,"audio_tokens":0}}"#,
        )
        .unwrap();
        let expected = Usage {
            input_tokens: 2006,
            cached_input_tokens: 1024,
            cache_write_tokens: 896,
            output_tokens: 300,
        };
        assert_eq!(usage, expected);
        let response: Usage = serde_json::from_str(
            r#"{"input_tokens":2006,"output_tokens":300,"input_tokens_details":{"cached_tokens":1024,
                "cache_write_tokens":896}}"#,
        )
        .unwrap();
        assert_eq!(response, expected);
        assert_eq!(usage.total(), 2306);
    }

    #[test]
    fn usages_add_up() {
        let mut sum = Usage {
            input_tokens: 1,
            cached_input_tokens: 2,
            cache_write_tokens: 4,
            output_tokens: 3,
        };
        sum += Usage {
            input_tokens: 10,
            cached_input_tokens: 20,
            cache_write_tokens: 40,
            output_tokens: 30,
        };
        let expected = Usage {
            input_tokens: 11,
            cached_input_tokens: 22,
            cache_write_tokens: 44,
            output_tokens: 33,
        };
        assert_eq!(sum, expected);
    }
}
