//! `sluice run`: what is due, in one process.

use serde_json::{Value, json};
use sluice_runner::simulator::{Config, Fault, Faults};
use sluice_tests::{Program, Stack};

use crate::support::posts::line;
use crate::support::scores::{TWO, paced, three};
use crate::support::{set_faults, slow};

fn flows(report: &Value) -> Vec<&str> {
    let flows = report["flows"].as_array().map_or(&[][..], Vec::as_slice);
    flows
        .iter()
        .map(|flow| flow["flow"].as_str().unwrap())
        .collect()
}

fn posts(count: usize) -> String {
    let lines: Vec<String> = (0..count)
        .map(|at| line("Elm Park", &format!("Who lost the cat number {at}?")))
        .collect();
    lines.join("\n")
}

#[tokio::test]
async fn everything_that_is_due_is_done_once() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(Config::default()).await;
    let program = Program::on(&stack, &simulator.base_url()).configured(TWO);
    let file = program.file("posts.jsonl", posts(12));
    let file = file.to_str().unwrap();
    let dry = program.json(&["run", file, "--dry-run"]).await;
    assert_eq!(dry["dry_run"], true);
    assert_eq!(simulator.stats().requests, 0);
    assert_eq!(stack.count("select count(*) from posts").await, 0);

    let report = program.json(&["run", file]).await;
    assert_eq!(report["status"], "complete");
    assert_eq!(
        flows(&report),
        ["store", "embed", "score", "rescore", "recompute"]
    );
    assert_eq!(report["flows"][0]["counts"]["inserted"], 12);
    assert_eq!(report["counts"]["written"], 12 + 12 + 12);
    let dollars = |flow: &Value| flow["usd"].as_f64().unwrap();
    let parts = report["flows"].as_array().unwrap();
    let sum: f64 = parts.iter().map(dollars).sum();
    assert!((dollars(&report) - sum).abs() < 1e-12 && sum > 0.0);
    let final_scores =
        "select count(*) from post_scores where weight_config_id = active_weight_config()";
    assert_eq!(stack.count(final_scores).await, 12);

    // Nothing is due, so nothing is paid and nothing is computed again.
    let paid = simulator.stats().requests;
    let again = program.json(&["run"]).await;
    assert_eq!(flows(&again), ["embed", "score", "rescore"]);
    assert_eq!(
        (simulator.stats().requests, &again["counts"]["written"]),
        (paid, &json!(0))
    );

    // Other weights have no scores yet, which the recompute finds out.
    stack.sql("delete from post_scores").await;
    assert_eq!(
        flows(&program.json(&["run"]).await),
        ["embed", "score", "rescore", "recompute"]
    );
    assert_eq!(stack.count(final_scores).await, 12);
}

#[tokio::test]
async fn steps_are_those_of_the_configuration() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(Config::default()).await;
    let program =
        Program::on(&stack, &simulator.base_url()).configured("[workflow]\nsteps = [\"embed\"]\n");
    let file = program.file("posts.jsonl", posts(1));
    let file = file.to_str().unwrap();
    let refused = program.run(&["run", file]).await;
    assert_eq!(refused.code, Some(2));
    assert!(
        refused.stderr.contains("workflow.steps"),
        "{}",
        refused.stderr
    );
    assert_eq!(flows(&program.json(&["run"]).await), ["embed"]);
    program.configure("[workflow]\nsteps = [\"embed\", \"scrape\"]\n");
    let unknown = program.run(&["run"]).await;
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.stderr.contains("scrape") && unknown.stderr.contains("recompute"));
}

#[tokio::test]
async fn the_exit_code_is_the_worst_and_the_other_steps_are_done() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(Config::default()).await;
    let program = Program::on(&stack, &simulator.base_url()).configured(TWO);
    let file = program.file("posts.jsonl", format!("{}\nnot JSON\n", posts(3)));
    let file = file.to_str().unwrap();
    let run = program.run(&["run", file, "--json"]).await;
    assert_eq!(run.code, Some(4), "{}", run.stderr);
    assert_eq!(run.json()["flows"][4]["status"], "complete");

    set_faults(&simulator, Faults::only(Fault::Quota, 1.0));
    stack.sql("delete from post_embeddings").await;
    let run = program.run(&["run", file, "--json"]).await;
    assert_eq!(run.code, Some(5), "{}", run.stderr);
    let report = run.json();
    assert!(
        report["reason"].as_str().unwrap().contains("quota"),
        "{report}"
    );

    let refused = program.with("SUPABASE_SERVICE_KEY", "wrong");
    let run = refused.run(&["run", file, "--json"]).await;
    assert_eq!(run.code, Some(6), "{}", run.stderr);
    let report = run.json();
    assert_eq!(flows(&report), ["store"], "the other steps would fail, too");
}

#[tokio::test]
async fn all_steps_share_one_deadline_and_one_budget() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(slow(300)).await;
    let program = Program::on(&stack, &simulator.base_url()).configured(&paced(TWO, 1));
    let file = program.file("posts.jsonl", posts(60));
    let file = file.to_str().unwrap();
    let began = tokio::time::Instant::now();
    let run = program
        .run(&["run", file, "--deadline", "2s", "--json"])
        .await;
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    assert!(began.elapsed().as_secs_f64() < 5.0, "{:?}", began.elapsed());
    assert!(
        run.json()["reason"].as_str().unwrap().contains("2s"),
        "{}",
        run.stdout
    );

    let cheap = program
        .run(&["run", "--max-usd", "0.0000001", "--json"])
        .await;
    assert_eq!(cheap.code, Some(3), "{}", cheap.stderr);
    assert!(
        cheap.json()["usd"].as_f64().unwrap() <= 1e-7,
        "{}",
        cheap.stdout
    );
}

#[tokio::test]
async fn two_runs_at_once_pay_for_nothing_twice() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(slow(50)).await;
    let program = Program::on(&stack, &simulator.base_url()).configured(&three());
    let file = program.file("posts.jsonl", posts(40));
    let arguments = ["run", file.to_str().unwrap(), "--json"];
    let (one, other) = tokio::join!(program.run(&arguments), program.run(&arguments));
    assert_eq!(
        (one.code, other.code),
        (Some(0), Some(0)),
        "{}{}",
        one.stderr,
        other.stderr
    );
    let stats = simulator.stats();
    assert!(
        stats.scored.values().all(|times| *times == 1),
        "{:?}",
        stats.scored
    );
    let written = |run: &sluice_tests::Run, at: usize| {
        run.json()["flows"][at]["counts"]["written"]
            .as_u64()
            .unwrap()
    };
    assert_eq!(written(&one, 1) + written(&other, 1), 40);
    let final_scores =
        "select count(*) from post_scores where weight_config_id = active_weight_config()";
    assert_eq!(stack.count(final_scores).await, 40);
}
