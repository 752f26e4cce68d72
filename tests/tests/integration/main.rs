//! The flows and the program against a real stack and a strict stand-in for the provider.

#![expect(clippy::unwrap_used, reason = "a test that cannot run has failed")]

mod access;
mod copied;
mod cut_over;
mod due;
mod earlier;
mod embed;
mod faults;
mod formula;
mod jobs;
mod leases;
mod limits;
mod local;
mod looking;
mod overlong;
mod own_table;
mod posts;
mod providers;
mod recompute;
mod rescore;
mod score;
mod scoring_support;
mod store;
mod worker;
