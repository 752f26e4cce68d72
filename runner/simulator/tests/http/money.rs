//! What is billed, and what the prompt cache, the tiers and the choices change about it.

use serde_json::{Value, json};
use sluice_simulator::{Ledger, LedgerEntry, Tier};

use super::{Answer, Api, CHAT, EMBEDDINGS, line, score};

/// The price of a million tokens in thousandths of a dollar: input, cached input, written input,
/// output. It is a copy, so that a mistake in the simulator's table shows.
const PRICES: [(&str, [u64; 4]); 26] = [
    ("text-embedding-3-small", [20, 0, 0, 0]),
    ("text-embedding-3-large", [130, 0, 0, 0]),
    ("text-embedding-ada-002", [100, 0, 0, 0]),
    ("gpt-6-luna", [100, 10, 125, 500]),
    ("gpt-6.1-terra", [1_000, 50, 1_250, 5_000]),
    ("gpt-6-sol", [2_000, 200, 2_500, 10_000]),
    ("gpt-5.6-luna", [200, 20, 250, 1_200]),
    ("gpt-5.6-terra", [2_000, 200, 2_500, 12_000]),
    ("gpt-5.4", [2_500, 250, 2_500, 15_000]),
    ("gpt-5.4-mini", [750, 75, 750, 4_500]),
    ("gpt-5.4-nano", [200, 20, 200, 1_250]),
    ("gpt-5.2", [1_750, 175, 1_750, 14_000]),
    ("gpt-5.1", [1_250, 125, 1_250, 10_000]),
    ("gpt-5", [1_250, 125, 1_250, 10_000]),
    ("gpt-5-mini", [250, 25, 250, 2_000]),
    ("gpt-5-nano", [50, 5, 50, 400]),
    ("gpt-5-chat-latest", [1_250, 125, 1_250, 10_000]),
    ("gpt-4o", [2_500, 1_250, 2_500, 10_000]),
    ("gpt-4o-mini", [150, 75, 150, 600]),
    ("gpt-4.1", [2_000, 500, 2_000, 8_000]),
    ("gpt-4.1-mini", [400, 100, 400, 1_600]),
    ("gpt-4.1-nano", [100, 25, 100, 400]),
    ("o1", [15_000, 7_500, 15_000, 60_000]),
    ("o3", [2_000, 500, 2_000, 8_000]),
    ("o3-mini", [1_100, 550, 1_100, 4_400]),
    ("o4-mini", [1_100, 275, 1_100, 4_400]),
];

/// The bill of an answer, from its usage, in picodollars.
fn bill(model: &str, usage: &Value) -> u64 {
    let (_, [input, cached, written, output]) =
        PRICES.iter().find(|(name, _)| *name == model).unwrap();
    let count = |path: &str| {
        usage
            .pointer(path)
            .and_then(Value::as_u64)
            .unwrap_or_default()
    };
    let from_cache = count("/prompt_tokens_details/cached_tokens");
    let to_cache = count("/prompt_tokens_details/cache_write_tokens");
    let plain = count("/prompt_tokens") - from_cache - to_cache;
    // A thousandth of a dollar for a million tokens is 1,000 picodollars a token.
    1_000
        * (plain * input
            + from_cache * cached
            + to_cache * written
            + count("/completion_tokens") * output)
}

/// A score whose prompt has more than 1,152 tokens and, with the schema, fewer than 1,280.
fn long_score(model: &str) -> Value {
    let mut body = score(model, "A fight!");
    body["messages"][0]["content"] = json!(format!("Score.{}", " a".repeat(1_100)));
    body
}

fn with(mut body: Value, change: &[(&str, Value)]) -> Value {
    for (key, value) in change {
        body[*key] = value.clone();
    }
    body
}

async fn usage(api: &Api, body: &Value) -> Value {
    api.post("/chat/completions", body).await.ok()["usage"].clone()
}

fn only(ledger: &Ledger) -> &LedgerEntry {
    assert_eq!(ledger.entries.len(), 1, "{ledger:?}");
    &ledger.entries[0]
}

