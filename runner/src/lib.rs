//! The runner.

pub mod openai;
