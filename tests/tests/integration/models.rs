//! Models: a new default spends nothing unasked, and money is kept whatever a model costs.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sluice_runner::engine::Stop;
use sluice_runner::exit::Exit;
use sluice_runner::flow::{self, FlowOptions, ScoreScope};
use sluice_runner::provider::{Models, ReasoningEffort};
use sluice_runner::scoring::{EARLIER_MODEL, Rubric};
use sluice_runner::simulator::{Config, Fault, Faults, Ledger, SimulatedLimits, Simulator, Tier};
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

/// What was billed in at least one run of the test below.
fn billed_kinds(ledger: &Ledger, flex: bool) -> impl Iterator<Item = &'static str> {
    let kinds = ledger.entries.iter().flat_map(move |entry| {
        [
            (entry.cached_tokens > 0, "cached"),
            (entry.cache_write_tokens > 0, "written"),
            (entry.reasoning_tokens > 0, "reasoning"),
            (entry.tier == Tier::Flex, "flex"),
            (flex && entry.tier == Tier::Default, "fallback"),
        ]
    });
    kinds.filter_map(|(is_billed, kind)| is_billed.then_some(kind))
}

/// One way to score: a model, its tier, and how often and how many posts it is asked about.
fn way(rng: &mut fastrand::Rng, model: &str, flex: bool) -> String {
    let tier = if flex {
        "service_tier = 'flex'\nflex_fallback = true"
    } else {
        ""
    };
    let texts = rng.choice(["one_run", "every_run"]).unwrap();
    format!(
        "[openai]\n{tier}\n[limits]\nconcurrency = 32\n[scoring]\nmodel = '{model}'\ntexts = '{texts}'\n\
         posts_per_call = {}\nruns = {}",
        rng.u32(1..=3),
        rng.u32(1..=3),
    )
}

/// Every chat model with a price, at its tiers. Each budget is a part of the bill for all posts, with many of them in
/// flight at once. The report and the ledger agree to a billionth of a dollar.
#[tokio::test]
async fn budget_holds_with_requests_in_flight_over_every_model() {
    let stack = Stack::fresh().await;
    add_posts(&stack, 120).await;
    let mut rng = fastrand::Rng::with_seed(7);
    let mut billed = BTreeSet::new();
    // Without the one name of a dated snapshot, which the simulator does not know.
    let chat = |name: &&str| !name.starts_with("text-embedding") && !name.contains("2024");
    for model in Models::priced().filter(chat) {
        let tiers: &[bool] = if Models::default().get(model).flex() {
            &[false, true]
        } else {
            &[false]
        };
        for &flex in tiers {
            let mut config = slow(20);
            config.faults = Faults::only(Fault::ResourceUnavailable, 0.3);
            let simulator = stack.simulator(config).await;
            let toml = way(&mut rng, model, flex);
            let part = 0.3 + 0.5 * rng.f64();
            let ledger = holds(&stack, &simulator, &toml, part).await;
            billed.extend(billed_kinds(&ledger, flex));
        }
    }
    let all = ["cached", "fallback", "flex", "reasoning", "written"];
    assert_eq!(billed.into_iter().collect::<Vec<_>>(), all);
}

/// Scores everything, and then again with a part of that bill as the budget. Returns the first bill.
async fn holds(stack: &Stack, simulator: &Simulator, toml: &str, part: f64) -> Ledger {
    let session = stack.session(simulator, toml);
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
        let scored = flow::score(&session, &run, ScoreScope::Missing)
            .await
            .unwrap();
        let billed = simulator.ledger().usd;
        let reported = scored.report.usd.unwrap();
        assert!(
            (reported - billed).abs() < 1e-9,
            "{toml}: ${reported} reported, ${billed} billed"
        );
        (scored, billed)
    };
    let (all, bill) = score(None).await;
    assert_eq!(all.exit, Exit::Complete, "{toml}: {}", reason(&all));
    let ledger = simulator.ledger();
    // What a model may reason is reserved for each request, and is more than it reasons here.
    let reasons = ledger
        .entries
        .iter()
        .any(|entry| entry.reasoning_tokens > 0);
    let most = bill * part;
    let (outcome, billed) = score(Some(most)).await;
    assert!(billed <= most, "{toml}: ${billed} of ${most}");
    assert!(
        reasons || billed > most / 5.0,
        "{toml}: ${billed} of ${most}"
    );
    assert_eq!(
        outcome.exit,
        Exit::MoreRemains,
        "{toml}: {}",
        reason(&outcome)
    );
    assert!(
        reason(&outcome).contains("budget"),
        "{toml}: {}",
        reason(&outcome)
    );
    ledger
}

/// Six requests, one after the other: the first writes what the others find.
#[tokio::test]
async fn only_the_rubric_is_written_to_the_cache() {
    let stack = Stack::fresh().await;
    add_posts(&stack, 30).await;
    let simulator = stack.simulator(Config::default()).await;
    let cache = async |toml: &str| {
        stack
            .sql("delete from llm_scores; delete from work_items")
            .await;
        simulator.reset();
        let toml = format!("[limits]\nconcurrency = 1\n[scoring]\ntexts = 'every_run'\n{toml}");
        let outcome = run_score(&stack.session(&simulator, &toml), ScoreScope::Missing).await;
        assert_eq!(outcome.report.requests.openai, 6);
        (
            outcome.report.cached_tokens,
            outcome.report.cache_write_tokens,
        )
    };
    let (cached, written) = cache("").await;
    assert!(written > 1_024, "{written}");
    assert_eq!(cached, 5 * written);
    // If nothing is said, the provider writes all of each prompt, and finds none again.
    let (cached, all) = cache("[models.gpt-6-luna]\nprompt_cache = false").await;
    assert!(cached == 0 && all > 6 * written, "{cached} {all}");
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
    let limits = SimulatedLimits {
        requests_per_minute: Some(500),
        ..SimulatedLimits::default()
    };
    let config = Config {
        limits,
        ..Config::default()
    };
    let simulator = stack.simulator(config).await;
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
    let limits = found(&checks, "rate limits").remove(0);
    let stated =
        "500 requests a minute, as the provider states; no limit of tokens is stated or configured";
    assert_eq!(limits, stated);
    program.configure("[limits]\nrequests_per_minute = 5000\n");
    let checks = program.json(&["doctor"]).await;
    let limits = found(&checks, "rate limits").remove(0);
    assert_eq!(
        limits,
        "5000 requests a minute are configured, but the provider allows 500"
    );

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
