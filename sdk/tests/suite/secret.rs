//! What must not be seen: keys, tokens and the values marked secret, wherever they stand in a
//! request, and in no error, span, record or snapshot.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::StreamExt;
use serde::Serialize;
use serde_json::{Value, json};
use sluice_sdk::testing::{Exchange, Fake, Recorder, Reply};
use sluice_sdk::{Client, Error, Function, Secret, SecretString, Transport, col};
use tracing_subscriber::filter::LevelFilter;

use crate::server::{Reaction, Server, answer};

/// A text that JSON and URLs write differently, and a number.
const TEXT: &str = "hunter2\"é";
const NUMBER: u32 = 271_828;

/// How any of it would look.
const HIDDEN: [&str; 6] = [
    "hunter2",
    "271828",
    "271,828",
    "topsecret",
    "eyJ.user.token",
    "é",
];

#[derive(Serialize)]
struct Row {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<i32>,
    token: Secret<&'static str>,
    pin: Option<Secret<u32>>,
}

const ROW: Row = Row {
    id: Some(1),
    token: Secret(TEXT),
    pin: Some(Secret(NUMBER)),
};

#[derive(Serialize, Function)]
#[function(name = "sign_in", returns = Value, read_only)]
struct SignIn {
    pin: Secret<u32>,
    name: Secret<&'static str>,
}

const SIGN_IN: SignIn = SignIn {
    pin: Secret(NUMBER),
    name: Secret(TEXT),
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

/// The errors of every way to send a secret.
async fn every_way(db: &Client) -> Vec<Error> {
    let table = || db.table("t");
    let token = || col("token").eq(Secret(TEXT));
    let pin = || col("pin").in_([Secret(NUMBER)]);
    let read = || table().filter(token().and(pin())).rows::<bool>();
    let either = table().filter(token().or(pin())).rows::<bool>();
    let mut errors = vec![
        read().await.unwrap_err(),
        either.await.unwrap_err(),
        table()
            .update(&ROW)
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
    // The rows of the second shape are written by another way than those of the first.
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

fn assert_hidden(told: &str) {
    for hidden in HIDDEN {
        assert!(!told.contains(hidden), "{hidden} is in {told}");
    }
}

/// Everything that can be told of an error.
fn told(error: &Error) -> String {
    let mut told = format!(
        "{error} {error:?} {:?} {:?}",
        error.body(),
        error.write_report()
    );
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        told = format!("{told} {error} {error:?}");
        source = error.source();
    }
    told
}

/// Answers what no caller expects, with the secrets in it.
fn echo() -> Value {
    json!([{"token": TEXT, "pin": NUMBER}, TEXT])
}

/// Refuses everything with the secrets in its words.
fn refusal() -> Value {
    let message = format!("Key (token, pin)=({TEXT}, {NUMBER}) already exists");
    json!({"code": "23505", "message": message, "details": message, "hint": message})
}

#[tokio::test]
async fn no_secret_is_in_an_error_or_a_record() {
    for (status, body) in [
        (200, echo()),
        (409, refusal()),
        (200, json!(TEXT)),
        (200, json!([NUMBER])),
    ] {
        let fake = Fake::new(move |_| Reply::json(status, &body));
        let recorder = Recorder::new(fake.clone());
        let db = client("http://fake", recorder.clone());
        for error in every_way(&db).await {
            assert_hidden(&told(&error));
        }
        let calls = [
            db.rpc(SIGN_IN).call().unwrap(),
            db.table("t").insert(&[ROW]).calls().unwrap().remove(0),
        ];
        assert_hidden(&format!("{db:?} {calls:?}"));
        assert_hidden(&fake.snapshot());
        assert_hidden(&recorder.snapshot());
        assert_hidden(&Exchange::to_lines(&recorder.exchanges()));
        let snapshot = recorder.snapshot();
        for shown in [
            "token=eq.[secret]",
            "\"token\": \"[secret]\"",
            "pin=[secret]&name=[secret]",
        ] {
            assert!(snapshot.contains(shown), "{shown} is not in {snapshot}");
        }
    }
}

#[tokio::test]
async fn a_secret_is_sent_as_it_is() {
    let server = Server::start(|_| Reaction::Answer(answer(200, "", b"[]"))).await;
    let db = Client::builder()
        .postgrest_url(server.url())
        .build()
        .unwrap();
    db.table("t").insert(&[ROW]).await.unwrap();
    db.rpc(SIGN_IN).await.unwrap();
    db.rpc(SIGN_IN).get().await.unwrap();
    db.table("t")
        .update(&ROW)
        .all_rows()
        .returning_rows::<Value>()
        .await
        .unwrap();
    let [insert, post, get, update] = &server.seen()[..] else {
        panic!("four requests");
    };
    let row = r#"{"id":1,"token":"hunter2\"é","pin":271828}"#;
    assert_eq!(insert.text(), format!("[{row}]"));
    assert_eq!(post.text(), r#"{"pin":271828,"name":"hunter2\"é"}"#);
    assert!(
        get.head
            .starts_with("GET /rpc/sign_in?pin=271828&name=hunter2%22%C3%A9 "),
        "{}",
        get.head
    );
    assert_eq!(update.text(), row);
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
async fn spans_tell_the_shape_of_a_request_and_no_value() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .finish();
    let _subscribed = tracing::subscriber::set_default(subscriber);
    // The second answer is one after which the request is sent again, and that is told.
    let mut rolled_back = refusal();
    rolled_back["code"] = "40001".into();
    let asked = AtomicUsize::new(0);
    let server = Server::start(move |_| {
        let (status, body) = match asked.fetch_add(1, Ordering::Relaxed) {
            1 => (409, &rolled_back),
            _ => (200, &echo()),
        };
        Reaction::Answer(answer(status, "", body.to_string().as_bytes()))
    })
    .await;
    let db = client(server.url(), sluice_sdk::Http::new().unwrap());
    // Other tests may have met the places that tell while no one listened.
    db.table("t").await.unwrap();
    tracing::callsite::rebuild_interest_cache();
    every_way(&db).await;
    // No body is told at all, and of a URL no value.
    let row = json!({"id": 1, "note": "plain-value"});
    db.table("t")
        .insert(&[row])
        .returning_rows::<bool>()
        .await
        .unwrap_err();
    db.table("t")
        .filter(col("note").eq("plain-value"))
        .rows::<bool>()
        .await
        .unwrap_err();
    let told = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(
        told.contains("postgrest{request=\"GET /t?token=eq.…&pin=in.…\"}"),
        "{told}"
    );
    assert!(told.contains("sending the request again"), "{told}");
    assert_hidden(&told);
    assert!(!told.contains("plain-value"), "{told}");
}
