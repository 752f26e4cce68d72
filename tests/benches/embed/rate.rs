//! The flow uses the allowed rate and no more.

use std::time::Duration;

use sluice_runner::simulator::{Config, Latency, SimulatedLimits};
use sluice_tests::Endless;

use crate::support::program;

/// One million tokens a minute and 200 ms a response, for three minutes.
pub(crate) async fn run() {
    const LIMIT: u64 = 1_000_000;
    let database = Endless::start(10_000_000, 40).await;
    let config = Config {
        limits: SimulatedLimits {
            tokens_per_minute: Some(LIMIT),
            burst_seconds: 1.0,
            ..SimulatedLimits::default()
        },
        latency: Latency {
            fixed_ms: 200,
            ..Latency::default()
        },
        count_texts: false,
        ..Config::default()
    };
    let simulator = sluice_runner::simulator::start(config).await.unwrap();
    let program = program(database.url(), &simulator.base_url());
    let run = tokio::spawn(async move {
        program
            .run(&["embed", "--deadline", "3m", "--output", "json"])
            .await
    });
    let (mut before, mut shares) = (0, Vec::new());
    for minute in 1..=3 {
        tokio::time::sleep(Duration::from_secs(60)).await;
        let tokens = simulator.stats().input_tokens;
        let used = (tokens - before) as f64 / LIMIT as f64;
        println!(
            "rate: minute {minute}: {:.2} % of the allowed tokens",
            used * 100.0
        );
        before = tokens;
        shares.push(used);
    }
    let run = run.await.unwrap();
    let stats = simulator.stats();
    println!(
        "rate: {} requests, {} with status 429 ({:.3} %), {} sent before a Retry-After had passed; exit {:?}",
        stats.requests,
        stats.rate_limited,
        stats.rate_limited as f64 * 100.0 / stats.requests as f64,
        stats.too_early,
        run.code
    );
    assert!(
        shares.iter().all(|share| (0.98..=1.02).contains(share)),
        "not the allowed rate"
    );
    assert_eq!(stats.too_early, 0);
    assert_eq!(run.code, Some(3), "{}", run.stderr);
}
