//! What a client sends beside the query: headers, tokens that are renewed, deadlines and retries of one
//! call.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use futures_util::future::{BoxFuture, join_all};
use http::{HeaderMap, StatusCode};
use serde_json::json;
use sluice_sdk::client::{Token, Transport, TransportError};
use sluice_sdk::query::RetryPolicy;
use sluice_sdk::testing::{Fake, FakeResponse};
use sluice_sdk::{Client, SecretString, col, error::ErrorKind};

type Respond = dyn Fn(&HeaderMap) -> http::Response<Bytes> + Send + Sync;

/// Keeps the headers of each request, and responds by a function of them.
#[derive(Clone)]
struct Heard {
    headers: Arc<Mutex<Vec<HeaderMap>>>,
    respond: Arc<Respond>,
}

impl Heard {
    fn new(respond: impl Fn(&HeaderMap) -> http::Response<Bytes> + Send + Sync + 'static) -> Self {
        Self {
            headers: Arc::default(),
            respond: Arc::new(respond),
        }
    }

    fn rows() -> Self {
        Self::new(|_| http::Response::new(Bytes::from_static(b"[]")))
    }

    fn client(&self) -> Client {
        let builder = Client::builder().postgrest_url("http://heard");
        let key = SecretString::from("sb_secret_x");
        builder.key(key).transport(self.clone()).build().unwrap()
    }

    fn values(&self, name: &str) -> Vec<String> {
        let headers = self.headers.lock().unwrap();
        let value =
            |headers: &HeaderMap| headers.get(name).map(|it| it.to_str().unwrap().to_owned());
        headers
            .iter()
            .map(|headers| value(headers).unwrap_or_default())
            .collect()
    }
}

impl Transport for Heard {
    fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>> {
        self.headers.lock().unwrap().push(request.headers().clone());
        let response = (self.respond)(request.headers());
        Box::pin(std::future::ready(Ok(response)))
    }
}

fn refused(status: u16, body: &serde_json::Value) -> http::Response<Bytes> {
    let mut response = http::Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

#[tokio::test]
async fn headers_of_the_client_and_of_one_query_are_sent() {
    let heard = Heard::rows();
    let db = heard.client().with_header("x-tenant", "seven").unwrap();
    db.table("t").read().header("x-trace", "one").await.unwrap();
    db.table("t")
        .read()
        .header("x-tenant", "eight")
        .await
        .unwrap();
    let update = db.table("t").update().set(col("a"), 1).all_rows();
    update.header("x-trace", "two").await.unwrap_err();
    assert_eq!(heard.values("x-tenant"), ["seven", "eight", "seven"]);
    assert_eq!(heard.values("x-trace"), ["one", "", "two"]);
    for name in ["user-agent", "x-client-info"] {
        assert!(
            heard
                .values(name)
                .iter()
                .all(|it| it.starts_with("sluice-sdk/")),
            "{name}"
        );
    }
    let error = db.table("t").read().header("prefer", "count=exact").await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Invalid);
    assert!(
        db.with_header("x-a", "hunter2\n")
            .is_err_and(|it| !it.to_string().contains("hunter2"))
    );
    let built = Client::builder()
        .postgrest_url("http://heard")
        .header("apikey", "x")
        .build();
    assert!(built.is_err());
}

/// Tokens `token-1`, `token-2` …, each of which lives so long.
fn numbered(
    lives: Duration,
) -> (
    Arc<AtomicU32>,
    impl Fn() -> BoxFuture<'static, TokenResult> + Send + Sync,
) {
    let renewals = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&renewals);
    let source = move || -> BoxFuture<'static, TokenResult> {
        let number = counter.fetch_add(1, Ordering::SeqCst) + 1;
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Ok(Token::new(SecretString::from(format!("token-{number}"))).lives(lives))
        })
    };
    (renewals, source)
}

