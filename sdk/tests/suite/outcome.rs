//! What the client makes of answers that PostgREST did not give: nothing is written twice, and no
//! row is blamed for what is not its fault.

use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};
use sluice_sdk::testing::{Fake, FakeResponse};
use sluice_sdk::{
    Checkpoint, Client, Error, col, error::ErrorKind, query::RetryPolicy, write::WriteReport,
};

use crate::memory::client;
use crate::server::{Reaction, Server, answer};

const PAGE: &str = "<html><body>upstream connect error</body></html>";

/// The rows of an insert without a unique key.
fn three() -> Vec<Value> {
    (0..3).map(|number| json!({"number": number})).collect()
}

/// Responds with these, in order, and then with success.
fn responding(responses: Vec<FakeResponse>) -> Fake {
    let left = Mutex::new(responses.into_iter());
    Fake::new(move |request| {
        let next = left.lock().unwrap().next();
        next.unwrap_or_else(|| match request.method.as_str() {
            "GET" => FakeResponse::json(200, &json!([{"id": 1}])),
            _ => FakeResponse::affected(1),
        })
    })
}

fn pages(status: u16, times: usize) -> Vec<FakeResponse> {
    (0..times)
        .map(|_| FakeResponse::text(status, PAGE))
        .collect()
}

/// The loop of the guide, as an insert. It gives up after ten rounds.
async fn resume(
    db: &Client,
    rows: &[Value],
    checkpoint: &Checkpoint,
) -> Result<WriteReport, Error> {
    for _ in 0..10 {
        let insert = db.table("letters").insert(rows).checkpoint(checkpoint);
        match insert.await {
            Err(error) if error.is_retryable() => {}
            ended => return ended,
        }
    }
    panic!("the loop does not end: {:?}", checkpoint.report());
}

#[tokio::test]
async fn a_gateways_503_after_an_insert_is_not_a_second_insert() {
    // The server does what it is told, and a gateway answers in its place.
    let page = answer(503, "content-type: text/html\r\n", PAGE.as_bytes());
    let server = Server::start(move |_| Reaction::Answer(page.clone())).await;
    let db = Client::builder()
        .postgrest_url(server.url())
        .build()
        .unwrap();
    let error = db.table("letters").insert(&three()).await.unwrap_err();
    assert_eq!(server.seen().len(), 1, "three rows stay three");
    assert!(!error.is_retryable(), "{error}");
    let report = error.write_report().unwrap();
    assert_eq!(report.uncertain, [0, 1, 2]);
    assert!(report.pending.is_empty() && report.failed.is_empty());
}

#[tokio::test]
async fn a_call_that_may_have_run_is_repeated_only_if_it_is_idempotent() {
    for status in [429, 500, 502, 503, 504, 520, 522, 524] {
        let fake = responding(pages(status, 1));
        let error = client(&fake)
            .rpc_by_name("f", &json!({}))
            .await
            .unwrap_err();
        assert!(!error.is_retryable(), "{error}");
        assert_eq!(fake.requests().len(), 1, "{status}");
        let fake = responding(pages(status, 1));
        let again = client(&fake)
            .rpc_by_name("f", &json!({}))
            .idempotent()
            .await;
        assert!(again.is_ok(), "{status}: {again:?}");
        assert_eq!(fake.requests().len(), 2, "{status}");
    }
}

#[tokio::test]
async fn a_read_is_repeated_after_any_answer_of_a_gateway_that_had_none() {
    for status in [502, 503, 504, 520, 521, 522, 523, 524, 525, 526, 530] {
        let fake = responding(pages(status, 1));
        let rows = client(&fake).table("t").await;
        assert!(rows.is_ok(), "{status}: {rows:?}");
        assert_eq!(fake.requests().len(), 2, "{status}");
    }
}

#[tokio::test]
async fn a_write_that_did_not_reach_the_database_is_repeated() {
    let with_a_wait = || vec![FakeResponse::text(429, PAGE).retry_after(0)];
    let locked = || vec![FakeResponse::error(400, "55P03", "could not obtain lock")];
    let mut answers = vec![with_a_wait(), locked()];
    answers.extend([521, 523, 525, 526, 530].map(|status| pages(status, 1)));
    for responses in answers {
        let shown = format!("{responses:?}");
        let fake = responding(responses);
        let report = client(&fake).table("letters").insert(&three()).await;
        assert!(report.is_ok_and(|it| it.is_complete()), "{shown}");
        assert_eq!(fake.requests().len(), 2, "{shown}");
    }
}

