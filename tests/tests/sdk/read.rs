//! A table of 25,000 rows behind the row limit: every row is returned exactly once.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use futures_util::TryStreamExt;
use serde::Deserialize;
use sluice_sdk::{Client, Table};

use crate::capped;

const ROWS: i64 = 25_000;

#[derive(Clone, Debug, PartialEq, Deserialize, Table)]
#[table(name = "readings")]
struct Reading {
    #[table(primary_key)]
    id: i64,
    code: String,
    sensor: i32,
    level: Option<i32>,
    label: Option<String>,
}

/// The row that the statements of [`table`] put at this id: few sensors, levels and labels, so that
/// most rows tie, and NULL among both of the nullable ones.
fn reading(id: i64) -> Reading {
    Reading {
        id,
        code: format!("code, ({id})"),
        sensor: i32::try_from(id % 7).unwrap(),
        level: (id % 5 != 0).then(|| i32::try_from(id % 11).unwrap()),
        label: (id % 3 != 0).then(|| format!("label {}", id % 13)),
    }
}

async fn table() -> Client {
    static FIRST: tokio::sync::Mutex<bool> = tokio::sync::Mutex::const_new(true);
    let mut first = FIRST.lock().await;
    let statements = format!(
        "create table readings (
            id bigint primary key, code text not null unique, sensor int not null, level int, label text
         );
         insert into readings
         select i, 'code, (' || i || ')', i % 7, case when i % 5 <> 0 then i % 11 end,
                case when i % 3 <> 0 then 'label ' || i % 13 end
         from generate_series(1, {ROWS}) i"
    );
    let client = capped::client(if *first { &statements } else { "select 1" }).await;
    *first = false;
    client
}

fn sorted(mut rows: Vec<Reading>) -> Vec<Reading> {
    rows.sort_by_key(|row| row.id);
    rows
}

#[tokio::test]
async fn twenty_thousand_keys_find_each_row_once() {
    let expected: Vec<Reading> = (1..=20_000).map(reading).collect();
    // Each twice, and some that no row has.
    let asked = expected.iter().chain(expected.iter().rev());
    let codes = asked
        .map(|row| row.code.clone())
        .chain((0..500).map(|at| format!("nowhere, ({at})")));
    let rows = table()
        .await
        .from::<Reading>()
        .filter_in(Reading::CODE, codes)
        .await
        .unwrap();
    assert_eq!(sorted(rows), expected);
}

#[tokio::test]
async fn a_key_with_more_rows_than_the_row_limit_finds_all() {
    let rows = table()
        .await
        .from::<Reading>()
        .filter_in(Reading::SENSOR, [2, 5])
        .await
        .unwrap();
    let expected = (1..=ROWS)
        .map(reading)
        .filter(|row| [2, 5].contains(&row.sensor));
    assert_eq!(sorted(rows), expected.collect::<Vec<_>>());
}

#[tokio::test]
async fn a_stream_over_ties_and_nulls_returns_every_row_once_in_order() {
    let rows: Vec<Reading> = table()
        .await
        .from::<Reading>()
        .keyset((
            Reading::LEVEL.desc(),
            Reading::LABEL.asc(),
            Reading::SENSOR.desc(),
        ))
        // More than the server returns: a page that is shorter than requested is not the last.
        .page_rows(1_500)
        .stream()
        .try_collect()
        .await
        .unwrap();
    let mut expected: Vec<Reading> = (1..=ROWS).map(reading).collect();
    expected.sort_by(|a, b| {
        // Postgres orders NULL as the greatest.
        greatest_last(b.level.as_ref(), a.level.as_ref())
            .then_with(|| greatest_last(a.label.as_ref(), b.label.as_ref()))
            .then_with(|| b.sensor.cmp(&a.sensor))
            .then_with(|| a.id.cmp(&b.id))
    });
    assert_eq!(rows, expected);
}

#[tokio::test]
async fn a_stream_may_put_nulls_at_either_end() {
    let client = table().await;
    for key in [
        Reading::LEVEL.asc().nulls_first(),
        Reading::LEVEL.asc().nulls_last(),
        Reading::LEVEL.desc().nulls_first(),
        Reading::LEVEL.desc().nulls_last(),
    ] {
        let shown = format!("{key:?}");
        let rows: Vec<Reading> = client
            .from::<Reading>()
            .keyset(key)
            .stream()
            .try_collect()
            .await
            .unwrap();
        let ids: BTreeSet<i64> = rows.iter().map(|row| row.id).collect();
        let counts = (rows.len(), ids.len());
        assert_eq!(counts, (25_000, 25_000), "{shown}");
    }
}

fn greatest_last<V: Ord>(a: Option<&V>, b: Option<&V>) -> Ordering {
    a.is_none().cmp(&b.is_none()).then_with(|| a.cmp(&b))
}