#[tokio::test]
async fn every_model_is_billed_by_its_price_and_each_request_once() {
    let api = Api::with(json!({})).await;
    let models = api.get("/models").await.ok();
    let models = models["data"].as_array().unwrap().clone();
    assert_eq!(models.len(), PRICES.len());
    let mut sum = 0;
    for model in models {
        let model = model["id"].as_str().unwrap();
        let mut expected = 0;
        for _ in 0..3 {
            let body = if model.contains("embedding") {
                json!({"model": model, "input": ["a gnome", "a couch"]})
            } else {
                with(long_score(model), &[("prompt_cache_key", json!("k"))])
            };
            let path = if model.contains("embedding") {
                "/embeddings"
            } else {
                "/chat/completions"
            };
            expected += bill(model, &api.post(path, &body).await.ok()["usage"]);
        }
        let ledger = api.simulator.ledger();
        assert_eq!(
            ledger.picodollars_of(model, Tier::Default),
            expected,
            "{model}"
        );
        let entry = ledger
            .entries
            .iter()
            .find(|entry| entry.model == model)
            .unwrap();
        assert_eq!(entry.requests, 3);
        sum += expected;
        assert_eq!(ledger.picodollars, sum);
    }
}

#[tokio::test]
async fn a_refused_request_costs_nothing_and_a_broken_response_its_price() {
    let api = Api::with(json!({"faults": {"server_error": 1}})).await;
    let body = json!({"model": "text-embedding-3-small", "input": "a gnome"});
    assert_eq!(api.post("/embeddings", &body).await.status, 500);
    assert_eq!(api.simulator.ledger(), Ledger::default());
    api.change(json!({"faults": {"drop": 1}}));
    let request = api.request("POST", "/embeddings").body(body.to_string());
    assert!(Answer::whole(request.send().await.unwrap()).await.is_err());
    let ledger = api.simulator.ledger();
    assert_eq!(
        (only(&ledger).requests, ledger.picodollars),
        (1, 2 * 20_000)
    );
    let url = api.simulator.base_url().replace("/v1", "/simulate/ledger");
    let read = Answer::read(api.client.get(url)).await.ok();
    assert_eq!(serde_json::from_value::<Ledger>(read).unwrap(), ledger);
    api.simulator.reset();
    assert_eq!(api.simulator.ledger(), Ledger::default());
}

#[tokio::test]
async fn the_cache_is_written_once_and_found_after_the_first_response() {
    let api = Api::with(json!({})).await;
    let body = with(
        long_score("gpt-6-luna"),
        &[("prompt_cache_key", json!("k"))],
    );
    let details = async || usage(&api, &body).await["prompt_tokens_details"].clone();
    let whole = details().await["cache_write_tokens"].clone();
    assert!(whole.as_u64() > Some(1_152), "{whole}");
    assert_eq!(
        details().await,
        json!({"cached_tokens": whole, "cache_write_tokens": 0})
    );
    let entry = only(&api.simulator.ledger()).clone();
    assert_eq!(
        (json!(entry.cached_tokens), json!(entry.cache_write_tokens)),
        (whole.clone(), whole)
    );
    // A short prompt has nothing to do with the cache.
    let short = usage(&api, &score("gpt-6-luna", "a")).await;
    assert_eq!(
        short["prompt_tokens_details"],
        json!({"cached_tokens": 0, "cache_write_tokens": 0})
    );
    // Earlier models do not tell of writes, and need no key.
    let older = long_score("gpt-4o-mini");
    let older = async || usage(&api, &older).await["prompt_tokens_details"].clone();
    assert_eq!(older().await, json!({"cached_tokens": 0}));
    assert_eq!(older().await, json!({"cached_tokens": 1_152}));
}

