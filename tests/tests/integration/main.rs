//! The flows and the program against a real stack and a strict stand-in for the provider.

#![expect(clippy::unwrap_used, reason = "a test that cannot run has failed")]

mod embed;
mod faults;
mod leases;
mod limits;
#[cfg(unix)]
mod local;
mod posts;
mod store;
