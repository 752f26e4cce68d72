//! A simulator of `OpenAI`: a server on this machine that answers requests for embeddings, chat
//! completions, responses and batches by `OpenAI`'s protocol. It needs no key and costs nothing.
//!
//! It is *strict*: it refuses what `OpenAI` refuses, and enforces rate limits. It is *deterministic*:
//! vectors and scores follow from the text alone. It *fails on demand*, and it *counts* and *bills*, so
//! that a test can prove that nothing was billed twice or sent too early. Nobody can take its results for
//! real ones: the model in every response ends in [`MODEL_SUFFIX`].
//!
//! It shares no code with the client. Its models and limits are its own, so that a test sees where
//! the two disagree.
//!
//! `docs/simulate.md` lists its endpoints, faults and counters.
//!
//! ```
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! use sluice_provider::{Client, Deadlines, EmbeddingRequest, ClientConfig, http_client};
//! use sluice_simulator::{Config, start};
//!
//! let simulator = start(Config::default()).await?;
//! let mut settings = ClientConfig::new("any key".into());
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

mod answer;
mod batch;
mod cache;
mod config;
mod error_response;
mod fault;
mod hash;
mod http;
mod ledger;
mod limit;
mod model;
mod rate;
mod request;
mod state;
mod stats;
mod tokens;

pub use batch::{BatchConfig, BatchFaults, BatchStep};
pub use config::{Config, ConfigChange, Latency, ModelAccess, SimulatedLimits, Style};
pub use fault::{Fault, Faults};
pub use http::{Simulator, start};
pub use ledger::{Ledger, LedgerEntry, Tier};
pub use model::MODEL_SUFFIX;
pub use stats::{BatchStats, Stats};
