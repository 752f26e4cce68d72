//! The database's functions on a native Postgres: several sessions, locks, timeouts, and a schema that belongs to no
//! superuser. The tests pass at once unless `SLUICE_TEST_NATIVE=1` is set, because they need a Postgres with pgvector.

#![expect(clippy::unwrap_used, reason = "a test that cannot run has failed")]
#![allow(
    clippy::too_many_lines,
    reason = "a test with many sessions reads best in one piece"
)]

mod churn;
mod cut_over;
mod earlier;
mod fixture;
mod locks;
mod optional;
mod program;
mod schema;
mod search;
mod staging;
