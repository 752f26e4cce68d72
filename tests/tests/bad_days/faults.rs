//! Every command behind a gateway that fails before and after the database has done what it was asked to do.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sluice_runner::simulator::{Config, Simulator};
use sluice_tests::{FaultProxy, Moment, Program, ProxyFault, Stack};

/// A rubric of one dimension, one run and five posts a request.
const ONE: &str = "[limits]\nconcurrency = 2\n[scoring]\nruns = 1\nposts_per_call = 5\n[[scoring.dimensions]]\n\
                   name = 'drama'\ndescription = 'How much conflict is there?'\nweight = 1\n";
/// What a later rubric asks too.
const MORE: &str =
    "[[scoring.dimensions]]\nname = 'kindness'\ndescription = 'How kind are people?'\nweight = 1\n";
/// Posts in the table.
const POSTS: usize = 24;

/// The program behind a gateway with bad days.
struct Town {
    stack: Stack,
    simulator: Simulator,
    program: Program,
    proxy: FaultProxy,
}

impl Town {
    async fn new(seed: u64) -> Self {
        let stack = Stack::fresh().await;
        let simulator = stack.simulator(Config::default()).await;
        let proxy = FaultProxy::seeded(stack.postgrest_url(), seed).await;
        let program = Program::on(&stack, &simulator.base_url())
            .with("POSTGREST_URL", proxy.url())
            .with("EMBEDDING_BATCH_SIZE", "6")
            .configured(ONE);
        Self {
            stack,
            simulator,
            program,
            proxy,
        }
    }

    async fn json(&self, arguments: &[&str]) -> Value {
        self.program.json(arguments).await
    }

    async fn assert_count(&self, query: &str, expected: usize) {
        let found = self
            .stack
            .count(&format!("select count(*) from {query}"))
            .await;
        assert_eq!(usize::try_from(found).unwrap(), expected, "{query}");
    }

    /// Nothing is leased, failing or dead.
    async fn assert_no_work(&self) {
        self.assert_count("work_items", 0).await;
    }
}

/// Stores, embeds, scores and recomputes. Each post is written once and paid for once.
async fn flows(town: &Town) {
    let lines: Vec<String> = (0..POSTS)
        .map(|at| {
            let neighborhood = format!("Quarter {}", at % 5);
            json!({ "author_id": "a", "content": format!("post number {at}"), "neighborhood": neighborhood })
                .to_string()
        })
        .collect();
    let file = town.program.file("posts.jsonl", lines.join("\n"));
    let file = file.to_str().unwrap();
    let stored = town.json(&["store", file]).await;
    assert_eq!(stored["counts"]["failed"], 0);
    town.assert_count("posts", POSTS).await;
    town.assert_count("neighborhoods", 5).await;
    let again = town.json(&["store", file]).await;
    assert_eq!(again["counts"]["skipped"], POSTS);

    let embedded = town.json(&["embed"]).await;
    assert_eq!(embedded["counts"]["written"], POSTS);
    town.assert_count("post_embeddings where not stale", POSTS)
        .await;
    let billed = town.simulator.stats().embedded;
    assert_eq!(billed.len(), POSTS);
    assert!(billed.values().all(|times| *times == 1), "{billed:?}");

    let rated = town.json(&["score"]).await;
    assert_eq!(rated["counts"]["written"], POSTS);
    let questions = town.simulator.stats().chat_requests;
    assert_eq!(questions, POSTS.div_ceil(5) as u64);
    town.json(&["rescore", "--all"]).await;
    assert_eq!(town.simulator.stats().chat_requests, 2 * questions);
    town.program.configure(&format!("{ONE}{MORE}"));
    let filled = town.json(&["backfill", "kindness"]).await;
    assert_eq!(filled["counts"]["written"], POSTS);
    assert_eq!(town.simulator.stats().chat_requests, 3 * questions);
    town.assert_count("llm_scores where scores ? 'kindness'", POSTS)
        .await;
    town.assert_no_work().await;
    let recomputed = town.json(&["recompute"]).await;
    assert_eq!(recomputed["counts"]["written"], POSTS);
}

