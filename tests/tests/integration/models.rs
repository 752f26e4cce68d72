//! Models: a new default spends nothing unasked, and money is kept whatever a model costs.

use serde_json::{Value, json};
use sluice_runner::engine::Stop;
use sluice_runner::exit::Exit;
use sluice_runner::flow::{self, FlowOptions, ScoreScope};
use sluice_runner::provider::ReasoningEffort;
use sluice_runner::scoring::{EARLIER_MODEL, Rubric};
use sluice_runner::simulator::{Config, Fault, Faults};
use sluice_tests::{Program, Stack};

use crate::support::scores::{TWO, add_posts, run_score, scores};
use crate::support::{reason, rows, set_faults, slow};

/// What pins the default of an earlier version.
const PINNED: &str = "[scoring]\nmodel = 'gpt-4o-mini'\n";

/// What changes to the new default.
const CHANGED: &str = "[scoring]\nmodel = 'gpt-6-luna'\nreasoning_effort = 'none'\n";

/// The warnings of a report that are about the model.
fn about_the_model(report: &Value) -> Vec<&str> {
    let warnings = report["warnings"].as_array().unwrap().iter();
    let warnings = warnings.filter_map(Value::as_str);
    warnings
        .filter(|text| text.contains(EARLIER_MODEL))
        .collect()
}

/// A project of an earlier version after the upgrade: its scores are by the default model of that version, and its
/// configuration names no model.
#[tokio::test]
async fn new_default_spends_nothing_unasked() {
    let stack = Stack::fresh().await;
    add_posts(&stack, 12).await;
    let simulator = stack.simulator(Config::default()).await;
    run_score(&stack.session(&simulator, PINNED), ScoreScope::Missing).await;
    // What an earlier version has stored, whose fingerprint no later version may change.
    let earlier = "select count(*) from llm_scores where fingerprint = '4d1b5848099057dd'";
    assert_eq!(stack.count(earlier).await, 12);
    simulator.reset();
    let before = scores(&stack).await;

    let program = Program::on(&stack, &simulator.base_url());
    for flow in ["score", "rescore"] {
        let report = program.json(&[flow]).await;
        assert_eq!(report["counts"]["selected"], 0, "{flow}");
        let warnings = about_the_model(&report);
        assert_eq!(warnings.len(), 1, "{report}");
        for word in ["model = \"gpt-4o-mini\"", "2027-01-14", "sluice rescore"] {
            assert!(warnings[0].contains(word), "{word}: {}", warnings[0]);
        }
    }
    program.complete(&["jobs", "enqueue", "rescore_all"]).await;
    program.complete(&["worker", "--once"]).await;
    let plan = program.run(&["plan", "rescore", "--output", "json"]).await;
    assert_eq!(plan.json()[0]["rows"], 0);
    assert_eq!(
        plan.stderr.matches("names no model").count(),
        1,
        "{}",
        plan.stderr
    );
    assert_eq!(simulator.stats().requests, 0);
    assert_eq!(scores(&stack).await, before);

    // A new post gets a score that can be compared with the others.
    stack
        .sql("update posts set text = 'The coyote is back!' where post_id_ext = 'ext2'")
        .await;
    assert_eq!(program.json(&["score"]).await["counts"]["written"], 1);
    assert_eq!(stack.count(earlier).await, 12);

    // Either way out works, and neither warns.
    program.configure(PINNED);
    let pinned = program.json(&["rescore"]).await;
    assert_eq!(pinned["counts"]["selected"], 0);
    program.configure(CHANGED);
    let changed = program.json(&["rescore"]).await;
    assert_eq!(changed["counts"]["written"], 12);
    assert_eq!(stack.count(earlier).await, 0);
    for report in [pinned, changed] {
        assert_eq!(about_the_model(&report), Vec::<&str>::new());
    }
    // By now the new default has scored everything, so a configuration without a model has nothing to do.
    program.configure("");
    let asked = simulator.stats().requests;
    let settled = program.json(&["rescore"]).await;
    assert_eq!(settled["counts"]["selected"], 0);
    assert_eq!(about_the_model(&settled), Vec::<&str>::new());
    assert_eq!(simulator.stats().requests, asked);
}

#[tokio::test]
async fn changing_who_writes_texts_makes_nothing_due() {
    let stack = Stack::fresh().await;
    add_posts(&stack, 5).await;
    let simulator = stack.simulator(Config::default()).await;
    for (texts, due) in [("one_run", 5), ("every_run", 0), ("one_run", 0)] {
        let toml = format!("[scoring]\ntexts = '{texts}'");
        let session = stack.session(&simulator, &toml);
        let outcome = run_score(&session, ScoreScope::Stale).await;
        assert_eq!(rows(&outcome).selected, due, "{texts}");
    }
    let without = "select count(*) from llm_scores where summary = '' or why_podcast_worthy = ''";
    assert_eq!(stack.count(without).await, 0);
}

/// Models of each way to be billed: with and without a price of cache writes, with and without reasoning.
const MODELS: [&str; 8] = [
    "gpt-6-luna",
    "gpt-6.1-terra",
    "gpt-6-sol",
    "gpt-5.6-luna",
    "gpt-5.6-terra",
    "gpt-4o-mini",
    "gpt-4.1",
    "gpt-5-mini",
];

