//! `rescore --all`: a pass over every post that is interrupted goes on where it stopped.

use serde_json::{Value, json};
use sluice_runner::flow::ScoreScope;
use sluice_runner::simulator::{Config, ConfigChange, Faults, Latency, Simulator};
use sluice_tests::{Program, Run, Stack};

use crate::scoring_support::{TWO, add_posts, paced, run_score, three, until};

/// A stack with so many posts scored, and the program with the same rubric.
async fn scored(posts: u32) -> (Stack, Simulator, Program) {
    let stack = Stack::fresh().await;
    add_posts(&stack, posts).await;
    let simulator = stack.simulator(Config::default()).await;
    run_score(&stack.session(&simulator, TWO), ScoreScope::Missing).await;
    simulator.reset();
    let program = Program::on(&stack, &simulator.base_url()).configured(&paced(TWO, 2));
    (stack, simulator, program)
}

async fn rescore(program: &Program, options: &[&str], code: i32) -> Value {
    let arguments = [&["rescore", "--all", "--output", "json"], options].concat();
    let run: Run = program.run(&arguments).await;
    assert_eq!(run.code, Some(code), "{options:?}: {}", run.stderr);
    run.json()
}

fn goes_on(report: &Value) -> bool {
    let warnings = report.get("warnings").unwrap();
    warnings.to_string().contains("going on with the pass")
}

fn is(report: &Value, count: &str, rows: i64) -> bool {
    report.get("counts").and_then(|counts| counts.get(count)) == Some(&json!(rows))
}

#[tokio::test]
async fn a_killed_pass_over_all_posts_goes_on_and_scores_none_of_its_posts_twice() {
    let (stack, simulator, program) = scored(60).await;
    let latency = Some(Latency {
        fixed_ms: 60,
        ..Latency::default()
    });
    simulator
        .change(ConfigChange {
            latency,
            ..ConfigChange::default()
        })
        .unwrap();
    let done =
        "select count(*) from llm_scores where scored_at > (select started_at from score_passes)";
    let mut child = program.spawn(&["rescore", "--all"]);
    until("a third is done", async || stack.count(done).await >= 20).await;
    child.kill().await.unwrap();
    // A write that left before the kill may still arrive.
    let mut stored = stack.count(done).await;
    until("no write is under way", async || {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        std::mem::replace(&mut stored, stack.count(done).await) == stored
    })
    .await;
    assert!(stored < 60, "the kill came too late");
    let finished = stack
        .rows(
            "select text from posts p join llm_scores s on s.post_id = p.id
             where scored_at > (select started_at from score_passes)",
        )
        .await;
    stack
        .sql("update work_items set leased_until = clock_timestamp()")
        .await;

    let again = rescore(&program, &[], 0).await;
    assert!(goes_on(&again), "{again}");
    assert!(is(&again, "written", 60 - stored), "{again}");
    let stats = simulator.stats();
    for row in finished {
        let text = row["text"].as_str().unwrap();
        assert_eq!(stats.scored_times(text), 1, "{text}");
    }
    assert_eq!(stats.scored.len(), 60);

    // That pass has ended, so the next one is about every post again.
    let next = rescore(&program, &[], 0).await;
    assert!(!goes_on(&next) && is(&next, "written", 60), "{next}");
}

#[tokio::test]
async fn a_bounded_pass_goes_on_unless_it_is_told_to_begin_anew() {
    let (_stack, simulator, program) = scored(30).await;
    assert!(is(
        &rescore(&program, &["--limit", "10"], 3).await,
        "written",
        10
    ));
    // A look at what is left begins and ends nothing.
    for _ in 0..2 {
        assert!(is(
            &rescore(&program, &["--dry-run"], 0).await,
            "selected",
            20
        ));
        let anew = rescore(&program, &["--restart", "--dry-run"], 0).await;
        assert!(is(&anew, "selected", 30), "{anew}");
    }
    let more = rescore(&program, &["--limit", "5"], 3).await;
    assert!(goes_on(&more) && is(&more, "written", 5), "{more}");
    assert_eq!(
        simulator.stats().scored.len(),
        15,
        "none of the fifteen was asked about twice"
    );
    assert!(simulator.stats().scored.values().all(|times| *times == 1));

    let anew = rescore(&program, &["--restart"], 0).await;
    assert!(!goes_on(&anew) && is(&anew, "written", 30), "{anew}");
    let alone = program.run(&["rescore", "--restart"]).await;
    assert_eq!(alone.code, Some(2), "{}", alone.stderr);
}

#[tokio::test]
async fn a_pass_belongs_to_its_rubric() {
    let (_stack, _simulator, program) = scored(12).await;
    rescore(&program, &["--limit", "5"], 3).await;
    program.configure(&paced(&three(), 2));
    let other = rescore(&program, &[], 0).await;
    assert!(!goes_on(&other) && is(&other, "written", 12), "{other}");
}

#[tokio::test]
async fn a_pass_with_posts_that_failed_is_left_open_for_them_alone() {
    let (stack, simulator, program) = scored(12).await;
    stack
        .sql("update posts set text = 'arsenic in the punch' where post_id_ext = 'ext3'")
        .await;
    let faults = |poison: Option<&str>| ConfigChange {
        faults: Some(Faults {
            poison: poison.map(str::to_owned),
            ..Faults::default()
        }),
        ..ConfigChange::default()
    };
    simulator.change(faults(Some("arsenic"))).unwrap();
    let first = rescore(&program, &[], 4).await;
    assert!(
        is(&first, "written", 11) && is(&first, "dead", 1),
        "{first}"
    );

    simulator.change(faults(None)).unwrap();
    program.run(&["failures", "replay"]).await;
    let rest = rescore(&program, &[], 0).await;
    assert!(goes_on(&rest) && is(&rest, "written", 1), "{rest}");
    let open = "select count(*) from score_passes where ended_at is null";
    assert_eq!(stack.count(open).await, 0);
}
