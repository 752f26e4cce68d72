//! What each response means.

use super::*;

const WAIT: Option<Duration> = Some(Duration::from_millis(350));

fn kind(status: u16, body: &str) -> ErrorKind {
    kind_of(status, body, 1)
}

fn kind_of(status: u16, body: &str, inputs: usize) -> ErrorKind {
    let body = ErrorBody::read(body.as_bytes()).unwrap_or_default();
    classify(status, &body, WAIT, inputs)
}

fn overloaded(cause: Overload) -> ErrorKind {
    ErrorKind::Overloaded {
        cause,
        retry_after: WAIT,
    }
}

#[test]
fn a_used_up_account_stops_the_run_at_every_status() {
    for (status, body) in [
        (
            429,
            r#"{"error":{"message":"m","type":"insufficient_quota","code":"insufficient_quota"}}"#,
        ),
        (
            429,
            r#"{"error":{"message":"m","type":"insufficient_quota","code":null}}"#,
        ),
        (
            429,
            r#"{"error":{"message":"m","code":"credit_balance_exhausted"}}"#,
        ),
        (
            400,
            r#"{"error":{"message":"m","code":"project_spend_limit_exceeded"}}"#,
        ),
        (
            400,
            r#"{"error":{"message":"m","code":"billing_hard_limit_reached"}}"#,
        ),
        (402, "payment required"),
    ] {
        assert_eq!(
            kind(status, body),
            ErrorKind::Refused(RefusalCause::Quota),
            "{body}"
        );
    }
}

#[test]
fn the_body_says_what_a_429_means() {
    let limit = r#"{"error":{"message":"Rate limit reached: Limit 10000, Used 9999, Requested 500.","type":"tokens","code":"rate_limit_exceeded"}}"#;
    assert_eq!(kind(429, limit), overloaded(Overload::RateLimit));
    assert_eq!(kind(429, "slow"), overloaded(Overload::RateLimit));
    let slow = r#"{"error":{"message":"m","code":"slow_down"}}"#;
    assert_eq!(kind(429, slow), overloaded(Overload::Busy));
    for (requested, expected) in [
        (
            36_278,
            ErrorKind::AboveLimit {
                limit: Some(30_000),
            },
        ),
        (30_000, overloaded(Overload::RateLimit)),
    ] {
        let body = format!(
            r#"{{"error":{{"message":"Request too large for gpt-4.1-2025-04-14 (for limit gpt-4.1) on tokens per min (TPM): Limit 30000, Requested {requested}.","type":"tokens","code":"rate_limit_exceeded"}}}}"#
        );
        assert_eq!(kind(429, &body), expected);
    }
}

#[test]
fn the_most_tokens_of_a_request_are_read_from_the_message() {
    let body = r#"{"error":{"message":"Requested 312,000 tokens, max 300,000 tokens per request","type":"max_tokens_per_request","code":"max_tokens_per_request"}}"#;
    assert_eq!(
        kind(400, body),
        ErrorKind::TooLarge {
            limit: Some(300_000)
        }
    );
    let silent = r#"{"error":{"code":"max_tokens_per_request"}}"#;
    assert_eq!(kind(400, silent), ErrorKind::TooLarge { limit: None });
    assert_eq!(kind(413, ""), ErrorKind::TooLarge { limit: None });
}

