//! No read looks complete that the server's row limit has cut.

use futures_util::TryStreamExt;
use serde::Deserialize;
use serde_json::{Value, json};
use sluice_sdk::{Client, Count, Table, col, error::ErrorKind};

use crate::memory::Memory;

#[derive(Debug, Deserialize, Table, PartialEq)]
#[table(name = "items")]
struct Item {
    #[table(primary_key)]
    id: i64,
    kind: i64,
}

fn items(count: i64) -> Memory {
    let row = |id: i64| json!({"id": (id * 7_919) % count, "kind": id % 3});
    Memory::with_rows((0..count).map(row)).max_rows(100)
}

fn sorted(rows: &[Item]) -> Vec<i64> {
    let mut ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    ids.sort_unstable();
    ids
}

fn all(count: i64) -> Vec<i64> {
    (0..count).collect()
}

#[tokio::test]
async fn an_awaited_read_goes_on_by_the_primary_key() {
    let (db, fake) = items(1_050).client();
    assert_eq!(sorted(&db.from::<Item>().await.unwrap()), all(1_050));
    // One response, the row after it, 11 pages, and the empty one.
    assert_eq!(fake.requests().len(), 14);

    let rows = db.from::<Item>().order(Item::KIND.desc()).await.unwrap();
    assert_eq!(sorted(&rows), all(1_050));
    assert!(rows.is_sorted_by(|a, b| (-a.kind, a.id) < (-b.kind, b.id)));
    let few = db.from::<Item>().order(Item::ID.asc()).limit(250).await;
    assert_eq!(sorted(&few.unwrap()), all(250));
    let rest = db.from::<Item>().order(Item::ID.asc()).offset(900).await;
    assert_eq!(sorted(&rest.unwrap()), all(1_050)[900..]);
}

#[tokio::test]
async fn without_a_primary_key_the_order_decides() {
    let (db, _) = items(1_000).client();
    let error = db.table("items").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Truncated);
    assert!(error.message().contains("after 100 rows"), "{error}");
    let ordered = db.table("items").order(col("id").asc()).rows::<Item>();
    assert_eq!(sorted(&ordered.await.unwrap()), all(1_000));
    let error = db.table("items").rows::<Item>().stream();
    let error = error.try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Truncated);
    let rows: Vec<Item> = db
        .from::<Item>()
        .read()
        .stream()
        .try_collect()
        .await
        .unwrap();
    assert_eq!(sorted(&rows), all(1_000));
}

#[tokio::test]
async fn a_whole_response_costs_one_more_request_at_most_once() {
    let (db, fake) = items(100).client();
    for _ in 0..3 {
        let rows = db.from::<Item>().await.unwrap();
        assert_eq!(sorted(&rows), all(100));
    }
    // It has as many rows as the limit, so each may be cut. The next has fewer than any of these.
    assert_eq!(fake.requests().len(), 6);
    let fewer = db.from::<Item>().filter(Item::ID.lt(99)).await.unwrap();
    assert_eq!((fewer.len(), fake.requests().len()), (99, 7));
    // Fewer than a hundred rows are cut by no server that has said nothing else.
    let (db, fake) = items(99).client();
    assert_eq!(db.from::<Item>().await.unwrap().len(), 99);
    assert_eq!(fake.requests().len(), 1);
}

#[tokio::test]
async fn a_limit_that_is_known_needs_no_question() {
    let memory = Memory::with_rows((0..40).map(|id| json!({"id": id, "kind": 0}))).max_rows(10);
    let (_, fake) = memory.client();
    let builder = Client::builder()
        .postgrest_url("http://memory")
        .max_rows(10);
    let db = builder.transport(fake.clone()).build().unwrap();
    assert_eq!(sorted(&db.from::<Item>().await.unwrap()), all(40));
    let before = fake.requests().len();
    assert_eq!(
        db.from::<Item>()
            .filter(Item::ID.lt(9))
            .await
            .unwrap()
            .len(),
        9
    );
    assert_eq!(fake.requests().len(), before + 1);
}

#[tokio::test]
async fn a_page_says_whether_more_follow() {
    let (db, _) = items(250).client();
    let read = || db.from::<Item>().order(Item::ID.asc());
    for (limit, offset, rows, more) in [
        (20, 0, 20, true),
        (20, 230, 20, false),
        (20, 240, 10, false),
        (99, 0, 99, true),
        // The server's limit: the next row is asked for.
        (100, 0, 100, true),
        (100, 150, 100, false),
        (500, 0, 100, true),
        (500, 200, 50, false),
    ] {
        let page = read().limit(limit).offset(offset).page().await.unwrap();
        assert_eq!(
            (page.rows.len(), page.more),
            (rows, Some(more)),
            "{limit} after {offset}"
        );
        let counted = read().limit(limit).offset(offset).count(Count::Exact);
        let counted = counted.page().await.unwrap();
        assert_eq!((counted.rows, counted.more), (page.rows, Some(more)));
    }
    assert_eq!(read().page().await.unwrap().more, Some(true));
    let values = db.table("items").limit(1).page().await.unwrap();
    assert!(values.rows[0].is_object() && values.more == Some(true));
    let none = db
        .table("items")
        .filter(col("id").eq(-1))
        .page()
        .await
        .unwrap();
    assert_eq!((none.rows, none.more), (Vec::<Value>::new(), Some(false)));
}