#[tokio::test]
async fn requests_at_the_same_moment_all_pay_the_input() {
    let api = Api::with(json!({"latency": {"fixed_ms": 300}})).await;
    let body = with(
        long_score("gpt-6-luna"),
        &[("prompt_cache_key", json!("k"))],
    );
    let all = futures_util::future::join_all((0..4).map(|_| usage(&api, &body))).await;
    let details = |usage: &Value| usage["prompt_tokens_details"].clone();
    let whole = details(&all[0])["cache_write_tokens"].clone();
    assert!(whole.as_u64() > Some(1_152), "{whole}");
    for usage in &all {
        assert_eq!(details(usage), details(&all[0]));
    }
    let later = usage(&api, &body).await;
    assert_eq!(details(&later)["cached_tokens"], whole);
}

/// The same instructions, with a mark at their end, and another post.
fn marked(mode: &str, text: &str) -> Value {
    let mut body = long_score("gpt-6-luna");
    let instructions = body["messages"][0]["content"].take();
    body["messages"][0]["content"] = json!([{"type": "text", "text": instructions,
        "prompt_cache_breakpoint": {"mode": "explicit"}}]);
    body["messages"][1]["content"] = json!(json!({"index": 1, "text": text}).to_string());
    let change = [
        ("prompt_cache_key", json!("k")),
        ("prompt_cache_options", json!({"mode": mode})),
    ];
    with(body, &change)
}

#[tokio::test]
async fn a_later_model_finds_what_ends_at_a_breakpoint_and_nothing_else() {
    let api = Api::with(json!({})).await;
    let details = async |body: &Value| {
        let details = usage(&api, body).await["prompt_tokens_details"].clone();
        ["cached_tokens", "cache_write_tokens"].map(|key| details[key].as_u64().unwrap())
    };
    // Without a mark, all of a prompt is written, and no part of it is found.
    let unmarked = |text: &str| {
        let mut body = long_score("gpt-6-luna");
        body["messages"][1]["content"] = json!(text);
        with(body, &[("prompt_cache_key", json!("k"))])
    };
    for text in ["a gnome", "a couch"] {
        let [cached, written] = details(&unmarked(text)).await;
        assert!(cached == 0 && written > 1_152, "{cached} {written}");
    }
    let [found, rubric] = details(&marked("explicit", "a gnome")).await;
    assert!(found == 0 && rubric > 1_024, "{found} {rubric}");
    assert_eq!(details(&marked("explicit", "a couch")).await, [rubric, 0]);
    // With the provider's own mark beside ours, the post is written too.
    let [found, written] = details(&marked("implicit", "a lawn")).await;
    assert!(found == rubric && written > 0, "{found} {written}");
    // Without any mark, nothing is.
    let mut none = unmarked("a hedge");
    none["prompt_cache_options"] = json!({"mode": "explicit"});
    assert_eq!(details(&none).await, [0, 0]);
}

#[tokio::test]
async fn an_earlier_model_refuses_what_it_cannot_be_told_of_the_cache() {
    let api = Api::with(json!({})).await;
    let mut body = marked("explicit", "a gnome");
    body["model"] = json!("gpt-4o-mini");
    for param in ["prompt_cache_options", "prompt_cache_breakpoint"] {
        let refused = api.post("/chat/completions", &body).await;
        assert_eq!(
            refused.error(),
            (400, Some("unsupported_parameter"), Some(param))
        );
        body.as_object_mut().unwrap().remove(param);
    }
    for (option, value) in [("mode", "always"), ("ttl", "24h")] {
        let mut body = marked("explicit", "a gnome");
        body["prompt_cache_options"][option] = json!(value);
        let refused = api.post("/chat/completions", &body).await;
        let (status, code, _) = refused.error();
        assert_eq!((status, code), (400, Some("invalid_value")), "{option}");
    }
}

