//! Scoring, without any I/O: what a language model is asked about posts, how its answers are read,
//! and what becomes of them.
//!
//! - [`Rubric`]: what to score; checked, with a fingerprint of everything that changes the answers.
//! - [`Question`]: a rubric, or one dimension of it, as a [`Prompt`] and a strict [`AnswerSchema`];
//!   it also [reads](Question::read) the answers.
//! - [`combine`]: several answers about one post as one [`PostScore`].
//!

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

pub use answer::{AnswerError, PostScore};
pub use check::{Problem, RubricError};
pub use ensemble::{combine, combine_batch};
pub use fingerprint::PROMPT_VERSION;
pub use prompt::{Message, Prompt, Role};
pub use question::{Question, UnknownDimension};
pub use rubric::{Anchors, Category, Dimension, ReasoningEffort, Rubric, Scale};
pub use schema::AnswerSchema;
