//! Odd providers.

use serde_json::{Value, json};
use sluice_tests::{OddProvider, Oddity, Program, Refusal, Run, Stack, When};

/// A rubric of one dimension and one run, five posts a request.
const RUBRIC: &str = "[scoring]\nruns = 1\nposts_per_call = 5\n[[scoring.dimensions]]\nname = 'drama'\n\
                      description = 'How much conflict is there?'\nweight = 1\n";

/// How a run on an odd provider ended.
struct Day {
    code: Option<i32>,
    written: u64,
    dead: i64,
    /// Posts that are leased, failing or dead.
    items: i64,
    /// Refusals that count as reached limits.
    rate_limited: u64,
    /// The reason in the report, and stderr.
    said: String,
    provider: OddProvider,
    stack: Stack,
}

/// Inserts posts. Every text has another length.
async fn posts(stack: &Stack, count: usize) {
    let insert = format!(
        "insert into neighborhoods (name, slug) values ('Elm Park', 'elm-park');
         insert into posts (id, neighborhood_id, post_id_ext, text, hash)
           select ('00000000-0000-4000-8000-' || lpad(to_hex(i - 1), 12, '0'))::uuid, n.id, 'p' || i,
             'Has anybody seen the gnome' || repeat('!', i), 'h' || i
           from neighborhoods n, generate_series(1, {count}) as i"
    );
    stack.sql(&insert).await;
}

/// Runs a command over so many posts.
async fn day(command: &str, posts: usize, oddity: Oddity) -> Day {
    day_with(command, posts, oddity, |program| program).await
}

async fn day_with(
    command: &str,
    count: usize,
    oddity: Oddity,
    set: impl FnOnce(Program) -> Program,
) -> Day {
    let stack = Stack::fresh().await;
    posts(&stack, count).await;
    run_on(stack, command, oddity, set).await
}

async fn run_on(
    stack: Stack,
    command: &str,
    oddity: Oddity,
    set: impl FnOnce(Program) -> Program,
) -> Day {
    let provider = OddProvider::start(oddity).await;
    let program = Program::on(&stack, &provider.url()).configured(RUBRIC);
    let Run {
        code,
        stdout,
        stderr,
    } = set(program).run(&[command, "--output", "json"]).await;
    let report: Value = serde_json::from_str(&stdout).unwrap_or_default();
    let count = |pointer| report.pointer(pointer).and_then(Value::as_u64);
    Day {
        code,
        written: count("/counts/written").unwrap_or_default(),
        dead: stack
            .count("select count(*) from work_items where dead")
            .await,
        items: stack.count("select count(*) from work_items").await,
        rate_limited: count("/requests/rate_limited").unwrap_or_default(),
        said: format!("{} {stderr}", report.get("reason").unwrap_or(&Value::Null)),
        provider,
        stack,
    }
}

impl Day {
    /// The run stopped because of something that concerns every row: nothing is blamed, and all of it is due.
    fn assert_stopped(&self, code: i32, most_requests: usize, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{}", self.said);
        assert_eq!((self.dead, self.items), (0, 0), "dead and leased rows");
        let requests = self.provider.requests();
        assert!(
            (1..=most_requests).contains(&requests),
            "{requests} requests"
        );
        for word in words {
            assert!(self.said.contains(word), "`{word}` is not in {}", self.said);
        }
    }
}

fn refuses(when: When, status: u16, body: &Value) -> Oddity {
    Oddity::Refuses(when, Refusal::new(status, body))
}

#[tokio::test]
async fn vectors_without_an_index_belong_to_the_input_at_their_place() {
    for at in [|place| place == 0, |_| true] {
        let day = day("embed", 6, Oddity::NoIndex(at)).await;
        assert_eq!((day.code, day.written, day.dead), (Some(0), 6, 0));
        assert_eq!(day.provider.requests(), 1);
        let query = "select count(*) from post_embeddings e join posts p on p.id = e.post_id
                     where (string_to_array(trim('[]' from e.embedding::text), ','))[1]::float8 = length(p.text)";
        assert_eq!(day.stack.count(query).await, 6, "vectors of their own text");
    }
}

#[tokio::test]
async fn other_dimensions_stop_the_run_at_the_first_answer() {
    let day = day("embed", 40, Oddity::Dimensions(768)).await;
    day.assert_stopped(2, 4, &["embedding.dimensions", "768", "1536"]);
    assert_eq!(day.written, 0);
}

