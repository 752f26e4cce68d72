//! The differences between the embedded server and PostgREST that the SDK shows. The replayed
//! record (`sdk/tests/suite/exchange`) has what PostgREST does.
//!
//! | request | PostgREST | the embedded server | the record |
//! | --- | --- | --- | --- |
//! | a dry run (`tx=rollback`) | rolls back | claims to, and does not | `update rolled back` |
//! | one row of a write of several | rolls back | writes, and returns 406 | `singular update of many` |
//! | a plan | the plan | PGRST107 | `plan` |
//! | GeoJSON | with PostGIS, a collection | PGRST107 | `not acceptable` |
//! | a time zone | times in it | times unchanged | none: only the header is recorded |
//! | a quoted JSON key (`->>"k.ey"`) | that key | nothing | `json path` |
//! | a value with spaces around it, or in quotes | that value | a trimmed one | the grammar's |
//! | `numeric` in JSON | a number | a text, from the driver | `missing default` |

use serde_json::{Value, json};
use sluice_sdk::{
    Count, col,
    query::{Explain, Selection},
};

use crate::capped;
use crate::feature::{Good, TURN, shop};

/// If one of these fails, the server has learnt it: replace the line by a test. A PostgREST that the environment names
/// has none of the differences.
#[tokio::test]
async fn the_listed_differences_exist() {
    let is_real = capped::is_outside().await;
    let _turn = TURN.lock().await;
    let db = shop().await;
    let pieces = async |id: i64| {
        let row = db.from::<Good>().filter(Good::ID.eq(id)).single().await;
        row.unwrap().pieces
    };

    let dry = db
        .from::<Good>()
        .update()
        .set(Good::PIECES, 50)
        .filter(Good::ID.eq(1));
    assert_eq!(dry.dry_run().await.unwrap(), 1);
    assert_eq!(pieces(1).await, if is_real { 3 } else { 50 }, "a dry run");

    let several = db
        .from::<Good>()
        .update()
        .set(Good::PIECES, 60)
        .filter(Good::ID.lt(3));
    let error = several.returning::<Good>().single().await.unwrap_err();
    assert!(error.is_row_count() && !error.is_not_found());
    let written = if is_real { 7 } else { 60 };
    assert_eq!(pieces(2).await, written, "one row of a write of several");

    let plan = db.from::<Good>().read().explain(Explain::plan().analyze());
    let text = db.from::<Good>().read().explain_text(Explain::plan()).await;
    if is_real {
        assert!(plan.await.unwrap().to_string().contains("Actual Rows"));
        assert!(text.unwrap().contains("Seq Scan on goods"));
    } else {
        assert_eq!(plan.await.unwrap_err().pgrst_code(), Some("PGRST107"));
        assert_eq!(text.unwrap_err().pgrst_code(), Some("PGRST107"));
    }
    let map = db.from::<Good>().read().geojson().await;
    let error = map.unwrap_err();
    // Without PostGIS, PostgREST calls a function that does not exist.
    let refused = if is_real { "42883" } else { "PGRST107" };
    assert_eq!(error.code(), Some(refused));

    let sold = Selection::new().column(Good::SOLD_AT);
    let read = db.from::<Good>().filter(Good::ID.eq(1)).selection(sold);
    let there = read.timezone("America/Los_Angeles").rows::<Value>().await;
    let sold_at = if is_real {
        "2026-01-01T04:00:00-08:00"
    } else {
        "2026-01-01 12:00:00+00"
    };
    assert_eq!(there.unwrap(), [json!({"sold_at": sold_at})]);

    let meta = json!({"k.ey": "x"});
    let keyed = db
        .from::<Good>()
        .update()
        .set(Good::META, Some(meta))
        .filter(Good::ID.eq(1));
    keyed.await.unwrap();
    let found = db.from::<Good>().filter(Good::META.text("k.ey").eq("x"));
    assert_eq!(
        found.count_rows(Count::Exact).await.unwrap(),
        u64::from(is_real)
    );
    let spaced = db.from::<Good>().filter(Good::NAME.eq(" \"saw\" "));
    assert_eq!(
        spaced.count_rows(Count::Exact).await.unwrap(),
        u64::from(!is_real)
    );

    let priced = capped::client(
        "create table priced (id int primary key, price numeric(10, 2));
         insert into priced values (1, 2.5)",
    )
    .await;
    let price = priced
        .table("priced")
        .filter(col("id").eq(1))
        .await
        .unwrap();
    let expected = if is_real { json!(2.5) } else { json!("2.50") };
    assert_eq!(price, [json!({"id": 1, "price": expected})]);
}
