//! The runner.

pub mod limiter;
pub mod store;
