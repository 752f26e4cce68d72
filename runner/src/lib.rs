//! The runner.

pub mod scoring;
