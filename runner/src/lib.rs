//! The runner.

pub mod engine;
pub mod limiter;
pub mod store;
