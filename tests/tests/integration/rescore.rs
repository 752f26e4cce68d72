//! `rescore --all` is a pass over every post. If it is interrupted, the next run continues it.

use serde_json::{Value, json};
use sluice_runner::simulator::{Faults, Simulator};
use sluice_tests::{Program, Run, Stack};

use crate::support::scores::{TWO, paced, program, scored, three};
use crate::support::{poison, set_faults, settled_count, slow_down, until};

/// A stack with this many posts scored, and the program with the same rubric.
async fn prepared(posts: u32) -> (Stack, Simulator, Program) {
    let (stack, simulator) = scored(posts).await;
    let program = program(&stack, &simulator, TWO);
    (stack, simulator, program)
}

async fn rescore(program: &Program, options: &[&str], code: i32) -> Value {
    let arguments = [&["rescore", "--all", "--output", "json"], options].concat();
    let run: Run = program.run(&arguments).await;
    assert_eq!(run.code, Some(code), "{options:?}: {}", run.stderr);
    run.json()
}

fn continues(report: &Value) -> bool {
    let warnings = report.get("warnings").unwrap();
    warnings.to_string().contains("continuing the pass")
}

fn is(report: &Value, count: &str, rows: i64) -> bool {
    report.get("counts").and_then(|counts| counts.get(count)) == Some(&json!(rows))
}

#[tokio::test]
async fn killed_pass_over_all_posts_continues_and_scores_no_post_twice() {
    let (stack, simulator, program) = prepared(60).await;
    slow_down(&simulator, 60);
    let done =
        "select count(*) from llm_scores where scored_at > (select started_at from score_passes)";
    let mut child = program.spawn(&["rescore", "--all"]);
    until("a third is done", async || stack.count(done).await >= 20).await;
    child.kill().await.unwrap();
    let stored = settled_count(&stack, done).await;
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
    assert!(continues(&again), "{again}");
    assert!(is(&again, "written", 60 - stored), "{again}");
    let stats = simulator.stats();
    for row in finished {
        let text = row["text"].as_str().unwrap();
        assert_eq!(stats.scored_times(text), 1, "{text}");
    }
    assert_eq!(stats.scored.len(), 60);

    // That pass has ended, so the next one scores every post again.
    let next = rescore(&program, &[], 0).await;
    assert!(!continues(&next) && is(&next, "written", 60), "{next}");
}

#[tokio::test]
async fn limited_pass_continues_unless_restart_is_given() {
    let (_stack, simulator, program) = prepared(30).await;
    assert!(is(
        &rescore(&program, &["--limit", "10"], 3).await,
        "written",
        10
    ));
    // A dry run neither begins nor ends a pass.
    for _ in 0..2 {
        assert!(is(
            &rescore(&program, &["--dry-run"], 0).await,
            "selected",
            20
        ));
        let restarted = rescore(&program, &["--restart", "--dry-run"], 0).await;
        assert!(is(&restarted, "selected", 30), "{restarted}");
    }
    let more = rescore(&program, &["--limit", "5"], 3).await;
    assert!(continues(&more) && is(&more, "written", 5), "{more}");
    assert_eq!(
        simulator.stats().scored.len(),
        15,
        "none of the fifteen was scored twice"
    );
    assert!(simulator.stats().scored.values().all(|times| *times == 1));

    let restarted = rescore(&program, &["--restart"], 0).await;
    assert!(
        !continues(&restarted) && is(&restarted, "written", 30),
        "{restarted}"
    );
    let alone = program.run(&["rescore", "--restart"]).await;
    assert_eq!(alone.code, Some(2), "{}", alone.stderr);
}

#[tokio::test]
async fn pass_belongs_to_its_rubric() {
    let (_stack, _simulator, program) = prepared(12).await;
    rescore(&program, &["--limit", "5"], 3).await;
    program.configure(&paced(&three(), 2));
    let other = rescore(&program, &[], 0).await;
    assert!(!continues(&other) && is(&other, "written", 12), "{other}");
}

#[tokio::test]
async fn pass_with_failed_posts_stays_open_for_them() {
    let (stack, simulator, program) = prepared(12).await;
    stack
        .sql("update posts set text = 'arsenic in the punch' where post_id_ext = 'ext3'")
        .await;
    set_faults(&simulator, poison("arsenic"));
    let first = rescore(&program, &[], 4).await;
    assert!(
        is(&first, "written", 11) && is(&first, "dead", 1),
        "{first}"
    );

    set_faults(&simulator, Faults::default());
    program.run(&["failures", "replay"]).await;
    let rest = rescore(&program, &[], 0).await;
    assert!(continues(&rest) && is(&rest, "written", 1), "{rest}");
    let open = "select count(*) from score_passes where ended_at is null";
    assert_eq!(stack.count(open).await, 0);
}
