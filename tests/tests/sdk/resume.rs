//! Bulk writes to a live server that break off and go on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sluice_sdk::{
    Checkpoint, Client, Table,
    client::{Attempt, Http, Observer, Transport, TransportError},
    query::RetryPolicy,
    write::WriteReport,
};
use sluice_tests::Wire;

use crate::capped;

const ROWS: i64 = 5_000;
const CHUNK_ROWS: usize = 250;

/// A row, and how often it was written, which a trigger counts.
#[derive(Debug, Serialize, Deserialize, Table)]
#[table(name = "parcels")]
struct Parcel {
    #[table(primary_key)]
    id: i64,
    weight: i64,
}

/// The same rows with a generated key: a second time would write them twice.
#[derive(Debug, Deserialize, Table)]
#[table(name = "letters")]
#[expect(dead_code, reason = "the table's type has its columns, read or not")]
struct Letter {
    #[table(primary_key)]
    id: i64,
    number: i64,
}

fn parcels() -> Vec<Parcel> {
    (0..ROWS).map(|id| Parcel { id, weight: id % 7 }).collect()
}

/// Does something to the connection after a number of responses.
struct After<F> {
    answers: usize,
    seen: AtomicUsize,
    act: F,
}

impl<F: Fn() + Send + Sync + 'static> Observer for After<F> {
    fn attempt(&self, attempt: &Attempt<'_>) {
        if attempt.status.is_some() && self.seen.fetch_add(1, Ordering::Relaxed) + 1 == self.answers
        {
            (self.act)();
        }
    }
}

/// A client through a connection that fails after a number of responses.
async fn through(wire: &Arc<Wire>, answers: usize, act: fn(&Wire)) -> Client {
    let broken = Arc::clone(wire);
    let observer = After {
        answers,
        seen: AtomicUsize::default(),
        act: move || act(&broken),
    };
    let builder = Client::builder()
        .supabase_url(wire.url())
        .retry(RetryPolicy::never())
        .observer(Arc::new(observer));
    capped::with_key(builder).await.build().unwrap()
}

async fn upsert(db: &Client, checkpoint: &Checkpoint) -> Result<WriteReport, sluice_sdk::Error> {
    let rows = parcels();
    let upsert = db.from::<Parcel>().upsert(&rows).chunk_rows(CHUNK_ROWS);
    upsert.concurrency(3).checkpoint(checkpoint).await
}

/// How often each row of `parcels` has been written.
async fn written(db: &Client) -> BTreeMap<i64, i64> {
    #[derive(Deserialize)]
    struct Written {
        id: i64,
        times: i64,
    }
    let rows = db
        .rpc_by_name("written", &json!({}))
        .output::<Vec<Written>>();
    let mut all = BTreeMap::new();
    // One value, which the row limit does not cut.
    for row in rows.await.unwrap() {
        all.insert(row.id, row.times);
    }
    all
}

async fn wire() -> Arc<Wire> {
    Arc::new(Wire::to(capped::url().await).await)
}

async fn tables() -> Client {
    static FIRST: tokio::sync::Mutex<bool> = tokio::sync::Mutex::const_new(true);
    let mut first = FIRST.lock().await;
    if *first {
        capped::run(
            "create table parcels (id bigint primary key, weight bigint not null);
             create table parcel_log (id bigint not null);
             create function log_parcel() returns trigger language plpgsql as $$
             begin insert into parcel_log values (new.id); return new; end $$;
             create trigger log after insert or update on parcels
                 for each row execute function log_parcel();
             create function written() returns jsonb language sql stable as $$
                 select coalesce(jsonb_agg(t), '[]')
                 from (select id, count(*) as times from parcel_log group by id) t $$;
             create table letters (
                 id bigint generated always as identity primary key, number bigint not null
             );",
        )
        .await;
    }
    *first = false;
    capped::client("truncate parcels, parcel_log, letters").await
}

/// One at a time: they share the tables.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test]
async fn a_write_goes_on_after_an_outage() {
    let _turn = TURN.lock().await;
    let (db, wire, checkpoint) = (tables().await, wire().await, Checkpoint::new());
    let broken = through(&wire, 7, Wire::cut).await;
    let error = upsert(&broken, &checkpoint).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    let so_far = error.write_report().unwrap();
    assert!(so_far.written() >= 7 * 250 && !so_far.pending.is_empty());
    assert!(
        upsert(&broken, &checkpoint).await.is_err(),
        "it is still away"
    );

    wire.mend();
    let report = upsert(&broken, &checkpoint).await.unwrap();
    assert!(report.is_complete());
    assert_eq!(report.written(), 5_000);
    let times = written(&db).await;
    assert_eq!(times.len(), 5_000, "nothing is lost");
    for row in so_far.chunks.iter().flat_map(|chunk| &chunk.rows) {
        let id = i64::try_from(*row).unwrap();
        assert_eq!(times[&id], 1, "what was acknowledged is written once");
    }
}

