//! What is allowed, and a request that exceeds it.

use std::time::Duration;

/// How much may be sent in a minute, and how much at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimits {
    /// Requests a minute. `None` takes the limit that the provider's headers state, if they do.
    pub requests_per_minute: Option<u32>,
    /// Tokens a minute. `None` takes the limit that the provider's headers state, if they do.
    pub tokens_per_minute: Option<u32>,
    /// The most requests at once. At least one is always allowed.
    pub max_concurrency: u32,
    /// How many thousandths of both limits stay unused. They make up for the drift between this
    /// machine's clock and the provider's.
    pub headroom_permille: u16,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            requests_per_minute: None,
            tokens_per_minute: None,
            max_concurrency: 16,
            headroom_permille: 5,
        }
    }
}

/// A request that is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// It can never be sent.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// The provider has said that nothing is left of a limit for this long, which is longer than the caller waits.
    #[error("the provider allows no request for {0:?}")]
    Closed(Duration),
}

/// A request that can never be sent: it is larger than the limit of a whole minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a request of {asked} tokens is above the limit of {limit} tokens a minute; send less at once \
     or raise the limit"
)]
pub struct TooLarge {
    /// The request's tokens.
    pub asked: u32,
    /// The tokens that a minute allows.
    pub limit: u32,
}
