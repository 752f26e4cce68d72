//! Memory does not grow with the table.

use std::time::Instant;

use sluice_runner::simulator::Config;
use sluice_tests::Endless;

use crate::support::program;

/// Measures the peak memory for 10,000 posts and for this many.
pub(crate) async fn run(posts: u32) {
    let config = || Config {
        count_texts: false,
        ..Config::default()
    };
    let mut peaks = Vec::new();
    for total in [10_000, u64::from(posts)] {
        let database = Endless::start(total, 40).await;
        let simulator = sluice_runner::simulator::start(config()).await.unwrap();
        let started = Instant::now();
        let run = program(database.url(), &simulator.base_url())
            .run(&["embed", "--output", "json"])
            .await;
        let report = run.json();
        assert_eq!(report["counts"]["written"], total, "{report}");
        assert_eq!(database.stored(), total);
        let peak = report["peak_memory_bytes"].as_u64().unwrap();
        println!(
            "memory: {total} posts: {:.1} MiB at most, {} requests to the database, {:.0} s",
            peak as f64 / f64::from(1 << 20),
            database.requests(),
            started.elapsed().as_secs_f64()
        );
        peaks.push(peak as f64);
    }
    let ratio = peaks[1] / peaks[0];
    println!("memory: ratio {ratio:.3}");
    assert!(ratio < 1.25, "the memory grows with the table");
}
