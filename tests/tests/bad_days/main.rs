//! Bad days: what the program does when a service answers in odd ways. Each test counts requests, rows written and
//! rows dead, and reads the exit code and the message.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot run has failed"
)]

mod address;
mod blame;
mod faults;
mod input;
mod network;
mod output;
mod patience;
mod providers;
