//! Bulk writes: every good row is written, every bad one is named, nothing is overwritten.

use std::collections::BTreeSet;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sluice_sdk::testing::{Fake, FakeResponse};
use sluice_sdk::{Table, col, error::ErrorKind};

use crate::memory::{Memory, client};

#[derive(Deserialize, Table)]
#[table(name = "items")]
#[expect(
    dead_code,
    reason = "the table is written here, as rows of other shapes"
)]
struct Item {
    #[table(primary_key)]
    id: i64,
    name: Option<String>,
}

/// A row of one of four shapes, by its number.
#[derive(Clone, Serialize)]
struct NewItem {
    id: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

fn new_items(count: usize) -> Vec<NewItem> {
    let text = |id: usize, bit: usize| (id & bit != 0).then(|| format!("new {id}"));
    (0..count)
        .map(|id| NewItem {
            id,
            name: text(id, 1),
            note: text(id, 2),
        })
        .collect()
}

#[tokio::test]
async fn an_upsert_of_four_shapes_with_three_poison_rows() {
    const ROWS: usize = 20_000;
    let poisoned = [17, 8_000, 19_999];
    let mut rows = new_items(ROWS);
    for index in poisoned {
        rows[index].name = Some("poison".to_owned());
    }
    let stored = (0..100).map(|id| json!({"id": id, "name": "old", "note": "old"}));
    let memory = Memory::with_rows(stored).poison("poison");
    let (db, _) = memory.client();

    let report = db
        .from::<Item>()
        .upsert(&rows)
        .on_conflict(Item::ID)
        .await
        .unwrap();

    let failed: Vec<usize> = report.failed.iter().map(|failure| failure.index).collect();
    assert_eq!(failed, poisoned);
    assert!(
        report
            .failed
            .iter()
            .all(|failure| failure.error.code() == Some("23514"))
    );
    assert_eq!((report.rows, report.affected), (20_000, 19_997));
    assert_eq!(report.written(), 19_997);
    assert!(report.pending.is_empty() && !report.is_complete());
    let written: BTreeSet<usize> = report
        .chunks
        .iter()
        .flat_map(|chunk| &chunk.rows)
        .copied()
        .collect();
    assert_eq!(written.len(), 19_997, "every row is in one chunk");
    // 40 chunks, and about twice the depth of bisecting 500 rows for each poison row.
    assert!(report.requests <= 40 + 3 * 20, "{}", report.requests);
    // A key that a row left out kept its stored value.
    let kept = memory.rows();
    assert_eq!(
        kept[1],
        *json!({"id": 1, "name": "new 1", "note": "old"})
            .as_object()
            .unwrap()
    );
    assert_eq!(
        kept[2],
        *json!({"id": 2, "name": "old", "note": "new 2"})
            .as_object()
            .unwrap()
    );
    assert_eq!(kept[17]["name"], "old");
}

#[tokio::test]
async fn each_shape_is_a_request_that_lists_its_columns() {
    let (db, fake) = Memory::default().client();
    let rows = new_items(8);
    db.from::<Item>().insert(&rows).await.unwrap();
    let mut paths: Vec<String> = fake
        .requests()
        .into_iter()
        .map(|request| request.path)
        .collect();
    paths.sort();
    assert_eq!(
        paths,
        [
            "/items?columns=id",
            "/items?columns=id,name",
            "/items?columns=id,name,note",
            "/items?columns=id,note",
        ]
    );
}

#[tokio::test]
async fn a_request_that_is_too_large_or_too_slow_is_halved() {
    let memory = Memory::default().max_batch(100).max_body(2_000);
    let (db, fake) = memory.client();
    let rows: Vec<Value> = (0..1_000).map(|id| json!({"id": id})).collect();
    let report = db.from::<Item>().insert(&rows).await.unwrap();
    assert!(report.is_complete());
    assert_eq!(memory.rows().len(), 1_000);
    // Both requests of 500 rows fail, and so do their halves, until 63 rows succeed.
    assert!(fake.requests().len() < 40, "{}", fake.requests().len());
}

#[tokio::test]
async fn a_size_that_was_too_large_once_is_not_tried_again() {
    let memory = Memory::default().max_batch(100);
    let (db, fake) = memory.client();
    let rows: Vec<Value> = (0..2_000).map(|id| json!({"id": id})).collect();
    let upsert = db.from::<Item>().upsert(&rows).concurrency(1);
    assert!(upsert.await.unwrap().is_complete());
    assert_eq!(memory.rows().len(), 2_000);
    // 500, 250 and 125 rows fail once each on the way to 63.
    assert!(fake.requests().len() < 45, "{}", fake.requests().len());
}

#[tokio::test]
async fn a_row_that_alone_is_too_large_is_the_only_one_refused() {
    let (db, _) = Memory::default().max_body(100).client();
    let rows = [
        json!({"id": 1, "name": "x".repeat(200)}),
        json!({"id": 2, "name": "y"}),
    ];
    let report = db.from::<Item>().insert(&rows).await.unwrap();
    assert_eq!(report.failed[0].index, 0);
    assert!(report.failed[0].error.is_payload_too_large());
    assert_eq!(report.affected, 1);
}

#[tokio::test]
async fn chunks_keep_to_rows_and_bytes() {
    let (db, fake) = Memory::default().client();
    let rows: Vec<Value> = (0..100)
        .map(|id| json!({"id": id, "name": "x".repeat(90)}))
        .collect();
    db.from::<Item>()
        .insert(&rows)
        .chunk_rows(30)
        .chunk_bytes(1_500)
        .await
        .unwrap();
    let bodies = fake
        .requests()
        .into_iter()
        .map(|request| request.body.unwrap());
    for body in bodies {
        assert!(body.len() <= 1_500, "{}", body.len());
    }
    let (db, fake) = Memory::default().client();
    db.from::<Item>()
        .insert(&rows)
        .chunk_rows(30)
        .await
        .unwrap();
    assert_eq!(fake.requests().len(), 4);
}

#[tokio::test]
async fn a_failure_not_due_to_a_row_ends_the_write_with_a_report() {
    let answered = Mutex::new(0);
    let fake = Fake::new(move |_| {
        let mut answered = answered.lock().unwrap();
        *answered += 1;
        match *answered {
            1 => FakeResponse::affected(10),
            _ => FakeResponse::error(401, "42501", "permission denied for table items"),
        }
    });
    let rows: Vec<Value> = (0..30).map(|id| json!({"id": id})).collect();
    let write = client(&fake)
        .table("items")
        .insert(&rows)
        .chunk_rows(10)
        .concurrency(1);
    let error = write.await.unwrap_err();
    assert!(error.is_permission_denied());
    let report = error.write_report().unwrap();
    assert_eq!(report.affected, 10);
    assert_eq!(report.pending, (10..30).collect::<Vec<_>>());
    assert!(report.uncertain.is_empty());
    assert_eq!(fake.requests().len(), 2);
}

#[tokio::test]
async fn an_upsert_with_an_unknown_outcome_is_retried_and_an_insert_is_not() {
    let rows = [json!({"id": 1})];
    let fake = Fake::new(|_| FakeResponse::interrupted());
    let error = client(&fake)
        .from::<Item>()
        .insert(&rows)
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), fake.requests().len()),
        (ErrorKind::Interrupted, 1)
    );
    assert_eq!(error.write_report().unwrap().uncertain, [0]);

    let fake = Fake::new(|_| FakeResponse::interrupted());
    let error = client(&fake)
        .from::<Item>()
        .upsert(&rows)
        .await
        .unwrap_err();
    assert_eq!((error.retries(), fake.requests().len()), (4, 5));

    // Without the key in the row, every run of this upsert would add a row.
    let fake = Fake::new(|_| FakeResponse::interrupted());
    let nameless = [json!({"name": "x"})];
    client(&fake)
        .from::<Item>()
        .upsert(&nameless)
        .await
        .unwrap_err();
    assert_eq!(fake.requests().len(), 1);
}

