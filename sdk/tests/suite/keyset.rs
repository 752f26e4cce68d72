//! Keyset reads return every row exactly once, whatever the order and the server's row limit.

use futures_util::TryStreamExt;
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};
use sluice_sdk::{Table, col, query::Order, schema::Any};

use crate::memory::{Memory, client};

#[derive(Debug, Deserialize, Table, PartialEq)]
#[table(name = "items")]
struct Item {
    #[table(primary_key)]
    id: i64,
    score: Option<i64>,
    name: String,
}

fn items(count: i64) -> Vec<Value> {
    // Few different scores, many of them null, so that most rows tie with others.
    let score = |id: i64| {
        if id % 3 == 0 {
            Value::Null
        } else {
            json!(id % 7)
        }
    };
    (0..count)
        .map(|id| json!({"id": id, "score": score(id), "name": format!("n{}", id % 5)}))
        .collect()
}

#[tokio::test]
async fn a_stream_goes_on_past_the_cap_and_ends_at_an_empty_page() {
    let memory = Memory::with_rows(items(2_500)).max_rows(100);
    let (db, fake) = memory.client();
    let rows: Vec<Item> = db
        .from::<Item>()
        .keyset(Item::SCORE.desc())
        .stream()
        .try_collect()
        .await
        .unwrap();
    let mut ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..2_500).collect::<Vec<_>>());
    // The pages have 100 rows instead of the requested 1000: 25 pages, and the empty one.
    assert_eq!(fake.requests().len(), 26);
}

#[tokio::test]
async fn the_primary_key_breaks_ties_and_need_not_be_selected() {
    #[derive(Debug, Deserialize, sluice_sdk::Select)]
    #[select(from = Item)]
    #[expect(dead_code, reason = "the rows are never read: their key is missing")]
    struct Name {
        name: String,
    }
    let memory = Memory::with_rows(items(10));
    let (db, fake) = memory.client();
    let keyset = db
        .from::<Item>()
        .keyset(Item::NAME.asc())
        .select::<Name>()
        .page_rows(3);
    let path = keyset.call().unwrap().request.uri().to_string();
    assert_eq!(
        path,
        "/items?select=name,keyset_1:id&order=name.asc,id.asc&limit=3"
    );
    // The table in memory ignores aliases, so the stream does not find its key. That is an error,
    // not a loop.
    let rows: Result<Vec<Name>, _> = keyset.stream().try_collect().await;
    assert!(rows.unwrap_err().message().contains("`keyset_1`"));
    assert_eq!(fake.requests().len(), 1);
}

#[tokio::test]
async fn a_server_that_ignores_the_filter_does_not_loop_endlessly() {
    let fake = sluice_sdk::testing::Fake::new(|_| {
        sluice_sdk::testing::FakeResponse::json(200, &json!([{"id": 1}]))
    });
    let stream = client(&fake).table("t").keyset(col("id").asc()).stream();
    let rows: Result<Vec<Value>, _> = stream.try_collect().await;
    assert!(rows.unwrap_err().message().contains("ended where it began"));
    assert_eq!(fake.requests().len(), 2);
}

#[tokio::test]
async fn a_keyset_read_with_its_own_order_or_limit_is_refused() {
    let (db, fake) = Memory::default().client();
    let limited = db.from::<Item>().limit(3).keyset(Item::ID.asc());
    assert!(limited.call().is_err());
    let ordered = db
        .from::<Item>()
        .order(Item::ID.asc())
        .keyset(Item::ID.asc());
    assert!(ordered.call().is_err());
    assert!(
        db.table("t")
            .keyset(Vec::<Order<Any>>::new())
            .call()
            .is_err()
    );
    assert_eq!(fake.requests().len(), 0);
}

fn key(column: &'static str, descending: bool, nulls: u8) -> Order<Any> {
    let order = if descending {
        col(column).desc()
    } else {
        col(column).asc()
    };
    match nulls {
        0 => order,
        1 => order.nulls_first(),
        _ => order.nulls_last(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any order of two keys over duplicates and nulls, any page size, any cap: the pages are the
    /// table in that order.
    #[test]
    fn the_pages_are_the_ordered_table(
        scores in prop::collection::vec(prop::option::of(0_i64..4), 0..30),
        first_descending: bool,
        nulls in 0_u8..3,
        id_descending: bool,
        page in 1_u64..7,
        cap in 1_usize..7,
    ) {
        let rows: Vec<Value> =
            scores.iter().enumerate().map(|(id, score)| json!({"id": id, "score": score})).collect();
        let memory = Memory::with_rows(rows).max_rows(cap);
        let (db, _) = memory.client();
        let keys = || (key("score", first_descending, nulls), key("id", id_descending, 0));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let read: Vec<Value> = runtime
            .block_on(db.table("t").keyset(keys()).page_rows(page).stream().try_collect())
            .unwrap();
        let uncapped = Memory::with_rows(memory.rows().into_iter().map(Value::Object));
        let whole: Vec<Value> =
            runtime.block_on(async { uncapped.client().0.table("t").order(keys()).await }).unwrap();
        prop_assert_eq!(read, whole);
    }
}
