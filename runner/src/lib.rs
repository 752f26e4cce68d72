//! Sluice's program: it stores posts, embeds and scores them, scores them again when the rubric changes,
//! and recomputes their final scores, as fast as the provider's limits allow.
//!
//! The binary `sluice` is a thin layer over this library. Scripts can call the same flows:
//!
//! - [`flow`] has the flows: store, embed, score, rescore, backfill and recompute.
//! - [`engine`] runs a flow over rows: leases, bounded stages, retries, a clean stop.
//! - [`provider`] is the client of the provider and its limits; [`simulator`] can take the provider's place.
//! - [`scoring`] has the rubric, the prompt and the parsing of scores, without I/O.
//! - [`db`] has the types of the schema; [`local`] is an embedded Supabase.
//! - [`postgres`] is a connection to Postgres itself, for migrations.
//! - [`typegen`] writes the types of a database as Rust for the SDK.
//! - [`report`] and [`exit`] have the results of a run, for programs.

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
pub mod traffic;
pub mod worker;

pub use error::Error;
pub use sluice_engine as engine;
#[cfg(feature = "local")]
pub use sluice_local as local;
#[cfg(feature = "postgres")]
pub use sluice_postgres as postgres;
pub use sluice_provider as provider;
#[cfg(feature = "simulator")]
pub use sluice_simulator as simulator;
#[cfg(feature = "typegen")]
pub use sluice_typegen as typegen;
