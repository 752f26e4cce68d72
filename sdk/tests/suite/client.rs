//! The client's retry loop, its deadlines and its observer.

use std::error::Error as StdError;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use sluice_sdk::testing::{Exchange, Fake, FakeResponse, Player, Recorder};
use sluice_sdk::{
    Client,
    client::{Attempt, Chunks, Observer, Patience, Transport, TransportError, Wait},
    col,
    error::ErrorKind,
    query::RetryPolicy,
};

use crate::memory::client;

/// Fails a number of times, then returns a row.
fn failing(times: usize, failure: impl Fn() -> FakeResponse + Send + Sync + 'static) -> Fake {
    let left = Mutex::new(times);
    Fake::new(move |_| {
        let mut left = left.lock().unwrap();
        if *left == 0 {
            return FakeResponse::json(200, &json!([{"id": 1}]));
        }
        *left -= 1;
        failure()
    })
}

#[tokio::test]
async fn a_passing_failure_is_retried_and_a_lasting_one_is_not() {
    let fake = failing(3, || {
        FakeResponse::error(503, "PGRST002", "schema cache loading")
    });
    let rows = client(&fake).table("t").await.unwrap();
    assert_eq!((rows, fake.requests().len()), (vec![json!({"id": 1})], 4));

    let fake = failing(1, || {
        FakeResponse::error(400, "22P02", "invalid input syntax")
    });
    let error = client(&fake).table("t").await.unwrap_err();
    assert_eq!(
        (error.sqlstate(), fake.requests().len()),
        (Some("22P02"), 1)
    );
}

#[tokio::test]
async fn the_last_error_has_the_number_of_retries() {
    let fake = failing(usize::MAX, FakeResponse::unreachable);
    let error = client(&fake).table("t").await.unwrap_err();
    assert!(error.is_unreachable() && error.is_retryable());
    assert_eq!((error.retries(), fake.requests().len()), (4, 5));
    assert_eq!(error.to_string(), "GET /t: no connection could be made");
    assert_eq!(
        std::error::Error::source(&error).unwrap().to_string(),
        "connection refused"
    );
}

#[tokio::test(start_paused = true)]
async fn no_wait_goes_past_the_deadline() {
    let fake = failing(usize::MAX, || {
        FakeResponse::error(503, "PGRST002", "schema cache loading").retry_after(3_600)
    });
    let error = client(&fake).table("t").await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(3_600)));
    assert_eq!(
        fake.requests().len(),
        1,
        "an hour is more than the two minutes in all"
    );
}

/// Waits a second, a few times, and counts the waits.
struct Times(u32, Arc<Mutex<u32>>);

impl Patience for Times {
    fn begin(&self) -> Box<dyn Wait> {
        Box::new(Times(self.0, Arc::clone(&self.1)))
    }
}