#[tokio::test]
async fn rows_with_one_conflict_key_are_all_written_or_deduplicated() {
    let rows = [
        json!({"id": 1, "name": "a"}),
        json!({"id": 1, "name": "b"}),
        json!({"id": 2, "name": "c"}),
    ];
    let memory = Memory::with_rows([json!({"id": 1, "name": "old"})]);
    let (db, fake) = memory.client();
    let report = db
        .from::<Item>()
        .upsert(&rows)
        .on_conflict(Item::ID)
        .await
        .unwrap();
    assert_eq!(report.superseded, [0]);
    assert_eq!(fake.requests().len(), 1);
    assert_eq!(memory.rows()[0]["name"], "b");
}

#[tokio::test]
async fn a_later_row_that_sets_other_columns_is_written_after_the_earlier_one() {
    let rows = [
        json!({"id": 1, "name": "first", "kind": "a"}),
        json!({"id": 2, "name": "other"}),
        json!({"id": 1, "name": "second"}),
        json!({"id": 2, "name": "last", "kind": "b"}),
    ];
    let memory = Memory::default();
    let (db, fake) = memory.client();
    let report = db.from::<Item>().upsert(&rows).on_conflict(Item::ID).await;
    let report = report.unwrap();
    assert!(report.is_complete());
    assert_eq!(report.superseded, [1]);
    assert_eq!(fake.requests().len(), 3);
    let mut stored: Vec<Value> = memory.rows().into_iter().map(Value::from).collect();
    stored.sort_by_key(|row| row["id"].as_i64());
    let expected = [
        json!({"id": 1, "name": "second", "kind": "a"}),
        json!({"id": 2, "name": "last", "kind": "b"}),
    ];
    assert_eq!(stored, expected);
}

