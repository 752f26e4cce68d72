//! The provider of embeddings and scores: `OpenAI`, or a server that speaks its protocol.
//!
//! [`Client`] sends a request exactly once. Its callers decide when to send, how long to wait and
//! whether to try again. [`Response`] and [`Error`] tell them what they need for that:
//!
//! - [`EmbeddingRequest`] → [`Embeddings`]: one vector for each input, in the order of the inputs;
//! - [`ChatRequest`] → [`ChatCompletion`]: an answer under a strict JSON schema, or why there is none;
//! - [`RateHeaders`], [`Usage`]: what is left of the limits, and what was billed;
//! - [`Models`]: what each model takes and costs; [`Tokenizer`]: a request's tokens before it is sent;
//! - [`batch`]: many requests in one file, done within a day at half the price;
//! - [`limiter`], [`Budget`]: when a request may be sent, and whether there is money for it;
//! - [`write_vector`]: a vector in the text form that pgvector reads.
//!
//! Source: the `OpenAI` API reference, sections "Embeddings", "Chat completions", "Rate limits" and
//! "Error codes".

pub mod batch;
mod budget;
mod cache;
mod chat;
mod classify;
mod client;
mod embedding;
mod error;
mod head;
mod http;
pub mod limiter;
mod manner;
mod message;
mod model;
mod openai;
mod parameter;
mod price;
mod rate;
mod response;
mod responses;
mod surrogate;
mod tier;
mod usage;
mod vector;

pub use budget::{Budget, Exhausted, Reservation};
pub use chat::{AnswerFormat, ChatCompletion, ChatRequest, ServiceTier};
pub use client::{ChatApi, Client, ClientConfig, ClientConfigError, KeyHeader, Response};
pub use embedding::{EmbeddingRequest, Embeddings, VectorEncoding};
pub use error::{Breakage, Error, ErrorKind, Overload, RefusalCause};
pub use http::{Deadlines, http_client};
pub use message::{Message, Role, input_tokens};
pub use model::{Model, ModelSettings, Models, ReasoningEffort, TokenLimit, Vocabulary};
pub use openai::{
    BATCH_HOURS, DEFAULT_BASE_URL, MAX_INPUT_TOKENS, MAX_INPUTS, MAX_QUEUED_EMBEDDINGS,
    MAX_REQUEST_TOKENS, MAX_SCHEMA_NAME_BYTES, estimate,
};
pub use price::{LongInput, Price};
pub use rate::RateHeaders;
pub use sluice_tokens::{Piece, Tokenizer};
pub use surrogate::mend_surrogates;
pub use tier::Tier;
pub use usage::Usage;
pub use vector::write_vector;
