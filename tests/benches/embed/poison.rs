//! Ten posts that the provider refuses, among thousands of good ones.

use sluice_runner::simulator::{Config, ConfigChange, Faults};
use sluice_tests::{Program, Stack};

use crate::support::fill;

/// The text that the provider refuses.
const MARKER: &str = "☠";
/// Posts that have it.
const BAD: u32 = 10;
/// Extra requests that each of them may cost.
const EXTRA: f64 = 12.0;

pub(crate) async fn run(posts: u32) {
    let stack = Stack::fresh().await;
    fill(&stack, posts).await;
    let mark = format!(
        "update posts set text = text || '{MARKER}' where id in (
           select id from (select id, row_number() over (order by id) as place from posts) p
           where place % {} = 7)",
        posts / BAD
    );
    stack.sql(&mark).await;
    let faults = Faults {
        poison: Some(MARKER.to_owned()),
        ..Faults::default()
    };
    let simulator = stack
        .simulator(Config {
            faults,
            ..Config::default()
        })
        .await;
    let program = Program::on(&stack, &simulator.base_url());
    let run = program.run(&["embed", "--output", "json"]).await;
    let (report, needed) = (run.json(), posts.div_ceil(100));
    let extra = (simulator.stats().requests - u64::from(needed)) as f64 / f64::from(BAD);
    let with_reason =
        "select count(*) from work_items where dead and last_error like '%refuses the input%'";
    println!(
        "poison: {} of {posts} embedded, {} dead, {} of them with their reason, exit {:?}; {extra:.1} extra requests a bad row",
        report["counts"]["written"],
        report["counts"]["dead"],
        stack.count(with_reason).await,
        run.code,
    );
    assert_eq!(run.code, Some(4), "{}", run.stderr);
    assert_eq!(report["counts"]["written"], posts - BAD);
    assert_eq!(stack.count(with_reason).await, i64::from(BAD));
    assert!(extra <= EXTRA);

    let repaired = ConfigChange {
        faults: Some(Faults::default()),
        ..ConfigChange::default()
    };
    simulator.change(repaired).unwrap();
    let replay = program
        .run(&["failures", "replay", "--output", "json"])
        .await;
    let run = program.run(&["embed", "--output", "json"]).await;
    let twice: u64 = simulator
        .stats()
        .embedded
        .values()
        .map(|times| times - 1)
        .sum();
    println!(
        "poison: after the repair {} replayed, {} embedded, exit {:?}; {twice} texts billed twice in all",
        replay.json()["replayed"],
        run.json()["counts"]["written"],
        run.code,
    );
    assert_eq!((run.code, twice), (Some(0), 0));
}
