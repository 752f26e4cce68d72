//! The SDK against a live server that caps what it returns at 1,000 rows, as hosted Supabase does, and
//! against the crate `postgrest`.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod capped;
mod feature;
mod guide;
mod otherwise;
mod peer;
mod postgrest_compat;
mod read;
mod resume;
mod script;
mod user;
mod write;