#[test]
fn a_stated_cap_on_inputs_is_read_and_no_other_number_is() {
    for (message, expected) in [
        (
            "batch size is invalid, it should not be larger than 25.",
            Some(25),
        ),
        ("Too many inputs: at most 64 inputs are allowed", Some(64)),
        ("batch size 100 > maximum allowed batch size 32", Some(32)),
        (
            "* BatchEmbedContentsRequest.requests: at most 96 requests can be in one batch",
            Some(96),
        ),
        (
            "input array too long: maximum array length is 10, got 100",
            Some(10),
        ),
        ("The batch exceeds the limit of 200 inputs", None),
        ("inputs[3]: at most 80 tokens are allowed", None),
        ("Input 17 is not allowed", None),
        ("the batch is refused", None),
    ] {
        let body = format!(r#"{{"error":{{"message":"{message}"}}}}"#);
        let kind = match expected {
            Some(limit) => ErrorKind::TooManyInputs { limit },
            None => ErrorKind::BadInput,
        };
        assert_eq!(kind_of(400, &body, 100), kind, "{message}");
    }
}

#[test]
fn a_tier_without_capacity_is_no_rate_limit() {
    let body =
        r#"{"error":{"message":"m","type":"resource_unavailable","code":"resource_unavailable"}}"#;
    assert_eq!(kind(429, body), overloaded(Overload::NoCapacity));
}

#[test]
fn a_key_that_is_refused_with_another_status_is_a_refused_key() {
    let gemini = r#"{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT"}}"#;
    for body in [gemini.to_owned(), format!("[{gemini}]")] {
        assert_eq!(kind(400, &body), ErrorKind::Refused(RefusalCause::Key));
    }
    for message in [
        "Missing scopes: model.request.",
        "You have insufficient permissions for this operation.",
    ] {
        let body = format!(r#"{{"error":{{"message":"{message}","code":null}}}}"#);
        assert_eq!(
            kind(401, &body),
            ErrorKind::Refused(RefusalCause::Permission)
        );
    }
    let region = r#"{"error":{"code":400,"message":"User location is not supported for the API use.","status":"FAILED_PRECONDITION"}}"#;
    assert_eq!(
        kind(400, region),
        ErrorKind::Refused(RefusalCause::Permission)
    );
    // A text that speaks of a key is still a text.
    let input = r#"{"error":{"message":"invalid input: 'my api key'","param":"input"}}"#;
    assert_eq!(kind(400, input), ErrorKind::BadInput);
}

#[test]
fn a_parameter_that_the_model_does_not_take_has_a_name() {
    for (body, expected) in [
        (
            r#"{"error":{"message":"m","param":"max_tokens","code":"unsupported_parameter"}}"#,
            Some(Parameter::MaxTokens),
        ),
        (
            r#"{"error":{"message":"Unsupported value: 'temperature' does not support 0.3","param":"temperature","code":"unsupported_value"}}"#,
            Some(Parameter::Temperature),
        ),
        (
            r#"{"error":{"message":"`max_completion_tokens` is not supported"}}"#,
            Some(Parameter::MaxCompletionTokens),
        ),
        (
            r#"{"error":{"message":"max_tokens is too large","param":"max_tokens","code":"invalid_value"}}"#,
            None,
        ),
        (
            r#"{"error":{"message":"m","param":"response_format","code":"unsupported_parameter"}}"#,
            None,
        ),
    ] {
        let read = ErrorBody::read(body.as_bytes()).unwrap();
        assert_eq!(read.refused_parameter(), expected, "{body}");
    }
}

#[test]
fn a_failing_provider_is_an_overload() {
    let body = r#"{"error":{"message":"m","type":"server_error","code":"server_is_overloaded"}}"#;
    assert_eq!(kind(503, body), overloaded(Overload::Busy));
    for status in [409, 425, 500, 502, 504, 529] {
        assert_eq!(
            kind(status, "<html>"),
            overloaded(Overload::Busy),
            "{status}"
        );
    }
    assert_eq!(kind(408, ""), overloaded(Overload::Timeout));
}

#[test]
fn a_refused_key_or_account_stops_the_run() {
    let body =
        r#"{"error":{"message":"m","type":"invalid_request_error","code":"invalid_api_key"}}"#;
    assert_eq!(kind(401, body), ErrorKind::Refused(RefusalCause::Key));
    assert_eq!(kind(400, body), ErrorKind::Refused(RefusalCause::Key));
    assert_eq!(kind(401, "no"), ErrorKind::Refused(RefusalCause::Key));
    assert_eq!(
        kind(403, "no"),
        ErrorKind::Refused(RefusalCause::Permission)
    );
}

#[test]
fn a_refused_input_is_bad_input_but_a_refused_setting_stops_the_run() {
    let input =
        r#"{"error":{"message":"m","type":"invalid_request_error","param":"input","code":null}}"#;
    assert_eq!(kind(400, input), ErrorKind::BadInput);
    let message = r#"{"error":{"message":"m","param":"messages[1].content","code":null}}"#;
    assert_eq!(kind(400, message), ErrorKind::BadInput);
    assert_eq!(kind(400, r#"{"error":"bad"}"#), ErrorKind::BadInput);
    assert_eq!(kind(422, "bad"), ErrorKind::BadInput);
    for (status, body) in [
        (
            400,
            r#"{"error":{"message":"m","param":"response_format","code":null}}"#,
        ),
        (
            400,
            r#"{"error":{"message":"m","param":"dimensions","code":null}}"#,
        ),
        (
            400,
            r#"{"error":{"message":"m","code":"unsupported_value","param":"messages"}}"#,
        ),
        (404, r#"{"error":{"message":"m","code":"model_not_found"}}"#),
        (403, r#"{"error":{"message":"m","code":"model_not_found"}}"#),
        (404, "<html>"),
        (308, ""),
    ] {
        assert_eq!(
            kind(status, body),
            ErrorKind::Refused(RefusalCause::Settings),
            "{body}"
        );
    }
}

#[test]
fn too_many_inputs_are_too_large() {
    let body = r#"{"error":{"message":"m","param":"input","code":"array_above_max_length"}}"#;
    assert_eq!(kind(400, body), ErrorKind::TooLarge { limit: None });
}

#[test]
fn a_batch_that_is_too_large_is_sent_in_smaller_ones() {
    for message in [
        "Too many inputs in request, split into more batches.",
        "Batch at index 9 exceeds max total tokens of 16384 in a batch.",
    ] {
        let body = format!(r#"{{"object":"error","message":"{message}"}}"#);
        assert_eq!(kind(400, &body), ErrorKind::TooLarge { limit: None });
    }
}

#[test]
fn an_error_with_a_status_of_success_is_an_error() {
    let disguised = |body: &str| {
        let (status, error) = ErrorBody::disguised(body.as_bytes())?;
        Some(classify(status, &error, WAIT, 1))
    };
    let busy = r#"{"error":{"message":"m","code":502}}"#;
    assert_eq!(disguised(busy), Some(overloaded(Overload::Busy)));
    let bad = r#"{"error":{"message":"m"},"choices":null}"#;
    assert_eq!(disguised(bad), Some(ErrorKind::BadInput));
    assert_eq!(disguised(r#"{"error":null,"data":[]}"#), None);
    assert_eq!(disguised("<html>"), None);
}

/// What an answer is, its status and its body.
const ANSWERS: &[(&str, u16, &str)] = &[
    ("401", 401, ""),
    (
        "400 `API key not valid`",
        400,
        r#"[{"error":{"code":400,"message":"API key not valid.","status":"INVALID_ARGUMENT"}}]"#,
    ),
    (
        "401 `Missing scopes`",
        401,
        r#"{"error":{"message":"Missing scopes: model.request."}}"#,
    ),
    ("403", 403, "forbidden"),
    ("402", 402, ""),
    (
        "`insufficient_quota` at any status",
        429,
        r#"{"error":{"code":"insufficient_quota"}}"#,
    ),
    ("404", 404, ""),
    (
        "`model_not_found`",
        404,
        r#"{"error":{"code":"model_not_found"}}"#,
    ),
    (
        "400 about a setting",
        400,
        r#"{"error":{"param":"response_format"}}"#,
    ),
    ("400 or 422", 400, "no"),
    (
        "400 `at most 64 inputs`",
        400,
        r#"{"error":{"message":"at most 64 inputs"}}"#,
    ),
    ("413, or too many tokens in a request", 413, ""),
    (
        "429 `Request too large`",
        429,
        r#"{"error":{"message":"Request too large on tokens per min (TPM): Limit 30000, Requested 36278."}}"#,
    ),
    ("429", 429, ""),
    (
        "429 `resource_unavailable`",
        429,
        r#"{"error":{"code":"resource_unavailable"}}"#,
    ),
    ("408", 408, ""),
    ("409, 425", 425, ""),
    ("500 and above", 500, "<html>"),
];

fn leads_to(kind: &ErrorKind) -> (&'static str, &'static str) {
    match kind {
        ErrorKind::Refused(RefusalCause::Key) => ("the key is refused", "stops, 5"),
        ErrorKind::Refused(RefusalCause::Quota) => ("the account's credit is used up", "stops, 5"),
        ErrorKind::Refused(RefusalCause::Permission) => {
            ("the key or account may not do this", "stops, 5")
        }
        ErrorKind::Refused(RefusalCause::Settings) => {
            ("the model, address or a setting is wrong", "stops, 5")
        }
        ErrorKind::Overloaded {
            cause: Overload::RateLimit,
            ..
        } => ("a limit is reached", "waits, and slows down"),
        ErrorKind::Overloaded {
            cause: Overload::NoCapacity,
            ..
        } => ("the service tier has no capacity", "waits"),
        ErrorKind::Overloaded { .. } => ("the provider is busy, or fails", "waits, and slows down"),
        ErrorKind::TooLarge { .. } => ("the request is too large", "sends less"),
        ErrorKind::AboveLimit { .. } => (
            "more tokens than a minute allows",
            "sends less; a row alone stays due",
        ),
        ErrorKind::TooManyInputs { .. } => (
            "more inputs than a request may have",
            "sends less from then on",
        ),
        ErrorKind::Adapted => (
            "the model does not take a parameter",
            "sends again without it",
        ),
        ErrorKind::BadInput => ("something in the input is refused", "looks for the row"),
        ErrorKind::Broken(_) => (
            "the response cannot be read",
            "sends again, then looks for the row",
        ),
    }
}

#[test]
fn the_page_on_reliability_has_what_each_answer_leads_to() {
    let mut made = "| answer | means | a flow |\n| --- | --- | --- |\n".to_owned();
    let mut add = |answer: &str, kind: &ErrorKind| {
        let (means, flow) = leads_to(kind);
        made.extend(["| ", answer, " | ", means, " | ", flow, " |\n"]);
    };
    for (answer, status, body) in ANSWERS {
        add(answer, &kind_of(*status, body, 100));
    }
    add("400 `'max_tokens' is not supported`", &ErrorKind::Adapted);
    let broken = ErrorKind::Broken(crate::Breakage::NotJson);
    add("200 without a usable body", &broken);
    add(
        "no connection, no answer in time",
        &overloaded(Overload::Timeout),
    );
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reliability.md");
    let text = std::fs::read_to_string(page).unwrap();
    let (begin, end) = ("<!-- provider:begin -->\n", "<!-- provider:end -->");
    let (before, rest) = text.split_once(begin).unwrap();
    let (written, after) = rest.split_once(end).unwrap();
    #[expect(
        clippy::disallowed_methods,
        reason = "an environment variable asks for the update"
    )]
    if std::env::var("SLUICE_UPDATE").is_ok() {
        return std::fs::write(page, format!("{before}{begin}{made}{end}{after}")).unwrap();
    }
    assert!(
        written == made,
        "docs/reliability.md differs; update it with `SLUICE_UPDATE=1 cargo test -p sluice-provider`"
    );
}

#[test]
fn errors_of_other_servers_are_read() {
    let bare = ErrorBody::read(br#"{"object":"error","message":"m","code":404}"#).unwrap();
    assert_eq!(
        (bare.message.as_deref(), bare.name()),
        (Some("m"), Some("404"))
    );
    let text = ErrorBody::read(br#"{"error":"out of memory"}"#).unwrap();
    assert_eq!(text.message.as_deref(), Some("out of memory"));
    for body in [
        r#"[{"error":{"code":400,"message":"m","status":"INVALID_ARGUMENT"}}]"#,
        r#"{"errors":[{"code":400,"message":"m","type":"INVALID_ARGUMENT"}]}"#,
        r#"{"code":400,"message":"m","status":"INVALID_ARGUMENT"}"#,
    ] {
        let read = ErrorBody::read(body.as_bytes()).unwrap();
        assert_eq!(
            (read.message.as_deref(), read.name()),
            (Some("m"), Some("INVALID_ARGUMENT")),
            "{body}"
        );
    }
    for body in [
        "m",
        " m\n",
        r#"{"detail":"m"}"#,
        r#"{"detail":[{"msg":"m","loc":["body"]}]}"#,
        r#"{"message":"m"}"#,
        r#"["m"]"#,
        "\"m\"",
    ] {
        let read = ErrorBody::read(body.as_bytes()).unwrap();
        assert_eq!(read.message.as_deref(), Some("m"), "{body}");
    }
    assert_eq!(ErrorBody::read(b"{}"), None);
    assert_eq!(ErrorBody::read(b"<html>"), None);
}