/// A key that is refused with a 400, as an array of errors and alone.
#[tokio::test]
async fn key_that_is_refused_with_a_400_stops_the_run() {
    let error = json!({ "error": {
        "code": 400,
        "message": "API key not valid. Please pass a valid API key.",
        "status": "INVALID_ARGUMENT",
    } });
    for body in [error.clone(), json!([error])] {
        for command in ["embed", "score"] {
            let day = day(command, 40, refuses(When::Always, 400, &body)).await;
            day.assert_stopped(5, 16, &["API key not valid", "OPENAI_API_KEY"]);
        }
    }
}

#[tokio::test]
async fn missing_scope_is_told_from_a_bad_key() {
    let error = json!({ "error": {
        "message": "You have insufficient permissions for this operation. Missing scopes: model.request.",
        "type": "invalid_request_error", "param": null, "code": null,
    } });
    for command in ["embed", "score"] {
        let day = day(command, 12, refuses(When::Always, 401, &error)).await;
        day.assert_stopped(5, 16, &["Missing scopes: model.request", "permission"]);
    }
    let error =
        json!({ "error": { "message": "Your IP is not allowed.", "code": "ip_not_authorized" } });
    let day = day("embed", 12, refuses(When::Always, 403, &error)).await;
    day.assert_stopped(5, 4, &["Your IP is not allowed."]);
}

#[tokio::test]
async fn refusal_in_plain_text_is_shown() {
    for body in ["\"the tenant is suspended\"", "the tenant is suspended"] {
        let refusal = Refusal::new(403, &body);
        let day = day("embed", 12, Oddity::Refuses(When::Always, refusal)).await;
        day.assert_stopped(5, 4, &["the tenant is suspended"]);
    }
}

#[tokio::test]
async fn pause_of_a_day_ends_the_run_at_once() {
    let body = json!({ "error": {
        "message": "Rate limit reached for requests per day (RPD).",
        "type": "requests", "code": "rate_limit_exceeded",
    } });
    for command in ["embed", "score"] {
        let refusal = Refusal {
            retry_after: Some(86_400),
            ..Refusal::new(429, &body)
        };
        let started = tokio::time::Instant::now();
        let day = day(command, 12, Oddity::Refuses(When::Always, refusal)).await;
        day.assert_stopped(3, 4, &["requests per day", "come back"]);
        assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
    }
}

#[tokio::test]
async fn stated_cap_on_inputs_is_learnt_once() {
    for (most, message) in [
        (
            25,
            "batch size is invalid, it should not be larger than 25.",
        ),
        (
            64,
            "Too many inputs: at most 64 inputs are allowed in one request.",
        ),
        (10, "batch size 100 > maximum allowed batch size 10"),
    ] {
        let body = json!({ "error": {
            "message": message, "type": "InvalidParameter", "param": null, "code": "InvalidParameter",
        } });
        let oddity = refuses(When::MoreInputsThan(most), 400, &body);
        let one = |program: Program| program.with("EMBEDDING_BATCH_SIZE", "100");
        let day = day_with("embed", 240, oddity, one).await;
        assert_eq!((day.code, day.written, day.dead), (Some(0), 240, 0));
        let refused = day.provider.inputs().into_iter();
        let refused = refused.filter(|inputs| *inputs > most).count();
        // Batches that were in flight together learn it together.
        assert!((1..=4).contains(&refused), "{refused} requests refused");
        let needed = 240_usize.div_ceil(most);
        let requests = day.provider.requests();
        assert!(requests <= refused + needed + 9, "{requests} requests");
    }
}

#[tokio::test]
async fn limit_of_an_answer_is_sent_under_the_name_that_the_model_takes() {
    let body = json!({ "error": {
        "message": "Unsupported parameter: 'max_tokens' is not supported with this model. \
                    Use 'max_completion_tokens' instead.",
        "type": "invalid_request_error", "param": "max_tokens", "code": "unsupported_parameter",
    } });
    let toml = RUBRIC.replacen(
        "[scoring]",
        "[limits]\nconcurrency = 1\n[scoring]\nmodel = 'gpt-5-chat'",
        1,
    );
    let oddity = refuses(When::Has("max_tokens"), 400, &body);
    let day = day_with("score", 15, oddity, |program| program.configured(&toml)).await;
    assert_eq!(
        (day.code, day.written, day.dead),
        (Some(0), 15, 0),
        "{}",
        day.said
    );
    let has = |body: &Value| body.get("max_completion_tokens").is_some();
    let sent: Vec<bool> = day.provider.bodies().iter().map(has).collect();
    assert_eq!(sent, [false, true, true, true]);
}

