//! Tests the SDK against a live server with a row limit of 1,000, like hosted Supabase, and against
//! the crate `postgrest`.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in its helpers too"
)]

mod capped;
mod compliance;
mod feature;
mod guide;
mod newcomer;
mod otherwise;
mod peer;
mod postgrest_compat;
mod read;
mod resume;
mod script;
mod user;
mod whole;
mod write;