#[tokio::test]
async fn without_known_conflict_columns_rows_are_upserted_in_their_order() {
    let rows: Vec<Value> = (0..40)
        .map(|n| json!({"id": n % 2, "name": n.to_string()}))
        .collect();
    let memory = Memory::default();
    let (db, _) = memory.client();
    let upsert = db.table("items").upsert(&rows).chunk_rows(7);
    assert!(upsert.await.unwrap().is_complete());
    let names: Vec<Value> = memory
        .rows()
        .iter()
        .map(|row| row["name"].clone())
        .collect();
    assert_eq!(names, ["38", "39"]);
}

#[tokio::test]
async fn written_rows_are_returned_in_order() {
    let (db, _) = Memory::default().client();
    let rows: Vec<Value> = (0..95).map(|id| json!({"id": id})).collect();
    let written = db
        .from::<Item>()
        .insert(&rows)
        .chunk_rows(10)
        .returning_rows::<Value>()
        .await
        .unwrap();
    assert_eq!(written.rows, rows);
    assert_eq!(written.report.affected, 95);
}

#[tokio::test]
async fn all_or_nothing_is_one_request() {
    let (db, fake) = Memory::default().client();
    let rows: Vec<Value> = (0..2_000).map(|id| json!({"id": id})).collect();
    let report = db
        .from::<Item>()
        .insert(&rows)
        .all_or_nothing()
        .await
        .unwrap();
    assert_eq!((report.affected, fake.requests().len()), (2_000, 1));

    let memory = Memory::default().poison("poison");
    let (db, fake) = memory.client();
    let rows = [
        json!({"id": 1, "name": "a"}),
        json!({"id": 2, "name": "poison"}),
    ];
    let error = db
        .from::<Item>()
        .insert(&rows)
        .all_or_nothing()
        .await
        .unwrap_err();
    assert_eq!((error.code(), fake.requests().len()), (Some("23514"), 1));
    assert!(memory.rows().is_empty());

    // Mixed keys get their defaults in an insert, and would overwrite in an upsert.
    let mixed = new_items(4);
    let calls = db
        .from::<Item>()
        .insert(&mixed)
        .all_or_nothing()
        .calls()
        .unwrap();
    let prefer = calls[0].request.headers()["prefer"].to_str().unwrap();
    assert!(
        calls.len() == 1 && prefer.contains("missing=default"),
        "{prefer}"
    );
    assert!(
        db.from::<Item>()
            .upsert(&mixed)
            .all_or_nothing()
            .await
            .is_err()
    );
}

#[tokio::test]
async fn one_row_is_written_and_returned() {
    let one = Fake::new(|_| FakeResponse::json(201, &json!({"id": 7})));
    let row = json!({"name": "a"});
    let insert = client(&one).from::<Item>().insert_one(&row);
    let written: Value = insert.returning_rows().await.unwrap();
    assert_eq!(written, json!({"id": 7}));
    let accept = &one.requests()[0].headers["accept"];
    assert_eq!(accept, "application/vnd.pgrst.object+json");

    let none = Fake::new(|_| {
        let body = json!({
            "code": "PGRST116", "message": "no", "details": "The result contains 0 rows", "hint": null
        });
        FakeResponse::json(406, &body)
    });
    let upsert = || {
        let upsert = client(&none).table("items").upsert_one(&row);
        let upsert = upsert.on_conflict(col("name")).ignore_duplicates();
        upsert.returning_rows::<Value>()
    };
    assert_eq!(upsert().maybe_single().await.unwrap(), None);
    assert!(upsert().await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn rows_that_are_not_objects_are_reported_and_the_rest_is_written() {
    let memory = Memory::default();
    let (db, _) = memory.client();
    let rows = [json!({"id": 1}), json!(7), json!({"id": 2})];
    let report = db.from::<Item>().insert(&rows).await.unwrap();
    assert_eq!(report.failed[0].index, 1);
    assert_eq!(memory.rows().len(), 2);
    assert!(report.into_result().is_err());
}

#[tokio::test]
async fn a_change_counts_rows_and_a_dry_run_is_not_sent_to_a_server_that_commits() {
    let fake = Fake::new(|_| FakeResponse::affected(3));
    let db = client(&fake);
    let patch = json!({"name": null});
    assert_eq!(
        db.from::<Item>()
            .update()
            .patch(&patch)
            .filter(Item::ID.gt(1))
            .await
            .unwrap(),
        3
    );
    assert_eq!(
        db.table("items")
            .delete()
            .filter(col("id").eq(1))
            .await
            .unwrap(),
        3
    );
    let set = db.from::<Item>().update().set(Item::NAME, "x");
    let set = set.filter(Item::ID.eq(1)).timezone("UTC").max_affected(1);
    assert_eq!(set.await.unwrap(), 3);
    let null = db
        .from::<Item>()
        .update()
        .set(Item::NAME, None)
        .set(Item::ID, 2);
    assert_eq!(null.all_rows().await.unwrap(), 3);
    let error = db
        .from::<Item>()
        .delete()
        .all_rows()
        .dry_run()
        .await
        .unwrap_err();
    assert!(error.message().contains("nothing was sent"));
    insta::assert_snapshot!("changes", fake.snapshot());
}
