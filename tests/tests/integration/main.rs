//! The flows and the program against a real stack and a strict simulator of the provider.

#![expect(clippy::unwrap_used, reason = "a test that cannot run has failed")]

mod access;
mod batched_scores;
mod batches;
mod budget;
mod copied;
mod cut_over;
mod doctor;
mod due;
mod earlier;
mod embed;
mod faults;
mod formula;
mod gateway;
mod inspect;
mod jobs;
mod leases;
mod limits;
mod local;
mod mistakes;
mod models;
mod newcomer;
mod oversized;
mod own_table;
mod providers;
mod recompute;
mod report_page;
mod rescore;
mod score;
mod store;
mod support;
mod traces;
mod triggers;
mod worker;
mod workflow;
