//! Tests the SDK without a server: its encoders against a record and an independent parser of the
//! grammar, its responses against recorded exchanges, and its loops against a table in memory.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod checkpoint;
mod client;
mod exchange;
mod grammar;
mod keyset;
mod list;
mod memory;
mod outcome;
mod privacy;
mod reference;
mod server;
mod session;
mod surface;
mod tls;
mod whole;
mod wire;
mod write;
