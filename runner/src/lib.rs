//! The runner.

pub mod store;