#[tokio::test]
async fn the_loop_of_the_guide_ends_with_rows_whose_outcome_is_unknown() {
    for status in [502, 503, 504, 520, 522, 524] {
        let fake = responding(pages(status, 1));
        let (db, checkpoint) = (client(&fake), Checkpoint::new());
        let error = resume(&db, &three(), &checkpoint).await.unwrap_err();
        assert!(!error.is_retryable(), "{error}");
        assert_eq!(checkpoint.report().uncertain, [0, 1, 2], "{status}");
        // The same checkpoint can never succeed, and nothing is sent in the attempt.
        let error = resume(&db, &three(), &checkpoint).await.unwrap_err();
        assert!(!error.is_retryable(), "{error}");
        assert_eq!(error.write_report().unwrap().uncertain, [0, 1, 2]);
        assert_eq!(fake.requests().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn an_upsert_goes_on_after_the_same_answers() {
    for status in [502, 503, 504, 520, 522, 524] {
        let fake = responding(pages(status, 2));
        let db = Client::builder()
            .postgrest_url("http://fake")
            .retry(RetryPolicy::never())
            .transport(fake.clone())
            .build()
            .unwrap();
        let (rows, checkpoint) = (three(), Checkpoint::new());
        let upsert = || {
            let upsert = db.table("parcels").upsert(&rows).on_conflict(col("number"));
            upsert
                .chunk_rows(1)
                .concurrency(1)
                .checkpoint(&checkpoint)
                .into_future()
        };
        for _ in 0..2 {
            let error = upsert().await.unwrap_err();
            assert!(error.is_retryable(), "{error}");
            assert!(error.write_report().unwrap().failed.is_empty(), "{error}");
        }
        assert!(upsert().await.unwrap().is_complete(), "{status}");
    }
}

#[tokio::test]
async fn a_paused_project_is_named() {
    let fake = responding(pages(540, 9));
    let error = client(&fake).table("t").await.unwrap_err();
    assert!(!error.is_retryable());
    assert_eq!(fake.requests().len(), 1);
    assert!(error.message().contains("paused"), "{error}");
}

#[tokio::test]
async fn a_repeated_request_says_how_often_it_was_sent_before() {
    let fake = responding(pages(503, 2));
    client(&fake).table("t").await.unwrap();
    let counts = |fake: &Fake| {
        let requests = fake.requests().into_iter();
        let counts = requests.map(|request| request.headers.get("x-retry-count").cloned());
        counts.collect::<Vec<_>>()
    };
    assert_eq!(
        counts(&fake),
        [None, Some("1".to_owned()), Some("2".to_owned())]
    );
    let fake = responding(pages(503, 1));
    let rows = client(&fake).table("t").read().stream();
    assert_eq!(futures_util::StreamExt::count(rows).await, 1);
    assert_eq!(counts(&fake), [None, Some("1".to_owned())]);
}

#[tokio::test]
async fn a_change_by_a_list_that_no_url_takes_is_refused_before_it_is_sent() {
    let fake = responding(Vec::new());
    let db = client(&fake);
    let ids: Vec<String> = (0..400).map(|id| format!("{id:036}")).collect();
    let delete = db
        .table("posts")
        .delete()
        .filter(!col("id").in_(ids.clone()));
    let error = delete.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("filter_in"), "{error}");
    let update = db.table("posts").update().set(col("ignored"), true);
    let error = update.filter(col("id").in_(ids)).await.unwrap_err();
    assert!(error.message().contains("filter_in"), "{error}");
    let ids = (0..400).map(|id| format!("{id:036}"));
    let error = db
        .table("posts")
        .filter(col("id").in_(ids))
        .await
        .unwrap_err();
    assert!(error.message().contains("filter_in"), "{error}");
    assert!(fake.requests().is_empty());

    // A server that takes less says the same.
    let fake = responding(pages(414, 1));
    let read = client(&fake).table("posts").filter(col("id").in_(["1"]));
    let error = read.await.unwrap_err();
    assert!(error.to_string().contains("filter_in"), "{error}");
}

#[tokio::test]
async fn a_key_that_may_not_write_is_found_out_in_three_requests() {
    let refusal = "new row violates row-level security policy for table \"letters\"";
    let fake = Fake::new(move |_| FakeResponse::error(401, "42501", refusal));
    let rows: Vec<Value> = (0..500).map(|number| json!({"number": number})).collect();
    let error = client(&fake)
        .table("letters")
        .insert(&rows)
        .await
        .unwrap_err();
    assert!(error.is_permission_denied(), "{error}");
    let report = error.write_report().unwrap();
    assert!(report.failed.is_empty(), "no row is blamed");
    assert_eq!(report.pending.len(), 500);
    assert_eq!(fake.requests().len(), 3);
}

#[tokio::test]
async fn a_policy_that_refuses_some_rows_names_them() {
    let refusal = "new row violates row-level security policy for table \"letters\"";
    for bad in [vec![0], vec![7, 8], vec![19], vec![0, 7]] {
        let marks: Vec<String> = bad.iter().map(|at| format!("\"number\":{at}}}")).collect();
        let fake = Fake::new(move |request| {
            let body = request.body.clone().unwrap();
            if marks.iter().any(|mark| body.contains(mark)) {
                FakeResponse::error(403, "42501", refusal)
            } else {
                FakeResponse::affected(body.matches("number").count() as u64)
            }
        });
        let rows: Vec<Value> = (0..20).map(|number| json!({"number": number})).collect();
        let report = client(&fake).table("letters").insert(&rows).await.unwrap();
        let failed: Vec<usize> = report.failed.iter().map(|failure| failure.index).collect();
        assert_eq!(failed, bad);
        assert_eq!(report.written(), 20 - bad.len() as u64);
    }
}

#[tokio::test]
async fn a_row_that_waits_for_a_lock_is_not_blamed() {
    let fake = Fake::new(|_| FakeResponse::error(500, "57014", "canceling statement"));
    let error = client(&fake)
        .table("letters")
        .insert(&three())
        .await
        .unwrap_err();
    assert!(
        error.is_statement_timeout() && error.is_retryable(),
        "{error}"
    );
    let report = error.write_report().unwrap();
    assert_eq!((report.failed.len(), report.pending.len()), (0, 3));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_leaves_an_insert_uncertain_too() {
    let silent = Fake::new(|_| FakeResponse::interrupted());
    let (db, rows, checkpoint) = (client(&silent), three(), Checkpoint::new());
    let ended = tokio::time::timeout(Duration::from_secs(60), resume(&db, &rows, &checkpoint));
    let error = ended.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Interrupted);
    assert_eq!(checkpoint.report().uncertain, [0, 1, 2]);
    assert_eq!(silent.requests().len(), 1);
}
