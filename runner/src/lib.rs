//! The runner.

pub mod scoring;
pub mod store;