#[tokio::test]
async fn choices_share_their_input_and_are_the_runs() {
    let api = Api::with(json!({})).await;
    let scored = |answer: &Value| -> Vec<String> {
        let choices = answer["choices"].as_array().unwrap();
        choices
            .iter()
            .map(|c| c["message"]["content"].as_str().unwrap().to_owned())
            .collect()
    };
    let body = with(
        score("gpt-6-luna", "A fight!"),
        &[("reasoning_effort", json!("none"))],
    );
    let mut runs = Vec::new();
    for seed in 0..3 {
        let answer = api
            .post(
                "/chat/completions",
                &with(body.clone(), &[("seed", json!(seed))]),
            )
            .await;
        runs.extend(scored(&answer.ok()));
    }
    let apart = only(&api.simulator.ledger()).clone();
    api.simulator.reset();
    let together = with(body, &[("seed", json!(0)), ("n", json!(3))]);
    let answer = api.post("/chat/completions", &together).await.ok();
    assert_eq!(scored(&answer), runs);
    let entry = only(&api.simulator.ledger()).clone();
    assert_eq!(
        (entry.requests, 3 * entry.input_tokens),
        (1, apart.input_tokens)
    );
    assert_eq!(entry.output_tokens, apart.output_tokens);
    assert_eq!(entry.picodollars, bill("gpt-6-luna", &answer["usage"]));
}

#[tokio::test]
async fn flex_costs_half_or_finds_no_resources() {
    let api = Api::with(json!({})).await;
    let body = score("gpt-6-luna", "A fight!");
    for (asked, answered) in [
        (json!(null), "default"),
        (json!("auto"), "default"),
        (json!("flex"), "flex"),
        (json!("priority"), "priority"),
    ] {
        let answer = api
            .post(
                "/chat/completions",
                &with(body.clone(), &[("service_tier", asked)]),
            )
            .await;
        assert_eq!(answer.ok()["service_tier"], answered);
    }
    let ledger = api.simulator.ledger();
    let cost = |tier| ledger.picodollars_of("gpt-6-luna", tier);
    assert_eq!(cost(Tier::Default), 4 * cost(Tier::Flex));
    assert_eq!(cost(Tier::Priority), cost(Tier::Default));

    api.change(json!({"faults": {"resource_unavailable": 1}}));
    let flex = api
        .post(
            "/chat/completions",
            &with(body.clone(), &[("service_tier", json!("flex"))]),
        )
        .await;
    assert_eq!(flex.error(), (429, Some("resource_unavailable"), None));
    assert_eq!(api.simulator.ledger(), ledger);
    assert_eq!(api.post("/chat/completions", &body).await.status, 200);
    let refused = api
        .post(
            "/chat/completions",
            &with(
                score("gpt-4o-mini", "a"),
                &[("service_tier", json!("flex"))],
            ),
        )
        .await;
    assert_eq!(
        refused.error(),
        (400, Some("unsupported_value"), Some("service_tier"))
    );
}

#[tokio::test]
async fn a_line_of_a_batch_costs_half() {
    let api = Api::with(json!({})).await;
    let embedding = json!({"model": "text-embedding-3-small", "input": ["a gnome", "a couch"]});
    for (endpoint, body) in [
        (EMBEDDINGS, embedding),
        (CHAT, score("gpt-6-luna", "A fight!")),
    ] {
        api.post(endpoint.strip_prefix("/v1").unwrap(), &body)
            .await
            .ok();
        let id = api.create(endpoint, &[line("a", endpoint, &body)]).await;
        api.ended(&id).await;
        let ledger = api.simulator.ledger();
        let cost = |tier| ledger.picodollars_of(body["model"].as_str().unwrap(), tier);
        assert_eq!(
            (cost(Tier::Default), cost(Tier::Batch) > 0),
            (2 * cost(Tier::Batch), true)
        );
    }
}

#[tokio::test]
async fn the_same_input_has_the_same_scores_whoever_asks() {
    let body = score("gpt-6-luna", "A fight about parking!");
    let mut answers = Vec::new();
    for _ in 0..2 {
        let api = Api::with(json!({})).await;
        answers.push(api.post("/chat/completions", &body).await.ok()["choices"].clone());
        let flex = with(body.clone(), &[("service_tier", json!("flex"))]);
        answers.push(api.post("/chat/completions", &flex).await.ok()["choices"].clone());
        let id = api.create(CHAT, &[line("a", CHAT, &body)]).await;
        let batch = api.ended(&id).await;
        let output = &api.lines(&batch, "output_file_id").await[0];
        answers.push(output["response"]["body"]["choices"].clone());
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]));
}
