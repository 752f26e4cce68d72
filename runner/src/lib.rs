//! The runner.

pub mod openai;
pub mod simulate;
