//! Scoring, without any I/O: what a language model is asked about posts, and how its answers are read.
//!
//! - [`Rubric`]: what to score. It is checked, and has a fingerprint of everything that changes the answers.
//! - [`Question`]: a rubric, or one dimension of it. It makes a [`Prompt`] and a strict [`AnswerSchema`], and
//!   [reads](Question::read) the answers.
//! - [`combine_batch`]: several answers about each post as one [`PostScore`].
//! - [`Weights`]: how much each dimension counts. The final score itself is computed in SQL.
//!
//! `docs/scoring.md` explains the arithmetic with worked examples.

mod agreement;
mod answer;
mod check;
mod ensemble;
mod escape;
mod fingerprint;
mod prompt;
mod question;
mod rubric;
mod schema;
mod size;
mod weights;

pub use agreement::{Agreement, DimensionAgreement, Judgement};
pub use answer::{AnswerError, PostScore};
pub use check::{Problem, RubricError};
pub use ensemble::combine_batch;
pub use fingerprint::PROMPT_VERSION;
pub use prompt::Prompt;
pub use question::{Question, UnknownDimension};
pub use rubric::{
    Anchors, Category, DEFAULT_MODEL, Dimension, EARLIER_MODEL, Rubric, Scale, Texts,
};
pub use schema::AnswerSchema;
pub use weights::{Weights, WeightsError};
