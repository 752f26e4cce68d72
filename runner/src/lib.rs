//! The runner.

pub mod engine;
pub mod limiter;
pub mod openai;
pub mod scoring;
pub mod store;
