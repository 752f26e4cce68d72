//! A bulk write that stops half way can go on: nothing is lost, and nothing is written twice.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use proptest::prelude::*;
use serde_json::{Value, json};
use sluice_sdk::testing::Fake;
use sluice_sdk::{
    Checkpoint, Client,
    client::{Transport, TransportError},
    col,
    error::ErrorKind,
    query::RetryPolicy,
    write::WriteReport,
};

use crate::memory::Memory;

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// It gets a response.
    Answered,
    /// It is executed, and the response is lost.
    Lost,
    /// It is executed, and a gateway answers in place of the server.
    Masked(u16),
    /// It is executed, and no response ever comes.
    Silent,
    /// It does not reach the server.
    Undelivered,
}

/// A table behind a connection that breaks at given requests.
#[derive(Clone)]
struct Line {
    server: Fake,
    fates: Arc<Mutex<(usize, BTreeMap<usize, Fate>)>>,
}

impl Line {
    fn to(memory: &Memory, fates: &[(usize, Fate)]) -> Self {
        let fates = fates.iter().copied().collect();
        Self {
            server: memory.client().1,
            fates: Arc::new(Mutex::new((0, fates))),
        }
    }

    fn client(&self) -> Client {
        self.client_with(RetryPolicy::never())
    }

    fn client_with(&self, retry: RetryPolicy) -> Client {
        Client::builder()
            .postgrest_url("http://memory")
            .retry(retry)
            .transport(self.clone())
            .build()
            .unwrap()
    }

    /// How often each row has been sent, by its id.
    fn sent(&self) -> BTreeMap<i64, usize> {
        let mut sent = BTreeMap::new();
        for request in self.server.requests() {
            let rows: Vec<Value> = serde_json::from_str(request.body.as_ref().unwrap()).unwrap();
            for row in rows {
                *sent.entry(row["id"].as_i64().unwrap()).or_default() += 1;
            }
        }
        sent
    }
}

impl Transport for Line {
    fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>> {
        let fate = {
            let mut fates = self.fates.lock().unwrap();
            fates.0 += 1;
            let number = fates.0;
            fates.1.get(&number).copied().unwrap_or(Fate::Answered)
        };
        Box::pin(async move {
            if fate == Fate::Undelivered {
                return Err(TransportError::connect("connection refused"));
            }
            let answer = self.server.send(request).await;
            match fate {
                Fate::Lost => Err(TransportError::interrupted("connection reset")),
                Fate::Masked(status) => {
                    let page = http::Response::builder().status(status);
                    Ok(page.body("<html>sorry</html>".into()).unwrap())
                }
                Fate::Silent => std::future::pending().await,
                Fate::Answered | Fate::Undelivered => answer,
            }
        })
    }
}

const ROWS: i64 = 100;

fn rows() -> Vec<Value> {
    (0..ROWS).map(|id| json!({"id": id})).collect()
}

fn stored(memory: &Memory) -> Vec<i64> {
    let rows = memory.rows();
    let mut ids: Vec<i64> = rows.iter().map(|row| row["id"].as_i64().unwrap()).collect();
    ids.sort_unstable();
    ids
}

fn all() -> Vec<i64> {
    (0..ROWS).collect()
}

async fn upsert(db: &Client, checkpoint: &Checkpoint) -> Result<WriteReport, sluice_sdk::Error> {
    let rows = rows();
    let upsert = db.table("items").upsert(&rows).on_conflict(col("id"));
    upsert
        .chunk_rows(10)
        .concurrency(3)
        .checkpoint(checkpoint)
        .await
}

