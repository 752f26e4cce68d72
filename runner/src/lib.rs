//! Sluice's workflow runner: store posts, embed them until none is left, score them, re-score them when
//! the rubric changes, and recompute their final scores, at the rate that the provider allows.
//!
//! The binary `sluice` is a thin shell around this library; scripts may call the same flows. The tour:
//!
//! - [`flow`] has the flows: store, embed, score, rescore, backfill and recompute.
//! - [`engine`] runs a flow over rows: leases, bounded stages, retries, a clean stop.
//! - [`provider`] speaks to the provider and keeps its limits; [`simulator`] answers in its place.
//! - [`scoring`] is the rubric, the prompt, the answers and the final score, all of it pure.
//! - [`db`] is the schema as types; [`local`] is an embedded Supabase.
//! - [`typegen`] writes the types of a database as Rust for the SDK.
//! - [`report`] and [`exit`] are what a run tells a program.

pub mod bundled;
pub mod cli;
pub mod command;
pub mod config;
pub mod db;
pub mod error;
pub mod exit;
pub mod flow;
pub mod job;
mod memory;
pub mod output;
pub mod report;
pub mod scoring;
mod text;
pub mod worker;

pub use error::Error;
pub use sluice_engine as engine;
#[cfg(feature = "local")]
pub use sluice_local as local;
pub use sluice_provider as provider;
#[cfg(feature = "simulator")]
pub use sluice_simulator as simulator;
#[cfg(feature = "typegen")]
pub use sluice_typegen as typegen;
