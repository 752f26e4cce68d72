//! The arithmetic of final scores in Rust, which the tests compare with the database's.

mod final_score;
mod novelty;

pub use final_score::{Weights, final_score, stored_scores};
pub use novelty::{FrequencyThresholds, Novelty};