type TokenResult = Result<Token, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_before_it_ends_and_once_at_a_time() {
    let heard = Heard::rows();
    let (renewals, source) = numbered(Duration::from_secs(3_600));
    let user = heard.client().with_token_source(source);
    let reads = (0..8).map(|_| async { user.table("t").await.unwrap() });
    join_all(reads).await;
    assert_eq!(renewals.load(Ordering::SeqCst), 1);
    tokio::time::advance(Duration::from_secs(3_500)).await;
    user.table("t").await.unwrap();
    assert_eq!(renewals.load(Ordering::SeqCst), 1);
    // A minute before the end.
    tokio::time::advance(Duration::from_secs(50)).await;
    let reads = (0..8).map(|_| async { user.clone().table("t").await.unwrap() });
    join_all(reads).await;
    assert_eq!(renewals.load(Ordering::SeqCst), 2);
    let sent = heard.values("authorization");
    assert_eq!(
        (sent[0].as_str(), sent[16].as_str()),
        ("Bearer token-1", "Bearer token-2")
    );
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_renewed_and_the_call_sent_again() {
    let heard = Heard::new(|headers| {
        if headers["authorization"] == "Bearer token-1" {
            return refused(401, &json!({"code": "PGRST303", "message": "JWT expired"}));
        }
        http::Response::new(Bytes::from_static(b"[]"))
    });
    let (renewals, source) = numbered(Duration::from_secs(3_600));
    let user = heard.client().with_token_source(source);
    user.table("t").await.unwrap();
    let row = json!({"a": 1});
    user.table("t").insert_one(&row).await.unwrap();
    assert_eq!(renewals.load(Ordering::SeqCst), 2);
    let sent = heard.values("authorization");
    assert_eq!(sent, ["Bearer token-1", "Bearer token-2", "Bearer token-2"]);

    // A server that refuses every token is asked twice.
    let never = Heard::new(|_| refused(401, &json!({"code": "PGRST301", "message": "no"})));
    let (_, source) = numbered(Duration::from_secs(3_600));
    let error = never
        .client()
        .with_token_source(source)
        .table("t")
        .await
        .unwrap_err();
    assert!(error.is_unauthorized());
    assert_eq!(never.values("authorization").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_source_without_a_token_is_an_error_of_its_own() {
    let heard = Heard::rows();
    let source = || async { TokenResult::Err(io::Error::other("hunter2").into()) };
    let user = heard.client().with_token_source(source);
    let error = user.table("t").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Token);
    assert!(!error.to_string().contains("hunter2"), "{error}");
    assert!(heard.values("authorization").is_empty());
}

#[tokio::test(start_paused = true)]
async fn retries_and_the_deadline_of_one_call_replace_the_clients() {
    let down = Heard::new(|_| refused(503, &json!({"code": "PGRST002", "message": "loading"})));
    let db = down.client();
    let never = db.table("t").read().retry(RetryPolicy::never());
    assert_eq!(never.await.unwrap_err().retries(), 0);
    let often = RetryPolicy::default()
        .max_retries(9)
        .base(Duration::from_millis(1));
    assert_eq!(
        db.table("t")
            .read()
            .retry(often)
            .await
            .unwrap_err()
            .retries(),
        9
    );
    let slow = RetryPolicy::default()
        .max_retries(99)
        .base(Duration::from_secs(4));
    let started = tokio::time::Instant::now();
    let read = db
        .table("t")
        .read()
        .retry(slow)
        .deadline(Duration::from_secs(30));
    read.await.unwrap_err();
    assert!(started.elapsed() <= Duration::from_secs(30));
}

#[tokio::test]
async fn an_error_has_the_servers_id_of_the_request() {
    let heard = Heard::new(|_| {
        let mut response = refused(400, &json!({"code": "22P02", "message": "no"}));
        response
            .headers_mut()
            .insert("sb-request-id", "0198-abc".parse().unwrap());
        response
    });
    let error = heard.client().table("t").await.unwrap_err();
    assert_eq!(error.request_id(), Some("0198-abc"));
    assert!(error.to_string().ends_with("[request 0198-abc]"), "{error}");
}

#[tokio::test]
async fn a_warning_of_the_server_is_kept() {
    use sluice_sdk::query::Execute;
    let heard = Heard::new(|_| {
        let mut response = http::Response::new(Bytes::from_static(b"[]"));
        let warning = "299 - \"embed by its alias\"".parse().unwrap();
        response.headers_mut().insert("warning", warning);
        response
    });
    let db = heard.client();
    let call = db.table("t").read().call().unwrap();
    let response = db.execute(call).await.unwrap();
    assert_eq!(response.warning(), Some("299 - \"embed by its alias\""));
}

#[tokio::test]
async fn an_error_without_details_is_still_told_apart() {
    for (found, not_found) in [("[]", true), ("[{},{}]", false)] {
        let minimal = Heard::new(move |headers| {
            if headers["accept"] == "application/json" {
                return http::Response::new(Bytes::from_static(found.as_bytes()));
            }
            refused(
                406,
                &json!({"code": "PGRST116", "message": "Cannot coerce the result"}),
            )
        });
        let db = minimal.client();
        let error = db.table("t").single().await.unwrap_err();
        assert_eq!(
            (error.is_not_found(), error.is_row_count()),
            (not_found, true)
        );
        let update = db
            .table("t")
            .update()
            .set(col("a"), 1)
            .filter(col("b").eq(1));
        let error = update.returning_rows::<serde_json::Value>().single().await;
        assert_eq!(error.unwrap_err().is_not_found(), not_found);
    }
}

#[tokio::test]
async fn an_edge_function_is_called_at_the_project() {
    let fake = Fake::new(|request| match request.path.as_str() {
        "/functions/v1/fails" => FakeResponse::text(500, "no luck"),
        _ => FakeResponse::json(200, &json!({"said": request.body})),
    });
    let builder = Client::builder().supabase_url("https://x.supabase.co");
    let db = builder.transport(fake.clone()).build().unwrap();
    let answer = db
        .invoke("greet")
        .json(&json!({"name": "Ann"}))
        .region("eu-west-1")
        .await;
    let answer: serde_json::Value = answer.unwrap().json().unwrap();
    assert_eq!(answer["said"], r#"{"name":"Ann"}"#);
    let bytes = db
        .invoke("a b/c")
        .bytes("raw", "text/plain")
        .method(http::Method::PUT);
    let mut pieces = bytes.stream().await.unwrap();
    assert!(!pieces.try_next().await.unwrap().unwrap().is_empty());
    let error = db.invoke("fails").await.unwrap_err();
    assert_eq!(
        error.message(),
        "the function returned 500 Internal Server Error"
    );
    assert_eq!(error.body().unwrap(), "no luck");
    let requests = fake.requests();
    let said = |at: usize| (requests[at].method.as_str(), requests[at].path.as_str());
    assert_eq!(
        said(0),
        ("POST", "/functions/v1/greet?forceFunctionRegion=eu-west-1")
    );
    assert_eq!(said(1), ("PUT", "/functions/v1/a%20b/c"));
    assert_eq!(requests[1].headers["content-type"], "text/plain");
    // The function may have run: it is not called again.
    assert_eq!(requests.len(), 3);
    let elsewhere = Client::builder()
        .postgrest_url("http://heard")
        .build()
        .unwrap();
    assert_eq!(
        elsewhere.invoke("greet").await.unwrap_err().kind(),
        ErrorKind::Invalid
    );
}