/// The commands that look, and those about jobs, weights and failures.
async fn commands(town: &Town) {
    let status = town.json(&["status"]).await;
    assert_eq!(
        (&status["posts"], &status["scored"]),
        (&json!(POSTS), &json!(POSTS))
    );
    let plan = town.json(&["plan"]).await;
    assert!(
        plan.as_array()
            .unwrap()
            .iter()
            .any(|flow| flow["rows"] == 0),
        "{plan}"
    );
    assert_eq!(
        town.json(&["rank", "--limit", "5"])
            .await
            .as_array()
            .unwrap()
            .len(),
        5
    );
    let found = town
        .json(&["search", "post number 3", "--threshold", "0"])
        .await;
    assert!(!found.as_array().unwrap().is_empty());
    town.program.complete(&["doctor"]).await;

    let before = town.json(&["jobs", "list"]).await.as_array().unwrap().len();
    let cancelled = town.json(&["jobs", "enqueue", "embed_posts"]).await;
    let id = cancelled["job_id"].as_str().unwrap();
    assert_eq!(
        town.json(&["jobs", "cancel", id]).await["status"],
        "cancelled"
    );
    assert_eq!(town.json(&["jobs", "retry", id]).await["status"], "pending");
    let weights = r#"{"drama": 2, "kindness": 1}"#;
    let recompute = "recompute_final_scores";
    town.json(&["jobs", "enqueue", recompute, "--weights", weights])
        .await;
    town.assert_count("background_jobs", before + 2).await;
    let worked = town.json(&["worker", "--once"]).await;
    assert_eq!(worked["flows"].as_array().unwrap().len(), 2, "{worked}");
    town.assert_count("background_jobs where status <> 'completed'", 0)
        .await;
    town.assert_count("background_jobs where retry_count > 0", 0)
        .await;

    let configs = town.json(&["weights", "list"]).await;
    assert_eq!(configs.as_array().unwrap().len(), 2, "{configs}");
    town.program
        .complete(&["weights", "prune", "--keep", "0"])
        .await;
    let fail = "insert into work_items (kind, post_id, attempts, dead, last_error)
                select 'embed', id, 1, true, 'bad' from posts limit 3";
    town.stack.sql(fail).await;
    let failures = town.json(&["failures", "list"]).await;
    assert_eq!(failures.as_array().unwrap().len(), 3);
    town.json(&["failures", "replay"]).await;
    town.assert_no_work().await;
}

async fn bad_day(seed: u64) -> Vec<(String, ProxyFault)> {
    let town = Town::new(seed).await;
    flows(&town).await;
    commands(&town).await;
    town.proxy.dealt()
}

#[tokio::test]
async fn nothing_is_lost_or_written_twice_behind_a_gateway_with_bad_days() {
    let (mut actions, mut faults) = (BTreeSet::new(), BTreeSet::new());
    for seed in [7, 8] {
        for (action, fault) in bad_day(seed).await {
            actions.insert(action);
            faults.insert(fault);
        }
    }
    assert_eq!(
        faults,
        BTreeSet::from(ProxyFault::ALL),
        "faults that happened"
    );
    assert!(actions.len() > 30, "{actions:?}");
}

/// Each request of a flow is done, and its response is lost.
#[tokio::test]
async fn lost_response_of_every_request_of_a_flow_costs_no_row_and_no_money() {
    for fault in [
        ProxyFault::Status(502, Moment::After),
        ProxyFault::Drop(Moment::After),
    ] {
        let stack = Stack::fresh().await;
        let simulator = stack.simulator(Config::default()).await;
        let plan = move |_: &str, count: usize| (count == 0).then_some(fault);
        let proxy = FaultProxy::start(stack.postgrest_url(), Box::new(plan)).await;
        let program = Program::on(&stack, &simulator.base_url())
            .with("POSTGREST_URL", proxy.url())
            .configured(ONE);
        let insert = "insert into neighborhoods (name, slug) values ('Elm', 'elm');
            insert into posts (neighborhood_id, post_id_ext, text, hash)
              select n.id, 'p' || i, 'text ' || i, 'h' || i from neighborhoods n, generate_series(1, 12) i";
        stack.sql(insert).await;
        for command in ["embed", "score"] {
            let report = program.json(&[command]).await;
            assert_eq!(report["counts"]["written"], 12, "{command} {fault:?}");
            // The rows of the lost claim were released, and claimed again at once.
            let seconds = report["elapsed_seconds"].as_f64().unwrap();
            assert!(seconds < 30.0, "{seconds} s");
            assert_eq!(stack.count("select count(*) from work_items").await, 0);
        }
        let billed = simulator.stats().embedded;
        assert!(billed.len() == 12 && billed.values().all(|times| *times == 1));
        assert!(proxy.count("POST /rpc/claim_work") >= 4);
    }
}
