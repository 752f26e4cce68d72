//! Requests and tokens a minute, kept at the provider's limits and never above them.
//!
//! [`Limiter::acquire`] waits in line until a request may be sent. It returns a [`Permit`], which
//! takes note of how the request went. The decisions behind it are pure: they depend on a state
//! and on a time that is passed in. They combine two meters (governor's GCRA) for requests and
//! tokens a minute, a gate that `Retry-After` and the rate-limit headers close, and a concurrency
//! that grows by one and halves on overload. docs/limits.md explains the choices with examples.

mod concurrency;
mod gate;
mod limit;
mod meter;
mod model;
mod queue;
mod state;

pub use limit::{NotSent, RateLimits, TooLarge};
pub use model::Limiters;
pub use queue::{Limiter, Permit};

/// A point in time: how long after the limiter's start.
type Moment = std::time::Duration;

/// The number of a request. The first that is sent is 1.
type Serial = u64;

#[cfg(test)]
mod simulation;
