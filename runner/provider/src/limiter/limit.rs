//! What is allowed, what a request costs, and what a provider's answer says about both.

use std::time::Duration;

/// How much may be sent in a minute, and how much at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Requests a minute. `None` takes the limit that the provider's answers state, if they do.
    pub requests_per_minute: Option<u32>,
    /// Tokens a minute. `None` takes the limit that the provider's answers state, if they do.
    pub tokens_per_minute: Option<u32>,
    /// The most requests at once, however well it goes; at least one is always allowed.
    pub max_concurrency: u32,
    /// How many thousandths of both limits are left unused. They pay for the drift between this
    /// machine's clock and the provider's; bursts and slow networks are paid for by keeping the
    /// burst far below a minute's worth.
    pub headroom_permille: u16,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests_per_minute: None,
            tokens_per_minute: None,
            max_concurrency: 16,
            headroom_permille: 5,
        }
    }
}

/// What one call to the provider uses up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// Requests: one, but for calls that the provider counts several times.
    pub requests: u32,
    /// Tokens, counted exactly before sending: those of the input and the most of the output.
    pub tokens: u32,
}

impl Cost {
    /// The cost of one request of that many tokens.
    pub fn of_tokens(tokens: u32) -> Self {
        Self {
            requests: 1,
            tokens,
        }
    }
}

/// The rate-limit headers of an answer (`x-ratelimit-{limit,remaining,reset}-{requests,tokens}`).
/// Headers that are absent, negative or unreadable are `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Observed {
    /// Requests a minute.
    pub limit_requests: Option<u32>,
    /// Requests left at this moment.
    pub remaining_requests: Option<u32>,
    /// The time until all requests are back.
    pub reset_requests: Option<Duration>,
    /// Tokens a minute.
    pub limit_tokens: Option<u32>,
    /// Tokens left at this moment.
    pub remaining_tokens: Option<u32>,
    /// The time until all tokens are back.
    pub reset_tokens: Option<Duration>,
}

/// A request that no amount of waiting makes possible: alone it is above the limit of a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a request of {asked} {unit} is above the limit of {limit} {unit} a minute; send less at once \
     or raise the limit"
)]
pub struct TooLarge {
    /// What the request needs.
    pub asked: u32,
    /// What a minute allows.
    pub limit: u32,
    /// Which limit it is: `requests` or `tokens`.
    pub unit: &'static str,
}
