//! The provider of embeddings and scores: `OpenAI`, or a server that speaks its protocol.
//!
//! [`Client`] sends a request exactly once and says what came of it; when to send, how long to wait
//! and whether to try again is decided by its callers, who find what they need in [`Answer`] and
//! [`Error`]:
//!
//! - [`EmbeddingRequest`] → [`Embeddings`]: one vector for each input, in the order of the inputs;
//! - [`ChatRequest`] → [`ChatCompletion`]: an answer under a strict JSON schema, or why there is none;
//! - [`RateHeaders`], [`Usage`]: what is left of the limits, what was billed;
//! - [`Tokenizer`], [`Prices`]: what a request will count and cost, known before it is sent;
//! - [`write_vector`]: a vector in the text form that pgvector reads.
//!
//! Source: the `OpenAI` API reference, sections "Embeddings", "Chat completions", "Rate limits" and
//! "Error codes".

mod budget;
mod chat;
mod classify;
mod client;
mod embedding;
mod error;
mod http;
pub mod limiter;
mod model;
mod price;
mod rate;
mod reply;
mod token;
mod usage;
mod vector;

pub use budget::{Budget, Exhausted, Reservation};
pub use chat::{
    AnswerFormat, ChatCompletion, ChatRequest, MAX_SCHEMA_NAME_BYTES, Message, ReasoningEffort,
    Role,
};
pub use client::{
    Answer, Client, DEFAULT_BASE_URL, KeyHeader, Settings, SettingsError, VectorEncoding,
};
pub use embedding::{
    EmbeddingRequest, Embeddings, MAX_INPUT_TOKENS, MAX_INPUTS, MAX_REQUEST_TOKENS,
};
pub use error::{Breakage, Error, ErrorKind, Overload, Refusal};
pub use http::{Deadlines, http_client};
pub use model::{is_reasoning, takes_dimensions};
pub use price::{PRICES_AS_OF, Price, Prices};
pub use rate::RateHeaders;
pub use token::{Cut, Tokenizer, estimate};
pub use usage::Usage;
pub use vector::write_vector;
