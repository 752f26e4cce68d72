//! One budget for all runners, and the record of each run.

use std::time::Duration;

use serde_json::Value;
use sluice_runner::simulator::{Simulator, Stats};
use sluice_tests::{Program, Stack, signal};

use crate::support::posts::{assert_billed_once, embedded, seed, texts};
use crate::support::{slow, until};

/// A thousand dollars a million tokens, so a post costs about a cent.
const DEAR: &str = "[prices.text-embedding-3-small]\ninput = 1000.0\n\
    [embedding]\nbatch_size = 2\nchunk_size = 20\n[limits]\nconcurrency = 4\n[leases]\nseconds = 5\n";

fn program(stack: &Stack, simulator: &Simulator, budget: &str) -> Program {
    Program::on(stack, &simulator.base_url()).configured(&format!("{DEAR}[budget]\n{budget}\n"))
}

/// The provider's bill in dollars.
fn billed(stats: &Stats) -> f64 {
    stats.input_tokens as f64 / 1_000.0
}

/// What the status says is spent and reserved.
fn held(status: &Value, period: &str) -> f64 {
    let money = status.pointer(&format!("/spending/{period}")).unwrap();
    let sum = ["usd", "reserved"].map(|key| money.get(key).and_then(Value::as_f64).unwrap());
    sum.iter().sum()
}

#[tokio::test]
async fn eight_processes_share_a_budget_of_a_day_and_never_exceed_it() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(slow(60)).await;
    let texts = texts(400);
    seed(&stack, &texts).await;
    let program = program(&stack, &simulator, "usd_per_day = 2.0");
    let killed = program.spawn(&["embed"]);
    let id = killed.id();
    let others: Vec<_> = (0..7).map(|_| program.spawn(&["embed"])).collect();
    until("some texts are embedded", async || {
        embedded(&stack).await > 20
    })
    .await;
    signal(id, "KILL");
    for child in others {
        let run = program.end(child, Duration::from_secs(60)).await;
        assert_eq!(run.code, Some(3), "{}{}", run.stdout, run.stderr);
        let said = &run.stdout;
        assert!(
            said.contains("the budget of $2 a day for all runs"),
            "{said}"
        );
        assert!(said.contains("it renews on 20"), "{said}");
    }
    drop(killed);
    let bill = billed(&simulator.stats());
    assert!(bill <= 2.0, "{bill} dollars");
    assert!(bill > 1.5, "{bill} dollars, so the budget is not used");
    let status = program.json(&["status"]).await;
    let counted = held(&status, "today");
    assert!((bill..=2.000_001).contains(&counted), "{counted} of {bill}");
    let runs = status["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 8);
    let ended = runs.iter().filter(|run| run["exit"] == 3).count();
    // On a slow machine, the eighth ends before it is killed.
    assert!(ended >= 7, "{runs:?}");

    // What the others have left may pay another request or two. After that, a run sends none.
    program.run(&["embed"]).await;
    let spent = simulator.stats();
    assert!(billed(&spent) <= 2.0, "{} dollars", billed(&spent));
    let run = program.run(&["embed"]).await;
    let requests = simulator.stats().requests;
    assert_eq!((run.code, requests), (Some(3), spent.requests));
    // The next day it goes on, and in the next month.
    program.configure(&format!(
        "{DEAR}[budget]\nusd_per_day = 9\nusd_per_month = 2\n"
    ));
    stack.sql("update spending set day = day - 1").await;
    let yesterday = "select count(*) from spending where date_trunc('month', day) = date_trunc('month', spending_day())";
    if stack.count(yesterday).await > 0 {
        let run = program.run(&["embed"]).await;
        assert_eq!(run.code, Some(3));
        assert!(run.stdout.contains("$2 a month"), "{}", run.stdout);
    }
    stack.sql("update spending set day = day - 40").await;
    program.configure(&format!("{DEAR}[budget]\nusd_per_day = 9\n"));
    program.complete(&["embed"]).await;
    assert_eq!(embedded(&stack).await, 400);
}

#[tokio::test]
async fn what_a_run_has_reserved_and_not_spent_is_free_when_it_ends() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(slow(0)).await;
    let texts = texts(40);
    seed(&stack, &texts).await;
    let program = program(&stack, &simulator, "usd_per_day = 50\nusd_per_month = 50");
    let report = program.json(&["embed"]).await;
    let usd = report["usd"].as_f64().unwrap();
    let bill = billed(&simulator.stats());
    assert!((usd - bill).abs() < 1e-9, "{usd} is not {bill}");
    let status = program.json(&["status"]).await;
    let today = &status["spending"]["today"];
    assert!(
        (today["usd"].as_f64().unwrap() - bill).abs() < 1e-9,
        "{today}"
    );
    assert_eq!(today["reserved"], 0.0, "{today}");
    let run = &status["runs"][0];
    assert_eq!((&run["flow"], &run["exit"]), (&"embed".into(), &0.into()));
    assert_eq!(run["counts"]["written"], 40);
    assert_eq!(run["input_tokens"], simulator.stats().input_tokens);
    assert!(run["host"].is_string());
    assert_billed_once(&simulator.stats(), &texts);
    doctor_says_what_is_left(&program, bill).await;
    let shown = program.complete(&["status"]).await.stdout;
    assert!(
        shown.contains("this month") && shown.contains("exit 0"),
        "{shown}"
    );
}

async fn doctor_says_what_is_left(program: &Program, bill: f64) {
    let budget = async |code| {
        let run = program.run(&["doctor", "--json"]).await;
        assert_eq!(run.code, Some(code), "{}{}", run.stdout, run.stderr);
        let checks = run.json();
        let mut checks = checks.as_array().unwrap().iter();
        let check = checks.find(|check| check["what"] == "budget").unwrap();
        (check["found"].to_string(), check["cure"].to_string())
    };
    let left = 50.0 - bill;
    let said = format!("\"${left:.2} of $50 left today, ${left:.2} of $50 left this month\"");
    assert_eq!(budget(0).await, (said, "null".to_owned()));
    program.configure(&format!("{DEAR}[budget]\nusd_per_day = 0.01\n"));
    let (found, cure) = budget(3).await;
    assert_eq!(found, "\"the $0.01 of today are spent or reserved\"");
    assert!(cure.contains("raise budget.usd_per_day"), "{cure}");
}

/// A dry run spends nothing, and records nothing.
#[tokio::test]
async fn a_budget_needs_prices_and_a_dry_run_is_no_run() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(slow(0)).await;
    seed(&stack, &texts(3)).await;
    let unpriced = "[embedding]\nmodel = 'own'\nsend_dimensions = true\n[budget]\nusd_per_day = 1";
    let program = Program::on(&stack, &simulator.base_url()).configured(unpriced);
    program.run(&["embed", "--dry-run"]).await;
    assert_eq!(stack.count("select count(*) from runs").await, 0);
    let run = program.run(&["embed"]).await;
    assert_eq!(run.code, Some(2), "{}{}", run.stdout, run.stderr);
    assert!(run.stdout.contains("`own` has no price"), "{}", run.stdout);
    assert_eq!(simulator.stats().requests, 0);
}
