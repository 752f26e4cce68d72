//! A stand-in for `OpenAI`: a server on this machine that answers embeddings and chat completions
//! by `OpenAI`'s protocol, with no key and no cost.
//!
//! It is *strict*: it refuses what `OpenAI` refuses, keeps rate limits and says so in its headers. It
//! is *deterministic*: vectors and scores follow from the text alone. It *fails on demand*, and it
//! *counts*, so that a test can prove that nothing was billed twice or sent too early. And it never
//! passes for the real thing: the model in every answer ends in [`MODEL_SUFFIX`].
//!
//! `docs/simulate.md` lists its endpoints, faults and counters.
//!
//! ```
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! use sluice_provider::{Client, Deadlines, EmbeddingRequest, Settings, http_client};
//! use sluice_simulator as simulate;
//!
//! let simulator = simulate::start(simulate::Config::default()).await?;
//! let mut settings = Settings::new("any key".into());
//! settings.base_url = simulator.base_url();
//! let client = Client::new(http_client(&Deadlines::default())?, settings)?;
//!
//! let inputs = ["The gnome is back."];
//! let model = "text-embedding-3-small";
//! let request = EmbeddingRequest { model, inputs: &inputs, dimensions: Some(256) };
//! let answer = client.embed(&request).await?;
//! assert_eq!(answer.model, "text-embedding-3-small-simulated");
//! assert_eq!(simulator.stats().embedded_times("The gnome is back."), 1);
//! simulator.shutdown().await;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod affinity;
mod bucket;
mod chat;
mod config;
mod embeddings;
mod exchange;
mod fault;
mod fields;
mod fill;
mod hash;
mod meter;
mod model;
mod prompt;
mod question;
mod refusal;
mod server;
mod spoil;
mod state;
mod stats;
mod strict;
mod tokens;
mod vector;

#[cfg(test)]
mod style_tests;
#[cfg(test)]
mod tests;

pub use config::{Change, Config, Latency, Limits, Style};
pub use fault::{Fault, Faults};
pub use model::MODEL_SUFFIX;
pub use server::{Simulator, start};
pub use stats::Stats;