#[tokio::test]
async fn after_an_outage_only_unacknowledged_rows_are_sent_again() {
    let memory = Memory::default();
    let fates = [(4, Fate::Lost), (5, Fate::Undelivered)];
    let line = Line::to(&memory, &fates);
    let checkpoint = Checkpoint::new();
    let error = upsert(&line.client(), &checkpoint).await.unwrap_err();
    assert!(error.is_retryable());
    let so_far = error.write_report().unwrap();
    // Six requests began. One was lost, and one was never sent.
    assert_eq!((so_far.requests, so_far.written()), (6, 40));
    assert_eq!((so_far.uncertain.len(), so_far.pending.len()), (10, 50));

    let report = upsert(&line.client(), &checkpoint).await.unwrap();
    assert!(report.is_complete());
    assert_eq!(
        (report.rows, report.written(), report.requests),
        (100, 100, 12)
    );
    assert_eq!(stored(&memory), all());
    let twice: Vec<i64> = line
        .sent()
        .into_iter()
        .filter(|it| it.1 > 1)
        .map(|it| it.0)
        .collect();
    let uncertain: Vec<i64> = so_far
        .uncertain
        .iter()
        .map(|it| i64::try_from(*it).unwrap())
        .collect();
    assert_eq!(
        twice, uncertain,
        "only what was never answered is sent again"
    );
    // A further run has nothing left to do.
    assert_eq!(
        upsert(&line.client(), &checkpoint).await.unwrap().requests,
        12
    );
}

#[tokio::test(start_paused = true)]
async fn a_dropped_write_can_go_on_too() {
    let memory = Memory::default();
    let line = Line::to(&memory, &[(3, Fate::Silent), (11, Fate::Silent)]);
    let checkpoint = Checkpoint::new();
    for _ in 0..2 {
        let db = line.client();
        let write = upsert(&db, &checkpoint);
        let patience = Duration::from_secs(5);
        assert!(tokio::time::timeout(patience, write).await.is_err());
    }
    let so_far = checkpoint.report();
    assert_eq!((so_far.written(), so_far.uncertain.len()), (90, 10));
    let report = upsert(&line.client(), &checkpoint).await.unwrap();
    assert!(report.is_complete());
    assert_eq!(stored(&memory), all());
}

#[tokio::test]
async fn the_report_in_an_error_becomes_a_checkpoint() {
    let memory = Memory::default();
    let line = Line::to(&memory, &[(2, Fate::Undelivered)]);
    let error = upsert(&line.client(), &Checkpoint::new())
        .await
        .unwrap_err();
    let checkpoint = Checkpoint::from(error.write_report().unwrap().clone());
    assert!(
        upsert(&line.client(), &checkpoint)
            .await
            .unwrap()
            .is_complete()
    );
    assert_eq!(stored(&memory), all());
    assert!(line.sent().values().all(|times| *times == 1));
}

/// An insert has no key that would reveal a second time.
#[tokio::test]
async fn an_insert_does_not_send_rows_again_that_may_be_written() {
    let memory = Memory::default();
    let line = Line::to(&memory, &[(2, Fate::Lost)]);
    let db = line.client();
    let (checkpoint, rows) = (Checkpoint::new(), rows());
    let insert = || {
        let insert = db.table("items").insert(&rows).chunk_rows(10);
        insert.concurrency(1).checkpoint(&checkpoint).into_future()
    };
    insert().await.unwrap_err();
    for _ in 0..2 {
        let error = insert().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Interrupted);
        let report = error.write_report().unwrap();
        assert_eq!(report.uncertain, (10..20).collect::<Vec<_>>());
        assert!(report.pending.is_empty());
        assert_eq!(report.written(), 90);
    }
    assert_eq!(stored(&memory), all(), "each once");
}

#[tokio::test]
async fn refused_rows_are_not_sent_again() {
    let memory = Memory::default().poison("bad");
    let line = Line::to(&memory, &[(10, Fate::Undelivered)]);
    let (checkpoint, db) = (Checkpoint::new(), line.client());
    let rows: Vec<Value> = (0..40)
        .map(|id| json!({"id": id, "name": if id == 7 { "bad" } else { "good" }}))
        .collect();
    let upsert = || {
        let upsert = db.table("items").upsert(&rows).on_conflict(col("id"));
        upsert
            .chunk_rows(10)
            .concurrency(1)
            .checkpoint(&checkpoint)
            .into_future()
    };
    upsert().await.unwrap_err();
    let report = upsert().await.unwrap();
    let failed: Vec<usize> = report.failed.iter().map(|failure| failure.index).collect();
    assert_eq!((failed, report.written()), (vec![7], 39));
    assert_eq!(memory.rows().len(), 39);
    // Among ten rows, then five, three and one, and never after that.
    assert_eq!(line.sent()[&7], 4);
}

