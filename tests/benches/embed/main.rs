//! The embed flow under load: `cargo bench -p sluice-tests --bench embed -- rate memory real throughput poison
//! crowd`, or some of them, after `cargo build --release`. `NAME=POSTS` sets the number of posts.
//! Without a name, `memory` and `throughput` run; the others take minutes.
//!
//! Each bench prints its figures. docs/benchmarks.md has those of one machine.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has failed")]
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(
    clippy::indexing_slicing,
    reason = "a benchmark that cannot run has failed"
)]

mod crowd;
mod memory;
mod poison;
mod rate;
mod real;
mod support;
mod throughput;

#[tokio::main]
async fn main() {
    let words = std::env::args().skip(1);
    let named: Vec<String> = words.filter(|word| !word.starts_with('-')).collect();
    let posts = |name: &str, default: u32| posts(&named, name, default);
    if posts("rate", 0).is_some() {
        rate::run().await;
    }
    if let Some(posts) = posts("memory", 1_000_000) {
        memory::run(posts).await;
    }
    if let Some(posts) = posts("throughput", 3_000) {
        throughput::run(posts).await;
    }
    if let Some(posts) = posts("real", 50_000) {
        real::run(posts).await;
    }
    if let Some(posts) = posts("poison", 5_000) {
        poison::run(posts).await;
    }
    if let Some(posts) = posts("crowd", 20_000) {
        crowd::run(posts).await;
    }
}

/// How many posts a bench uses; `None` if it must not run.
fn posts(named: &[String], bench: &str, default: u32) -> Option<u32> {
    let is_quick = matches!(bench, "memory" | "throughput");
    if named.is_empty() && is_quick {
        return Some(default);
    }
    named.iter().find_map(|word| match word.split_once('=') {
        Some((name, posts)) if name == bench => Some(posts.parse().unwrap()),
        None if word == bench => Some(default),
        _ => None,
    })
}
