//! The sizes that `OpenAI` accepts, as the simulator knows them.
//!
//! The client has its own copy of these numbers. They are kept apart on purpose: if the two
//! disagree, the simulator refuses what the client sends, and a test sees it.

use std::ops::RangeInclusive;

/// The most inputs of an embeddings request. Source: "Create embeddings", `input`.
pub(crate) const MAX_INPUTS: usize = 2_048;
/// The most tokens of one input. Source: "Create embeddings", `input`.
pub(crate) const MAX_INPUT_TOKENS: usize = 8_192;
/// The most tokens of all inputs together. Source: "Create embeddings", `input`.
pub(crate) const MAX_REQUEST_TOKENS: usize = 300_000;
/// [`MAX_REQUEST_TOKENS`] is checked with an estimate: one token for this many bytes of UTF-8.
/// Source: observed; the reference does not say it.
pub(crate) const ESTIMATED_BYTES_PER_TOKEN: usize = 4;

/// Source: "Create a model response", `max_output_tokens`.
pub(crate) const MIN_RESPONSE_TOKENS: usize = 16;
/// Source: "Create chat completion", `n`.
pub(crate) const MAX_CHOICES: usize = 128;
/// Source: "Create chat completion", `temperature`.
pub(crate) const MAX_TEMPERATURE: f64 = 2.0;
/// Source: "Create chat completion", `top_p`.
pub(crate) const MAX_TOP_P: f64 = 1.0;

/// The longest name of a schema. Source: "Create chat completion", `response_format`.
pub(crate) const MAX_SCHEMA_NAME_BYTES: usize = 64;
/// The most properties of a schema. Source: "Structured outputs", "Supported schemas".
pub(crate) const MAX_SCHEMA_PROPERTIES: usize = 5000;
/// The most levels of nesting of a schema. Source: "Structured outputs", "Supported schemas".
pub(crate) const MAX_SCHEMA_DEPTH: usize = 10;
/// The most values of all enums of a schema. Source: "Structured outputs", "Supported schemas".
pub(crate) const MAX_ENUM_VALUES: usize = 1000;

/// The largest body that the simulator reads. It is more than the largest request that `OpenAI`
/// accepts.
pub(crate) const MAX_BODY_BYTES: usize = 64 << 20;

/// The largest file of a batch. Source: "Batch", "Rate limits".
pub(crate) const MAX_FILE_BYTES: usize = 200 << 20;
/// What may surround the file in the body of an upload.
pub(crate) const MAX_UPLOAD_BYTES: usize = MAX_FILE_BYTES + (1 << 20);
/// The most requests of a batch. Source: "Batch", "Rate limits".
pub(crate) const MAX_BATCH_REQUESTS: usize = 50_000;
/// The most inputs of a batch of embeddings. Source: "Create batch", `endpoint`.
pub(crate) const MAX_BATCH_INPUTS: usize = 50_000;
/// Source: "Create batch", `metadata`.
pub(crate) const MAX_METADATA_PAIRS: usize = 16;
/// Source: "Create batch", `metadata`.
pub(crate) const MAX_METADATA_KEY_CHARS: usize = 64;
/// Source: "Create batch", `metadata`.
pub(crate) const MAX_METADATA_VALUE_CHARS: usize = 512;
/// How long the output files of a batch may stay: an hour to 30 days. Source: "Create batch",
/// `output_expires_after`.
pub(crate) const OUTPUT_EXPIRY_SECONDS: RangeInclusive<u64> = 3_600..=2_592_000;