#[tokio::test]
async fn a_checkpoint_of_other_rows_is_refused_before_anything_is_sent() {
    let line = Line::to(&Memory::default(), &[]);
    let (checkpoint, db) = (Checkpoint::new(), line.client());
    upsert(&db, &checkpoint).await.unwrap();
    let other = [json!({"id": 1})];
    let error = db
        .table("items")
        .upsert(&other)
        .checkpoint(&checkpoint)
        .await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(line.server.requests().len(), 10);
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        3 => Just(Fate::Answered),
        1 => Just(Fate::Lost),
        1 => prop::sample::select(vec![429, 502, 503, 504, 520, 522, 524]).prop_map(Fate::Masked),
        1 => Just(Fate::Silent),
        1 => Just(Fate::Undelivered),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However often the connection breaks: the loop of the guide ends for an insert too, every row
    /// that reached the server was sent once, and no row is missing that is not listed.
    #[test]
    fn any_line_has_no_row_of_an_insert_written_twice(
        fates in prop::collection::vec(fate(), 0..30),
        retries in 0_u32..3,
    ) {
        let memory = Memory::default();
        let numbered: Vec<(usize, Fate)> = (1..).zip(fates.iter().copied()).collect();
        let (line, checkpoint) = (Line::to(&memory, &numbered), Checkpoint::new());
        let retry = RetryPolicy::default().max_retries(retries).base(Duration::ZERO);
        let db = line.client_with(retry);
        let rows = rows();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let mut rounds = 0;
        let ended = loop {
            rounds += 1;
            prop_assert!(rounds <= fates.len() + 2, "it never ends");
            let outcome = runtime.block_on(async {
                let insert = db.table("items").insert(&rows).chunk_rows(10);
                let insert = insert.concurrency(3).checkpoint(&checkpoint);
                tokio::time::timeout(Duration::from_secs(5), insert).await
            });
            match outcome {
                Ok(Err(error)) if error.is_retryable() => {}
                Ok(ended) => break ended,
                Err(_) => {}
            }
        };
        let report = checkpoint.report();
        prop_assert_eq!(ended.is_ok(), report.is_complete());
        prop_assert!(line.sent().values().all(|times| *times == 1), "{:?}", line.sent());
        let stored = stored(&memory);
        for id in 0..ROWS {
            let index = usize::try_from(id).unwrap();
            let is_listed = report.uncertain.contains(&index) || report.pending.contains(&index);
            prop_assert!(stored.contains(&id) || is_listed, "row {} is lost", id);
            prop_assert!(!(stored.contains(&id) && report.pending.contains(&index)));
        }
    }

    /// However often the connection breaks: an upsert ends with every row, and never sends an
    /// acknowledged row again.
    #[test]
    fn any_line_that_holds_in_the_end(fates in prop::collection::vec(fate(), 0..30)) {
        let memory = Memory::default();
        let numbered: Vec<(usize, Fate)> = (1..).zip(fates.iter().copied()).collect();
        let (line, checkpoint) = (Line::to(&memory, &numbered), Checkpoint::new());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        for _ in 0..=fates.len() {
            let before = (checkpoint.report(), line.sent());
            let db = line.client();
            let outcome = runtime.block_on(async {
                tokio::time::timeout(Duration::from_secs(5), upsert(&db, &checkpoint)).await
            });
            let sent = line.sent();
            for row in before.0.chunks.iter().flat_map(|chunk| &chunk.rows) {
                let id = i64::try_from(*row).unwrap();
                prop_assert_eq!(sent[&id], before.1[&id], "row {} was acknowledged", row);
            }
            if let Ok(Ok(report)) = outcome {
                prop_assert!(report.is_complete());
                prop_assert_eq!(report.written(), 100);
                prop_assert_eq!(stored(&memory), all());
                return Ok(());
            }
        }
        prop_assert!(false, "it never ended");
    }
}