#[tokio::test]
async fn a_write_goes_on_after_a_deadline_ended_it() {
    let _turn = TURN.lock().await;
    let (db, wire, checkpoint) = (tables().await, wire().await, Checkpoint::new());
    let silent = through(&wire, 5, Wire::silence).await;
    let write = upsert(&silent, &checkpoint);
    let outcome = tokio::time::timeout(Duration::from_secs(3), write).await;
    assert!(outcome.is_err(), "the write is dropped where it stands");
    let so_far = checkpoint.report();
    assert!(so_far.written() >= 5 * 250 && so_far.written() < 5_000);
    assert!(!so_far.uncertain.is_empty());

    wire.mend();
    let report = upsert(&silent, &checkpoint).await.unwrap();
    assert!(report.is_complete());
    let times = written(&db).await;
    assert_eq!(times.len(), 5_000);
    for row in so_far.chunks.iter().flat_map(|chunk| &chunk.rows) {
        assert_eq!(times[&i64::try_from(*row).unwrap()], 1);
    }
}

#[tokio::test]
async fn an_insert_does_not_send_uncertain_rows_again() {
    let _turn = TURN.lock().await;
    let (db, wire, checkpoint) = (tables().await, wire().await, Checkpoint::new());
    let rows: Vec<_> = (0..ROWS).map(|number| json!({"number": number})).collect();
    let insert = async |db: &Client| {
        let insert = db.from::<Letter>().insert(&rows).chunk_rows(CHUNK_ROWS);
        insert.concurrency(2).checkpoint(&checkpoint).await
    };
    let broken = through(&wire, 4, Wire::cut).await;
    insert(&broken).await.unwrap_err();
    wire.mend();
    let outcome = insert(&broken).await;
    let report = checkpoint.report();
    assert!(report.pending.is_empty());
    assert_eq!(outcome.is_ok(), report.uncertain.is_empty());

    let letters = db.from::<Letter>().keyset(Letter::ID.asc()).stream();
    let letters: Vec<Letter> = futures_util::TryStreamExt::try_collect(letters)
        .await
        .unwrap();
    let mut numbers: Vec<i64> = letters.iter().map(|letter| letter.number).collect();
    numbers.sort_unstable();
    let all = numbers.len();
    numbers.dedup();
    assert_eq!(numbers.len(), all, "no row is written twice");
    let missing = 5_000 - all;
    assert!(missing <= report.uncertain.len(), "{missing} rows are lost");
}

/// A gateway that answers in place of the server once, after a number of requests.
struct Masked {
    inner: Http,
    status: u16,
    requests_before: usize,
    seen: AtomicUsize,
}

impl Transport for Masked {
    fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>> {
        Box::pin(async move {
            let response = self.inner.send(request).await?;
            if self.seen.fetch_add(1, Ordering::Relaxed) == self.requests_before {
                let page = http::Response::builder().status(self.status);
                return Ok(page.body("<html>sorry</html>".into()).unwrap());
            }
            Ok(response)
        })
    }
}

#[tokio::test]
async fn the_loop_of_the_guide_ends_for_an_insert_with_the_rows_that_may_be_written() {
    let _turn = TURN.lock().await;
    let db = tables().await;
    let rows: Vec<_> = (0..30).map(|number| json!({"number": number})).collect();
    for status in [502, 503, 520, 522, 524] {
        let transport = Masked {
            inner: Http::new().unwrap(),
            status,
            requests_before: 1,
            seen: AtomicUsize::default(),
        };
        let builder = Client::builder().supabase_url(capped::url().await);
        let builder = builder.transport(transport);
        let behind = capped::with_key(builder).await.build().unwrap();
        let checkpoint = Checkpoint::new();
        let mut rounds = 0;
        let error = loop {
            rounds += 1;
            assert!(rounds < 5, "{status}: it does not end");
            let insert = behind.from::<Letter>().insert(&rows).chunk_rows(10);
            match insert.concurrency(1).checkpoint(&checkpoint).await {
                Err(error) if error.is_retryable() => {}
                ended => break ended.unwrap_err(),
            }
        };
        assert!(!error.is_retryable(), "{error}");
        assert_eq!(checkpoint.report().uncertain, (10..20).collect::<Vec<_>>());
        // Nothing is at fault with the others: a further run stores them.
        let insert = behind.from::<Letter>().insert(&rows).chunk_rows(10);
        let error = insert.checkpoint(&checkpoint).await.unwrap_err();
        let report = error.write_report().unwrap();
        assert_eq!((report.written(), report.pending.len()), (20, 0));
        let stored = db.from::<Letter>().await.unwrap();
        assert_eq!(stored.len(), 30, "{status}: each row once");
        db.from::<Letter>().delete().all_rows().await.unwrap();
    }
}
