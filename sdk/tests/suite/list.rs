//! Long lists: split by the length of the URL, and every row exactly once.

use serde::Deserialize;
use serde_json::{Value, json};
use sluice_sdk::{Table, col, error::ErrorKind, query::Selection};

use crate::memory::Memory;

#[derive(Debug, Deserialize, Table)]
#[table(name = "items")]
struct Item {
    #[table(primary_key)]
    id: i64,
    slug: String,
}

fn items(count: i64) -> Vec<Value> {
    (0..count)
        .map(|id| json!({"id": id, "slug": format!("slug, ({})", id % 600)}))
        .collect()
}

#[tokio::test]
async fn a_long_list_is_read_in_urls_that_fit() {
    let (db, fake) = Memory::with_rows(items(3_000)).client();
    // Each twice, and as many that do not exist.
    let wanted: Vec<i64> = (0..6_000).chain(0..6_000).collect();
    let rows = db
        .from::<Item>()
        .filter_in(Item::ID, &wanted)
        .await
        .unwrap();
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    assert_eq!(
        ids,
        (0..3_000).collect::<Vec<_>>(),
        "in the order of the list, once each"
    );
    let longest = fake
        .requests()
        .iter()
        .map(|request| request.path.len())
        .max()
        .unwrap();
    assert!((6_900..=7_000).contains(&longest), "{longest}");
}

#[tokio::test]
async fn rows_that_the_server_cuts_off_are_read_too() {
    // A slug has 5 rows, so a chunk of slugs has far more rows than the cap.
    let (db, _) = Memory::with_rows(items(3_000)).max_rows(100).client();
    let slugs: Vec<String> = (0..600).map(|n| format!("slug, ({n})")).collect();
    let page = db
        .from::<Item>()
        .filter_in(Item::SLUG, &slugs)
        .page()
        .await
        .unwrap();
    let mut ids: Vec<i64> = page.rows.iter().map(|row| row.id).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..3_000).collect::<Vec<_>>());
    assert_eq!(page.total, Some(3_000));
    assert!(page.rows[0].slug.starts_with("slug, ("));
}

#[tokio::test]
async fn a_cut_response_without_an_order_is_an_error_and_not_a_loss() {
    let (db, _) = Memory::with_rows(items(50)).max_rows(10).client();
    let ids: Vec<i64> = (0..50).collect();
    let error = db
        .table("items")
        .filter_in(col("id"), &ids)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Truncated);
    let rows = db
        .table("items")
        .filter_in(col("id"), &ids)
        .order_within(col("id").asc())
        .await;
    assert_eq!(rows.unwrap().len(), 50);
}

#[tokio::test]
async fn no_value_is_no_request() {
    let (db, fake) = Memory::with_rows(items(5)).client();
    let rows = db
        .from::<Item>()
        .filter_in(Item::ID, Vec::<i64>::new())
        .await
        .unwrap();
    assert!(rows.is_empty() && fake.requests().is_empty());
}

#[tokio::test]
async fn a_split_list_with_a_limit_or_an_aggregate_is_refused() {
    let (db, fake) = Memory::with_rows(items(5)).client();
    assert!(
        db.from::<Item>()
            .limit(1)
            .filter_in(Item::ID, [1])
            .await
            .is_err()
    );
    assert!(
        db.from::<Item>()
            .offset(1)
            .filter_in(Item::ID, [1])
            .await
            .is_err()
    );
    let sum = Selection::new().column(Item::ID.sum());
    assert!(
        db.from::<Item>()
            .selection(sum)
            .filter_in(Item::ID, [1])
            .await
            .is_err()
    );
    assert!(fake.requests().is_empty());
}
