//! The flow is as fast as the database.

use std::time::Instant;

use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sluice_runner::simulator::Config;
use sluice_tests::{Program, Stack};

use crate::support::fill;

/// Runs the flow with an unlimited provider and sends the same rows with plain reqwest, in turn.
pub(crate) async fn run(posts: u32) {
    let stack = Stack::fresh().await;
    let simulator = stack
        .simulator(Config {
            count_texts: false,
            ..Config::default()
        })
        .await;
    for round in 1..=3 {
        let plain = push(&stack, posts).await;
        fill(&stack, posts).await;
        let started = Instant::now();
        let run = Program::on(&stack, &simulator.base_url())
            .run(&["embed", "--output", "json"])
            .await;
        let flow = f64::from(posts) / started.elapsed().as_secs_f64();
        assert_eq!(run.json()["counts"]["written"], posts, "{}", run.stderr);
        println!(
            "throughput: round {round}: plain reqwest {plain:.0} rows/s, the flow {flow:.0} rows/s, ratio {:.3}",
            flow / plain
        );
    }
}

/// Sends prepared rows to the same function, two requests at a time like the flow.
async fn push(stack: &Stack, posts: u32) -> f64 {
    const ROWS: usize = 200;
    fill(stack, posts).await;
    let ids = stack.rows("select id from posts order by id").await;
    let vector = |seed: usize| {
        let numbers: Vec<String> = (0..1536)
            .map(|at| (((seed * 31 + at * 7) % 1999) as f32 / 1e5 - 0.01).to_string())
            .collect();
        format!("[{}]", numbers.join(","))
    };
    let bodies: Vec<String> = ids
        .chunks(ROWS)
        .enumerate()
        .map(|(chunk, ids)| {
            let row = |(at, id): (usize, &Value)| {
                json!({
                    "post_id": id["id"], "embedding": vector(chunk * ROWS + at),
                    "model": "m", "dimensions": 1536, "text_hash": null
                })
            };
            let rows: Vec<Value> = ids.iter().enumerate().map(row).collect();
            json!({ "p_worker": uuid::Uuid::nil(), "p_rows": rows }).to_string()
        })
        .collect();
    let client = reqwest::Client::builder().build().unwrap();
    let url = format!("{}/rpc/store_embeddings", stack.postgrest_url());
    let started = Instant::now();
    let mut sending = tokio::task::JoinSet::new();
    for body in bodies {
        if sending.len() >= 2 {
            sending.join_next().await.unwrap().unwrap();
        }
        let request = client
            .post(&url)
            .header("apikey", stack.key().expose_secret())
            .header("content-type", "application/json")
            .body(body);
        sending.spawn(async move { assert!(request.send().await.unwrap().status().is_success()) });
    }
    while let Some(sent) = sending.join_next().await {
        sent.unwrap();
    }
    f64::from(posts) / started.elapsed().as_secs_f64()
}
