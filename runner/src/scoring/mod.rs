//! Scoring, without any I/O: what a language model is asked about posts, how its answers are read,
//! and what becomes of them.
//!
//! - [`Rubric`]: what to score; checked, with a fingerprint of everything that changes the answers.
//! - [`Question`]: a rubric, or one dimension of it, as a [`Prompt`] and a strict [`AnswerSchema`];
//!   it also [reads](Question::read) the answers.
//! - [`combine`]: several answers about one post as one [`PostScore`].
//! - [`final_score`]: scores, [`Weights`] and [`Novelty`] as the one number that ranks a post.
//!
//! `docs/scoring.md` explains the arithmetic with worked examples.

mod answer;
mod check;
mod ensemble;
mod escape;
mod final_score;
mod fingerprint;
mod novelty;
mod prompt;
mod question;
mod rubric;
mod schema;
mod size;

pub use answer::{AnswerError, PostScore};
pub use check::{Problem, RubricError};
pub use ensemble::{combine, combine_batch};
pub use final_score::{MISSING_DIMENSION, Weights, WeightsError, final_score, stored_scores};
pub use fingerprint::PROMPT_VERSION;
pub use novelty::{FrequencyThresholds, MIN_SCORED_POSTS, Novelty};
pub use prompt::Prompt;
pub use question::{Question, UnknownDimension};
pub use rubric::{Anchors, Category, Dimension, Rubric, Scale};
pub use schema::AnswerSchema;
