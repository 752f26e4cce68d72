//! The runner.

pub mod limiter;
pub mod openai;
pub mod scoring;
pub mod store;
