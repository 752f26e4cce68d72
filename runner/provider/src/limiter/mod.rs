//! Requests and tokens a minute, kept at the provider's limits and never above them.
//!
//! [`Limiter::acquire`] waits in line until a request may be sent and returns a [`Permit`], which
//! is told how the request went. Behind it stand pure decisions over a state and a time that is
//! passed in: two meters (governor's GCRA) for requests and tokens a minute, a gate closed by
//! `Retry-After` and the rate-limit headers, and a concurrency that grows by one and halves on
//! overload. docs/limits.md explains the choices with worked examples.

mod concurrency;
mod gate;
mod limit;
mod meter;
mod model;
mod queue;
mod state;
mod usage;

pub use limit::{Cost, Limits, Observed, TooLarge};
pub use model::Limiters;
pub use queue::{Limiter, Permit, Snapshot};

/// A point in time: how long after the limiter's start.
type Moment = std::time::Duration;

/// The number of a request: the first that is sent is 1.
type Serial = u64;

#[cfg(test)]
mod simulation;