#[tokio::test]
async fn half_a_surrogate_becomes_the_replacement_character() {
    for escape in ["a cat \\ud83d here", "a cat \\\\ud83d here"] {
        let day = day("score", 5, Oddity::Summary(escape)).await;
        assert_eq!(
            (day.code, day.written, day.dead),
            (Some(0), 5, 0),
            "{}",
            day.said
        );
        assert_eq!(day.provider.requests(), 1);
        let rows = day
            .stack
            .rows("select distinct summary from llm_scores")
            .await;
        assert_eq!(rows, [json!({ "summary": "a cat \u{fffd} here" })]);
    }
}

#[tokio::test]
async fn text_above_the_limit_of_a_minute_stays_due() {
    let stack = Stack::fresh().await;
    posts(&stack, 4).await;
    stack
        .sql("update posts set text = repeat('gnome ', 3000) where post_id_ext = 'p2'")
        .await;
    let day = run_on(stack, "embed", Oddity::None, |program| {
        program.with("OPENAI_TPM", "2048")
    })
    .await;
    assert_eq!(day.code, Some(3), "{}", day.said);
    assert_eq!((day.dead, day.items, day.written), (0, 0, 3));
    assert!(day.said.contains("OPENAI_TPM"), "{}", day.said);
}

/// A tier without capacity says nothing about the account's limits, so nothing slows down and nothing is counted.
#[tokio::test]
async fn unavailable_capacity_is_no_rate_limit() {
    let body = json!({ "error": {
        "message": "Flex capacity is unavailable.",
        "type": "resource_unavailable", "code": "resource_unavailable",
    } });
    let day = day("score", 5, refuses(When::First(1), 429, &body)).await;
    assert_eq!(
        (day.code, day.written, day.dead),
        (Some(0), 5, 0),
        "{}",
        day.said
    );
    assert_eq!((day.provider.requests(), day.rate_limited), (2, 0));
}

/// A deployment has any name, so what it takes is learnt from one refusal, and no row is blamed.
#[tokio::test]
async fn effort_that_a_deployment_refuses_is_replaced_once() {
    let body = json!({ "error": {
        "message": "Unsupported value: 'reasoning_effort' does not support 'none' with this model. \
                    Supported values are: 'low', 'medium', and 'high'.",
        "type": "invalid_request_error", "param": "reasoning_effort", "code": "unsupported_value",
    } });
    let toml = RUBRIC.replacen(
        "[scoring]",
        "[limits]\nconcurrency = 1\n[scoring]\nmodel = 'our-deployment'\nreasoning_effort = 'none'",
        1,
    );
    let oddity = refuses(When::Contains("\"reasoning_effort\":\"none\""), 400, &body);
    let day = day_with("score", 15, oddity, |program| program.configured(&toml)).await;
    assert_eq!(
        (day.code, day.written, day.dead),
        (Some(0), 15, 0),
        "{}",
        day.said
    );
    let efforts = day.provider.bodies();
    let efforts: Vec<&Value> = efforts
        .iter()
        .map(|body| &body["reasoning_effort"])
        .collect();
    assert_eq!(efforts, ["none", "low", "low", "low"]);
    // Thinking takes tokens of the answer.
    let limits = day.provider.bodies();
    let limits: Vec<u64> = limits
        .iter()
        .filter_map(|body| body["max_tokens"].as_u64())
        .collect();
    assert_eq!(limits[1] - limits[0], 2_048);
}

/// A gateway in front of a model may not know what the model can be told about its cache.
#[tokio::test]
async fn words_about_the_cache_that_a_gateway_refuses_are_left_out() {
    for param in [
        "prompt_cache_options",
        "messages[0].content[0].prompt_cache_breakpoint",
    ] {
        let body = json!({ "error": {
            "message": format!("Unknown parameter: '{param}'."),
            "type": "invalid_request_error", "param": param, "code": "unknown_parameter",
        } });
        let toml = RUBRIC.replacen("[scoring]", "[limits]\nconcurrency = 1\n[scoring]", 1);
        let oddity = refuses(When::Has("prompt_cache_options"), 400, &body);
        let day = day_with("score", 15, oddity, |program| program.configured(&toml)).await;
        assert_eq!(
            (day.code, day.written, day.dead),
            (Some(0), 15, 0),
            "{}",
            day.said
        );
        let sent = day.provider.bodies();
        let keys: Vec<bool> = sent
            .iter()
            .map(|body| body["prompt_cache_key"].is_string())
            .collect();
        assert_eq!(keys, [true, false, false, false]);
        assert!(sent[0]["messages"][0]["content"].is_array());
        assert!(sent[1]["messages"][0]["content"].is_string());
    }
}

