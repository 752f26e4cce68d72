//! 25,000 rows behind a row limit of 1,000: a read and a call return all of them, or say how to.

use std::collections::BTreeSet;
use std::convert::Infallible;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use sluice_sdk::{Client, Count, Function, Table, col, error::ErrorKind};

use crate::capped;

const ROWS: usize = 25_000;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Table)]
#[table(name = "grains")]
struct Grain {
    #[table(primary_key)]
    id: i64,
    kind: i32,
}

/// Reads: it may be called again.
#[derive(Serialize, Function)]
#[function(name = "all_grains", returns = Vec<Grain>, read_only)]
struct AllGrains;

/// May change something.
#[derive(Serialize, Function)]
#[function(name = "take_grains", returns = Vec<Grain>)]
struct TakeGrains;

async fn grains() -> Client {
    static FIRST: tokio::sync::Mutex<bool> = tokio::sync::Mutex::const_new(true);
    let mut first = FIRST.lock().await;
    let statements = format!(
        "create table grains (id bigint primary key, kind int not null);
         insert into grains select i, i % 7 from generate_series(1, {ROWS}) i;
         create table sieve (id bigint primary key, kind int not null);
         create function all_grains() returns setof grains language sql stable
             as 'select * from grains';
         create function take_grains() returns setof grains language plpgsql volatile
             as 'begin return query select * from grains; end'"
    );
    let client = capped::client(if *first { &statements } else { "select 1" }).await;
    *first = false;
    client
}

fn assert_all(rows: &[Grain]) {
    let ids: BTreeSet<i64> = rows.iter().map(|row| row.id).collect();
    assert_eq!((rows.len(), ids.len()), (ROWS, ROWS));
}

#[tokio::test]
async fn an_awaited_read_returns_every_row() {
    let db = grains().await;
    assert_all(&db.from::<Grain>().await.unwrap());
    let rows = db.from::<Grain>().order(Grain::KIND.desc()).await.unwrap();
    assert_all(&rows);
    assert!(rows.is_sorted_by_key(|row| (-row.kind, row.id)));
    let ordered = db.table("grains").order(col("id").asc()).rows::<Grain>();
    assert_all(&ordered.await.unwrap());
    let some = db
        .from::<Grain>()
        .order(Grain::ID.asc())
        .limit(5_000)
        .await
        .unwrap();
    assert_eq!((some.len(), some[4_999].id), (5_000, 5_000));
    let error = db.table("grains").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Truncated);
    assert!(error.message().contains("order by a unique key"), "{error}");
    let page = db.from::<Grain>().page().await.unwrap();
    assert_eq!((page.rows.len(), page.more), (1_000, Some(true)));
}

#[tokio::test]
async fn a_call_returns_every_row_or_says_how() {
    let db = grains().await;
    let error = db.rpc(AllGrains).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Truncated);
    assert!(error.message().contains(".all()"), "{error}");
    assert!(db.rpc(AllGrains).all().await.is_err(), "it has no order");
    assert_all(
        &db.rpc(AllGrains)
            .order(Grain::ID.asc())
            .all()
            .await
            .unwrap(),
    );
    let rows: Vec<Grain> = db
        .rpc(AllGrains)
        .order(Grain::ID.asc())
        .stream()
        .try_collect()
        .await
        .unwrap();
    assert_all(&rows);
    let page = db
        .rpc(AllGrains)
        .order(Grain::ID.asc())
        .limit(10)
        .page()
        .await
        .unwrap();
    assert_eq!((page.rows.len(), page.more), (10, Some(true)));
    // A second call of this one could do harm.
    for error in [db.rpc(TakeGrains).await, db.rpc(TakeGrains).all().await] {
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Truncated);
        assert!(error.message().contains("one JSON value"), "{error}");
    }
    let few = db.rpc(TakeGrains).filter(Grain::ID.lte(900)).await.unwrap();
    assert_eq!(few.len(), 900);
}

#[tokio::test]
async fn comma_separated_values_have_every_row() {
    let db = grains().await;
    let csv = db.from::<Grain>().read().csv().await.unwrap();
    let lines: BTreeSet<&str> = csv.lines().skip(1).collect();
    assert_eq!((csv.lines().next(), lines.len()), (Some("id,kind"), ROWS));
    let pieces = db.from::<Grain>().read().csv_stream();
    let bytes = pieces
        .map_ok(|piece| piece.len())
        .try_collect::<Vec<_>>()
        .await
        .unwrap();
    assert_eq!(bytes.iter().sum::<usize>(), csv.trim_end().len());
    assert!(bytes.len() >= 25);
}

#[tokio::test]
async fn a_stream_is_written_and_a_long_list_is_deleted() {
    let db = grains().await;
    // The later of two rows with one key wins, far apart or near.
    let kinds = |kind: i32| (1..=6_000).map(move |id| Grain { id, kind });
    let near = (1..=6_000).map(|id| Grain {
        id: id / 2 + 1,
        kind: 2,
    });
    let rows = stream::iter(kinds(1).chain(near).chain(kinds(3))).map(Ok::<_, Infallible>);
    let report = db
        .table("sieve")
        .upsert_stream(rows)
        .on_conflict(col("id"))
        .await
        .unwrap();
    assert_eq!((report.rows, report.failed.len()), (18_000, 0));
    assert_eq!(report.written + report.superseded, 18_000);
    let third = db.table("sieve").filter(col("kind").eq(3));
    assert_eq!(third.count_rows(Count::Exact).await.unwrap(), 6_000);

    let ids = || (1..=5_000).chain([99_999]);
    let update = db
        .table("sieve")
        .update()
        .set(col("kind"), 9)
        .filter_in(col("id"), ids());
    assert!(update.calls().unwrap().len() > 1);
    assert_eq!(update.await.unwrap(), 5_000);
    let delete = db.table("sieve").delete().filter_in(col("id"), ids());
    let gone = delete.returning_rows::<Grain>().await.unwrap();
    assert_eq!(
        (gone.len(), gone.iter().all(|row| row.kind == 9)),
        (5_000, true)
    );
    assert_eq!(
        db.table("sieve").count_rows(Count::Exact).await.unwrap(),
        1_000
    );
    let nobody = db
        .table("sieve")
        .delete()
        .filter_in(col("id"), Vec::<i64>::new());
    assert_eq!(nobody.await.unwrap(), 0);
}