/// Each budget is half of the bill for all posts, with many of them in flight at once.
#[tokio::test]
async fn budget_holds_with_requests_in_flight_over_every_model() {
    let stack = Stack::fresh().await;
    add_posts(&stack, 160).await;
    for model in MODELS {
        let simulator = stack.simulator(slow(30)).await;
        let toml = format!(
            "[limits]\nconcurrency = 32\n[scoring]\nmodel = '{model}'\nposts_per_call = 2\nruns = 2"
        );
        let session = stack.session(&simulator, &toml);
        let score = async |max_usd| {
            stack
                .sql("delete from llm_scores; delete from work_items")
                .await;
            simulator.reset();
            let options = FlowOptions {
                max_usd,
                ..FlowOptions::default()
            };
            let run = session.begin(options, Stop::new());
            let scored = flow::score(&session, &run, ScoreScope::Missing).await;
            (scored.unwrap(), simulator.ledger().usd)
        };
        let (all, bill) = score(None).await;
        assert_eq!(all.exit, Exit::Complete, "{model}");
        let most = bill / 2.0;
        let (outcome, billed) = score(Some(most)).await;
        assert!(billed <= most, "{model}: ${billed} of ${most}");
        assert!(billed > most / 4.0, "{model}: ${billed} of ${most}");
        let reported = outcome.report.usd.unwrap();
        assert!(
            (reported - billed).abs() < 1e-9,
            "{model}: ${reported} reported, ${billed} billed"
        );
        assert_eq!(
            outcome.exit,
            Exit::MoreRemains,
            "{model}: {}",
            reason(&outcome)
        );
        assert!(
            reason(&outcome).contains("budget"),
            "{model}: {}",
            reason(&outcome)
        );
    }
}

#[tokio::test]
async fn default_of_a_new_project_is_what_the_guide_says() {
    let rubric = Rubric::default();
    assert_eq!(rubric.model(), "gpt-6-luna");
    assert_eq!(rubric.effort().map(ReasoningEffort::as_str), Some("none"));
}

#[tokio::test]
async fn comparison_scores_a_sample_and_stores_nothing() {
    let stack = Stack::fresh().await;
    add_posts(&stack, 23).await;
    let simulator = stack.simulator(Config::default()).await;
    let program = Program::on(&stack, &simulator.base_url()).configured(TWO);
    let none = program.run(&["rescore", "--compare", "gpt-6-sol"]).await;
    assert_eq!(none.code, Some(2), "{}", none.stderr);
    program.complete(&["score"]).await;
    let before = scores(&stack).await;
    simulator.reset();

    let compare = ["rescore", "--compare", "gpt-6-sol", "--limit", "12"];
    let compared = program.json(&compare).await;
    assert_eq!(
        (&compared["posts"], &compared["failed"]),
        (&json!(12), &json!(0))
    );
    assert_eq!(simulator.stats().scored.len(), 12);
    // The simulator's scores follow the text, whatever the model.
    let dimensions = compared["dimensions"].as_array().unwrap();
    assert_eq!(dimensions.len(), 2);
    for dimension in dimensions {
        assert_eq!(
            (&dimension["posts"], &dimension["mean_difference"]),
            (&json!(12), &json!(0.0))
        );
        assert!(
            dimension["rank_correlation"].as_f64().unwrap() > 0.999,
            "{dimension}"
        );
    }
    assert_eq!(compared["category_overlap"], 1.0);
    let stats = simulator.stats();
    assert_eq!(scores(&stack).await, before);
    let usd = (stats.input_tokens as f64 * 2.0 + stats.output_tokens as f64 * 10.0) / 1e6;
    assert!(
        (compared["usd"].as_f64().unwrap() - usd).abs() < usd * 0.26,
        "{compared}"
    );

    // A stored score that differs is seen, and a budget ends the sample.
    stack
        .sql("update llm_scores set scores = jsonb_set(scores, '{drama}', '1')")
        .await;
    let shifted = program.json(&compare).await;
    assert!(
        shifted["dimensions"][0]["mean_difference"]
            .as_f64()
            .unwrap()
            > 0.5
    );
    assert_eq!(shifted["dimensions"][0]["rank_correlation"], Value::Null);
    let poor = program
        .run(&[&compare[..], &["--max-usd", "0.000001", "--output", "json"]].concat())
        .await;
    assert_eq!(
        (poor.code, &poor.json()["posts"]),
        (Some(3), &json!(0)),
        "{}",
        poor.stderr
    );
    assert_eq!(scores(&stack).await.len(), before.len());
}

#[tokio::test]
async fn doctor_tries_the_model_and_says_when_it_ends() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(Config::default()).await;
    let program = Program::on(&stack, &simulator.base_url());
    let found = |checks: &Value, what: &str| {
        let checks = checks.as_array().unwrap().iter();
        let found = checks.filter(|check| check["what"] == what);
        found
            .map(|check| check["found"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let checks = program.json(&["doctor"]).await;
    let scoring = found(&checks, "scoring").remove(0);
    assert!(
        scoring.contains("gpt-6-luna") && scoring.contains("this call cost $0.000"),
        "{scoring}"
    );
    assert_eq!(found(&checks, "models"), Vec::<String>::new());

    program.configure(PINNED);
    let checks = program.json(&["doctor"]).await;
    let models = found(&checks, "models");
    assert!(
        models[0].contains("`gpt-4o-mini` (scoring.model) ends on 2027-01-14"),
        "{models:?}"
    );
    let plan = program.complete(&["plan"]).await;
    assert!(
        plan.stderr.contains("ends on 2027-01-14"),
        "{}",
        plan.stderr
    );

    // An answer that does not follow the schema is a failure.
    set_faults(&simulator, Faults::only(Fault::MissingItem, 1.0));
    let broken = program.run(&["doctor"]).await;
    assert_eq!(broken.code, Some(1), "{}", broken.stdout);
    assert!(
        broken.stdout.contains("no usable answer"),
        "{}",
        broken.stdout
    );
}