/// An answer of a tier is asked for again at the standard tier only if that is configured.
#[tokio::test]
async fn flex_falls_back_only_if_it_is_configured() {
    let body = json!({ "error": {
        "message": "Flex capacity is unavailable.",
        "type": "resource_unavailable", "code": "resource_unavailable",
    } });
    for (fallback, tiers) in [(false, ["flex", "flex"]), (true, ["flex", "default"])] {
        let flex = format!("{RUBRIC}\n[openai]\nservice_tier = 'flex'\nflex_fallback = {fallback}");
        let oddity = refuses(When::First(1), 429, &body);
        let day = day_with("score", 5, oddity, |program| program.configured(&flex)).await;
        assert_eq!((day.code, day.written), (Some(0), 5), "{}", day.said);
        let sent = day.provider.bodies();
        let sent: Vec<&Value> = sent.iter().map(|body| &body["service_tier"]).collect();
        assert_eq!(sent, tiers);
        assert_eq!(day.rate_limited, 0);
    }
}

#[tokio::test]
async fn model_without_flex_stops_the_run_before_anything_is_spent() {
    let body = json!({ "error": {
        "message": "Invalid service_tier argument: flex is not available for this model.",
        "type": "invalid_request_error", "param": "service_tier", "code": null,
    } });
    let flex = RUBRIC.replacen(
        "[scoring]",
        "[openai]\nservice_tier = 'flex'\n[scoring]\nmodel = 'ours'",
        1,
    );
    let oddity = refuses(When::Has("service_tier"), 400, &body);
    let day = day_with("score", 40, oddity, |program| program.configured(&flex)).await;
    day.assert_stopped(5, 16, &["flex is not available"]);
}

/// Responses that cannot be read, for every request.
#[tokio::test]
async fn unreadable_responses_blame_no_row() {
    for body in ["<html>welcome</html>", r#"{"answer":42}"#] {
        for command in ["embed", "score"] {
            let refusal = Refusal::new(200, &body);
            let one = |program: Program| {
                program.configured(&format!("[limits]\nconcurrency = 1\n{RUBRIC}"))
            };
            let oddity = Oddity::Refuses(When::Always, refusal);
            let day = day_with(command, 6, oddity, one).await;
            day.assert_stopped(5, 5, &["no row is blamed"]);
        }
    }
}

/// Some gateways send errors with a status of success.
#[tokio::test]
async fn error_with_a_status_of_success_is_shown() {
    let body = json!({ "error": { "message": "No credits left.", "code": 402 } });
    for command in ["embed", "score"] {
        let day = day(command, 12, refuses(When::Always, 200, &body)).await;
        day.assert_stopped(5, 1, &["No credits left."]);
    }
}

/// A reason that nobody knows, for every request: a probe with single rows decides.
#[tokio::test]
async fn refusal_of_every_request_blames_no_row() {
    let body =
        json!({ "error": { "message": "The moon is in the wrong phase.", "code": "lunar" } });
    for command in ["embed", "score"] {
        let one =
            |program: Program| program.configured(&format!("[limits]\nconcurrency = 1\n{RUBRIC}"));
        let oddity = refuses(When::Always, 400, &body);
        let day = day_with(command, 40, oddity, one).await;
        day.assert_stopped(5, 3, &["The moon is in the wrong phase."]);
    }
}

/// Bad rows among good ones are found, and nothing else is blamed.
#[tokio::test]
async fn bad_rows_are_found_once_a_request_has_succeeded() {
    let body = json!({ "error": { "message": "This text is refused.", "param": "input" } });
    for (command, most) in [("embed", 30), ("score", 30)] {
        let stack = Stack::fresh().await;
        posts(&stack, 40).await;
        let bad = "update posts set text = 'arsenic ' || text where post_id_ext in ('p1', 'p17')";
        stack.sql(bad).await;
        let oddity = refuses(When::Contains("arsenic"), 400, &body);
        let day = run_on(stack, command, oddity, |program| program).await;
        assert_eq!(
            (day.code, day.written, day.dead),
            (Some(4), 38, 2),
            "{}",
            day.said
        );
        assert!(
            day.provider.requests() <= most,
            "{}",
            day.provider.requests()
        );
    }
}

