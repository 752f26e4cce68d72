//! Keys, tokens and the values of rows: in no error and no span. Keys and tokens are in no record and no
//! snapshot either.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::StreamExt;
use serde::Serialize;
use serde_json::{Value, json};
use sluice_sdk::testing::{Exchange, Fake, FakeResponse, Recorder};
use sluice_sdk::{Client, Error, Function, SecretString, client::Transport, col};
use tracing_subscriber::filter::LevelFilter;

use crate::server::{Reaction, Server, answer};

/// A text that JSON and URLs write differently, and a number.
const TEXT: &str = "hunter2\"é";
const NUMBER: u32 = 271_828;

/// How a value would look.
const VALUES: [&str; 4] = ["hunter2", "271828", "271,828", "é"];

/// How a key or a token would look.
const KEYS: [&str; 2] = ["topsecret", "eyJ.user.token"];

#[derive(Serialize)]
struct Row {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<i32>,
    name: &'static str,
    pin: u32,
}

const ROW: Row = Row {
    id: Some(1),
    name: TEXT,
    pin: NUMBER,
};

#[derive(Serialize, Function)]
#[function(name = "sign_in", returns = Value, read_only)]
struct SignIn {
    pin: u32,
    name: &'static str,
}

const SIGN_IN: SignIn = SignIn {
    pin: NUMBER,
    name: TEXT,
};

fn client(url: &str, transport: impl Transport) -> Client {
    let client = Client::builder()
        .postgrest_url(url)
        .key(SecretString::from("sb_secret_topsecret"))
        .transport(transport)
        .build()
        .unwrap();
    client
        .as_user(&SecretString::from("eyJ.user.token"))
        .unwrap()
}

/// The errors of every way to send a value.
async fn every_way(db: &Client) -> Vec<Error> {
    let table = || db.table("t");
    let name = || col("name").eq(TEXT);
    let pin = || col("pin").in_([NUMBER]);
    let read = || table().filter(name().and(pin())).rows::<bool>();
    let either = table().filter(name().or(pin())).rows::<bool>();
    let mut errors = vec![
        read().await.unwrap_err(),
        either.await.unwrap_err(),
        table()
            .update()
            .patch(&ROW)
            .all_rows()
            .returning_rows::<bool>()
            .await
            .unwrap_err(),
        db.rpc(SIGN_IN).output::<bool>().await.unwrap_err(),
        db.rpc(SIGN_IN).get().output::<bool>().await.unwrap_err(),
    ];
    errors.extend(
        read()
            .stream()
            .filter_map(async |row| row.err())
            .collect::<Vec<_>>()
            .await,
    );
    // Rows of the second shape are written by other code than those of the first.
    let other = Row { id: None, ..ROW };
    for write in [
        table().insert(&[ROW, ROW]).returning_rows::<bool>(),
        table().insert(&[other, ROW]).returning_rows::<bool>(),
        table()
            .insert(&[ROW])
            .all_or_nothing()
            .returning_rows::<bool>(),
    ] {
        match write.await {
            Ok(written) => errors.extend(written.report.failed.into_iter().map(|row| row.error)),
            Err(error) => errors.push(error),
        }
    }
    errors
}

fn assert_lacks(text: &str, hidden: &[&str]) {
    for hidden in hidden {
        assert!(!text.contains(hidden), "{hidden} is in {text}");
    }
}

/// What logs show of an error.
fn logged(error: &Error) -> String {
    let mut logged = format!("{error} {error:?} {:?}", error.write_report());
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        logged = format!("{logged} {error} {error:?}");
        source = error.source();
    }
    logged
}

/// Rows that no caller expects.
fn echo() -> Value {
    json!([{"name": TEXT, "pin": NUMBER}, TEXT])
}

/// Refuses everything, with the values in `details` as Postgres does.
fn refusal(details: &str) -> Value {
    let message = "duplicate key value violates unique constraint \"t_name_pin_key\"";
    json!({"code": "23505", "message": message, "details": details, "hint": null})
}

fn key_exists() -> String {
    format!("Key (name, pin)=({TEXT}, {NUMBER}) already exists.")
}

#[tokio::test]
async fn no_value_and_no_key_is_in_an_error_and_no_key_is_in_a_record() {
    let failing_row = format!("Failing row contains ({NUMBER}, {TEXT} (a), null).");
    for (status, body) in [
        (200, echo()),
        (409, refusal(&key_exists())),
        (409, refusal(&failing_row)),
        (200, json!(TEXT)),
        (200, json!([NUMBER])),
    ] {
        let fake = Fake::new(move |_| FakeResponse::json(status, &body));
        let recorder = Recorder::new(fake.clone());
        let db = client("http://fake", recorder.clone());
        for error in every_way(&db).await {
            assert_lacks(&logged(&error), &VALUES);
            assert_lacks(&logged(&error), &KEYS);
        }
        let calls = [
            db.rpc(SIGN_IN).call().unwrap(),
            db.table("t").insert(&[ROW]).calls().unwrap().remove(0),
        ];
        assert_lacks(&format!("{db:?} {calls:?}"), &VALUES);
        let records = [
            format!("{db:?} {calls:?}"),
            fake.snapshot(),
            recorder.snapshot(),
            Exchange::to_lines(&recorder.exchanges()),
        ];
        assert_lacks(&records.concat(), &KEYS);
    }
}

#[tokio::test]
async fn the_caller_can_still_ask_for_the_values() {
    let fake = Fake::new(|_| FakeResponse::json(409, &refusal(&key_exists())));
    let error = client("http://fake", fake).table("t").await.unwrap_err();
    assert_eq!(error.details().unwrap(), key_exists());
    let text = "GET /t: 23505: duplicate key value violates unique constraint \"t_name_pin_key\" (Key (name, pin)=(…) already exists.)";
    assert_eq!(error.to_string(), text);

    let fake = Fake::new(|_| FakeResponse::json(200, &echo()));
    let read = client("http://fake", fake).table("t").rows::<bool>();
    let error = read.await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("invalid type: map, expected a boolean")
    );
    assert_eq!(error.body().unwrap(), &echo().to_string());
}

/// What a subscriber writes.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn spans_show_the_shape_of_a_request_and_no_value() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .finish();
    let _subscribed = tracing::subscriber::set_default(subscriber);
    // The client retries after the second response, and logs that.
    let mut rolled_back = refusal(&key_exists());
    rolled_back["code"] = "40001".into();
    rolled_back["details"] = Value::Null;
    let requests = AtomicUsize::new(0);
    let server = Server::start(move |_| {
        let (status, body) = match requests.fetch_add(1, Ordering::Relaxed) {
            1 => (409, &rolled_back),
            _ => (200, &echo()),
        };
        let body = body.to_string();
        Reaction::Answer(answer(status, "", body.as_bytes()))
    })
    .await;
    let db = client(server.url(), sluice_sdk::client::Http::new().unwrap());
    // Another test may have reached these log statements while nobody listened.
    db.table("t").await.unwrap();
    tracing::callsite::rebuild_interest_cache();
    every_way(&db).await;
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(
        log.contains("postgrest{") && log.contains("request=\"GET /t?name=eq.…&pin=in.…\"}"),
        "{log}"
    );
    assert!(log.contains("sending the request again"), "{log}");
    assert_lacks(&log, &VALUES);
    assert_lacks(&log, &KEYS);
}
