//! The runner.

pub mod openai;
pub mod scoring;
pub mod store;
