//! The encoders, held against a record of what PostgREST answered and an independent reading of its
//! grammar, which is itself held against the record.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod decode;
mod evaluate;
mod property;
mod record;
mod selection;