impl Wait for Times {
    fn wait<'a>(
        &'a mut self,
        error: &'a sluice_sdk::Error,
    ) -> BoxFuture<'a, Result<(), Box<dyn StdError + Send + Sync>>> {
        assert!(error.is_unreachable(), "{error}");
        Box::pin(async move {
            self.0 = self.0.checked_sub(1).ok_or("enough")?;
            *self.1.lock().unwrap() += 1;
            tokio::time::sleep(Duration::from_secs(60)).await;
            Ok(())
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_patience_decides_about_every_request_that_may_be_repeated() {
    let waits = Arc::default();
    let patient = |fake: &Fake, times| client(fake).with_patience(Times(times, Arc::clone(&waits)));
    // Longer than the total timeout, and more often than the policy says.
    let fake = failing(7, FakeResponse::unreachable);
    patient(&fake, 9).table("t").await.unwrap();
    assert_eq!((fake.requests().len(), *waits.lock().unwrap()), (8, 7));
    let last = fake.requests().pop().unwrap();
    assert_eq!(last.headers["x-retry-count"], "7");

    let fake = failing(usize::MAX, FakeResponse::unreachable);
    let error = patient(&fake, 2).table("t").await.unwrap_err();
    assert_eq!(error.gave_up().unwrap().to_string(), "enough");
    assert_eq!((fake.requests().len(), error.retries()), (3, 2));

    // Nobody is asked about these.
    let fake = failing(usize::MAX, || FakeResponse::error(400, "22P02", "invalid"));
    let error = patient(&fake, 9).table("t").await.unwrap_err();
    assert!(error.gave_up().is_none() && fake.requests().len() == 1);
    let fake = failing(usize::MAX, || FakeResponse::error(503, "08006", "lost"));
    let row = [json!({"id": 1})];
    let error = patient(&fake, 9).table("t").insert(&row).await.unwrap_err();
    assert!(error.gave_up().is_none() && fake.requests().len() == 1);
}

/// Never responds. A stream gets one piece.
struct Silent;

impl Transport for Silent {
    fn send(
        &self,
        _: http::Request<bytes::Bytes>,
    ) -> futures_util::future::BoxFuture<'_, Result<http::Response<bytes::Bytes>, TransportError>>
    {
        Box::pin(std::future::pending())
    }

    fn open(
        &self,
        _: http::Request<bytes::Bytes>,
    ) -> futures_util::future::BoxFuture<'_, Result<http::Response<Chunks>, TransportError>> {
        let first = stream::iter([Ok(bytes::Bytes::from_static(b"[{\"id\":1},"))]);
        let body: Chunks = first.chain(stream::pending()).boxed();
        Box::pin(std::future::ready(Ok(http::Response::new(body))))
    }
}

#[tokio::test(start_paused = true)]
async fn each_attempt_has_a_deadline_and_so_have_all_together() {
    let build = |retries| {
        Client::builder()
            .postgrest_url("http://silent")
            .retry(RetryPolicy::default().max_retries(retries))
            .attempt_timeout(Duration::from_secs(5))
            .total_timeout(Duration::from_secs(12))
            .transport(Silent)
            .build()
            .unwrap()
    };
    let started = tokio::time::Instant::now();
    let error = build(0).table("t").await.unwrap_err();
    assert_eq!(
        (error.kind(), started.elapsed()),
        (ErrorKind::Timeout, Duration::from_secs(5))
    );
    let started = tokio::time::Instant::now();
    let error = build(9).table("t").await.unwrap_err();
    assert_eq!((error.kind(), error.retries()), (ErrorKind::Timeout, 2));
    assert_eq!(started.elapsed().as_secs(), 12);
    // Rows that the caller has cannot be taken back, so a stream without further data ends with an
    // error.
    let started = tokio::time::Instant::now();
    let mut rows = build(9).table("t").read().stream();
    assert_eq!(rows.next().await.unwrap().unwrap(), json!({"id": 1}));
    let error = rows.next().await.unwrap().unwrap_err();
    assert_eq!(
        (error.kind(), error.request()),
        (ErrorKind::Timeout, Some("GET /t"))
    );
    assert_eq!(started.elapsed(), Duration::from_secs(5));
}

#[derive(Default)]
struct Seen(Mutex<Vec<String>>);

impl Observer for Seen {
    fn attempt(&self, attempt: &Attempt<'_>) {
        let Attempt {
            method,
            path,
            status,
            failure,
            retry,
            request_bytes,
            response_bytes,
            ..
        } = attempt;
        let status = status.map(|status| status.as_u16());
        self.0.lock().unwrap().push(format!(
            "{method} {path} {status:?} {failure:?} retry {retry}, {request_bytes} out, {response_bytes} in"
        ));
    }
}

#[tokio::test]
async fn an_observer_sees_every_attempt() {
    let seen = Arc::new(Seen::default());
    let db = Client::builder()
        .postgrest_url("http://fake")
        .retry(RetryPolicy::default().base(Duration::ZERO))
        .observer(Arc::<Seen>::clone(&seen))
        .transport(failing(1, || FakeResponse::error(503, "PGRST000", "no")))
        .build()
        .unwrap();
    db.rpc_by_name("f", &json!({"a": 1})).await.unwrap();
    assert_eq!(
        *seen.0.lock().unwrap(),
        [
            "POST rpc/f Some(503) Some(Api) retry 0, 7 out, 61 in",
            "POST rpc/f Some(200) None retry 1, 7 out, 10 in",
        ]
    );
    seen.0.lock().unwrap().clear();
    // The length of a stream is not known when it begins.
    let rows = db.table("t").read().stream();
    assert_eq!(rows.count().await, 1);
    assert_eq!(
        *seen.0.lock().unwrap(),
        ["GET t Some(200) None retry 0, 0 out, 0 in"]
    );
}

#[tokio::test]
async fn recorded_exchanges_are_replayed() {
    let recorder = Recorder::new(Fake::new(|_| {
        FakeResponse::json(206, &json!([{"id": 7}])).header("content-range", "0-0/30")
    }));
    let ask = async |db: Client| {
        let read = db
            .table("posts")
            .filter(col("name").eq("é, \"x\""))
            .limit(1);
        read.count(sluice_sdk::Count::Exact).page().await
    };
    let page = ask(client_of(recorder.clone())).await.unwrap();
    let lines = Exchange::to_lines(&recorder.exchanges());
    let player = Player::new(Exchange::parse_lines(&lines).unwrap());
    assert_eq!(ask(client_of(player.clone())).await.unwrap(), page);
    assert!(player.left().is_empty());
    let error = ask(client_of(player)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

fn client_of(transport: impl Transport) -> Client {
    Client::builder()
        .postgrest_url("http://x/api")
        .transport(transport)
        .build()
        .unwrap()
}

#[tokio::test]
async fn a_gateways_page_has_its_own_kind_and_keeps_its_body() {
    let fake = Fake::new(|_| FakeResponse::text(502, "<html>bad gateway</html>"));
    let error = client(&fake)
        .rpc_by_name("f", &json!({}))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Gateway);
    assert_eq!(error.body().unwrap(), "<html>bad gateway</html>");
    assert_eq!(
        fake.requests().len(),
        1,
        "a call may have run: it is not repeated"
    );
    let error: Result<Value, _> = client(&fake)
        .rpc_by_name("f", &json!({}))
        .idempotent()
        .await;
    assert_eq!(error.unwrap_err().retries(), 4);
}

#[tokio::test]
async fn rows_are_streamed_from_one_response() {
    let fake = failing(2, || {
        FakeResponse::error(503, "PGRST002", "schema cache loading")
    });
    let rows: Vec<Value> = client(&fake)
        .table("t")
        .read()
        .stream()
        .try_collect()
        .await
        .unwrap();
    assert_eq!((rows, fake.requests().len()), (vec![json!({"id": 1})], 3));

    let fake = failing(1, || FakeResponse::error(404, "PGRST205", "no such table"));
    let rows = client(&fake)
        .table("t")
        .read()
        .stream()
        .try_collect::<Vec<Value>>()
        .await;
    let error = rows.unwrap_err();
    assert_eq!(error.to_string(), "GET /t: PGRST205: no such table");
    assert!(error.is_schema_missing());
}