/// Too few vectors, half an answer, or no answer to the question, for every request.
#[tokio::test]
async fn answers_that_cannot_be_used_blame_no_row() {
    let cases = [
        ("embed", Oddity::FewerVectors, 5),
        ("embed", Oddity::Truncated, 5),
        ("score", Oddity::Truncated, 5),
        ("score", Oddity::Content("I cannot help with that."), 3),
        ("score", Oddity::Content(r#"{"posts": []}"#), 3),
    ];
    for (command, oddity, most) in cases {
        let one =
            |program: Program| program.configured(&format!("[limits]\nconcurrency = 1\n{RUBRIC}"));
        let name = format!("{command} {oddity:?}");
        let day = day_with(command, 20, oddity, one).await;
        assert_eq!(day.written, 0, "{name}");
        day.assert_stopped(5, most, &["is blamed"]);
    }
}

/// With many requests in flight, each of them finds out by itself only that its own answer cannot be used.
#[tokio::test]
async fn answers_that_cannot_be_used_cost_little_with_many_requests_in_flight() {
    let oddity = Oddity::Content("I cannot help with that.");
    let day = day("score", 100, oddity).await;
    day.assert_stopped(5, 16 + 2, &["no post is blamed"]);
}

#[tokio::test]
async fn model_that_the_key_may_not_use_stops_the_run() {
    let body = json!({ "error": {
        "message": "Project `proj_1` does not have access to model `text-embedding-3-small`.",
        "type": "invalid_request_error", "param": null, "code": "model_not_found",
    } });
    let day = day("embed", 12, refuses(When::Always, 403, &body)).await;
    day.assert_stopped(5, 4, &["does not have access to model"]);
}

#[tokio::test]
async fn page_of_a_gateway_in_place_of_a_refusal_stops_the_run() {
    let page = "<html><head><title>Blocked</title></head><body>Blocked by policy 7.</body></html>";
    for status in [401, 403] {
        let day = day(
            "embed",
            12,
            Oddity::Refuses(When::Always, Refusal::new(status, &page)),
        )
        .await;
        day.assert_stopped(5, 4, &["Blocked"]);
    }
}

/// Without end, and once for a while.
#[tokio::test]
async fn busy_provider_is_waited_for_as_long_as_the_patience() {
    let busy = Refusal::new(503, &"busy");
    let toml = format!("[openai]\npatience_seconds = 3\n[limits]\nconcurrency = 1\n{RUBRIC}");
    for command in ["embed", "score"] {
        let short = |program: Program| program.configured(&toml);
        let started = tokio::time::Instant::now();
        let oddity = Oddity::Refuses(When::Always, busy.clone());
        let day = day_with(command, 12, oddity, short).await;
        day.assert_stopped(
            3,
            12,
            &["waited 3 s for the provider", "openai.patience_seconds"],
        );
        assert!(started.elapsed().as_secs() < 40);
        let lines = day.said.matches("waiting for the provider until").count();
        assert_eq!(lines, 1, "{}", day.said);
    }
    let day = day("embed", 12, Oddity::Refuses(When::First(3), busy)).await;
    assert_eq!(
        (day.code, day.written, day.dead),
        (Some(0), 12, 0),
        "{}",
        day.said
    );
    assert_eq!(day.provider.requests(), 4);
}

#[tokio::test]
async fn pause_until_a_date_beyond_the_patience_ends_the_run_at_once() {
    let refusal = Refusal {
        headers: &[
            ("date", "Wed, 25 Nov 2026 20:00:00 GMT"),
            ("retry-after", "Wed, 25 Nov 2026 23:00:00 GMT"),
        ],
        ..Refusal::new(503, &"maintenance")
    };
    for command in ["embed", "score", "search"] {
        let stack = Stack::fresh().await;
        posts(&stack, 12).await;
        let provider = OddProvider::start(Oddity::Refuses(When::Always, refusal.clone())).await;
        let program = Program::on(&stack, &provider.url()).configured(RUBRIC);
        let arguments: &[&str] = match command {
            "search" => &["search", "a cat"],
            other => &[other],
        };
        let run = program.run(arguments).await;
        let said = format!("{}{}", run.stdout, run.stderr);
        assert_eq!(run.code, Some(3), "{command}: {said}");
        assert!(said.contains("come back at 20"), "{command}: {said}");
        assert!((1..=4).contains(&provider.requests()));
        assert_eq!(stack.count("select count(*) from work_items").await, 0);
    }
}
