//! A bulk upsert of rows with different keys, some of which the database refuses.

use std::collections::BTreeMap;

use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};
use sluice_sdk::{Client, Table};

use crate::capped;

const ROWS: i64 = 20_000;
/// Every row up to here is stored before the upsert.
const STORED: i64 = 10_000;
const POISON: [i64; 3] = [1, 9_999, 17_003];

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Table)]
#[table(name = "articles")]
struct Article {
    #[table(primary_key)]
    id: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    price: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// A row of the upsert: one of four shapes, by its id.
fn given(id: i64) -> Article {
    let shape = id % 4;
    let price = if POISON.contains(&id) { -1 } else { id };
    Article {
        id,
        name: (shape == 0 || shape == 1).then(|| format!("given {id}")),
        price: (shape == 1 || shape == 3).then_some(price),
        note: (shape == 2 || shape == 3).then(|| format!("given note {id}")),
    }
}

/// The expected row, or `None` if nothing may be stored.
fn expected(id: i64) -> Option<Article> {
    let before = Article {
        id,
        name: Some(format!("stored {id}")),
        price: Some(7),
        note: Some(format!("stored note {id}")),
    };
    let is_stored = id <= STORED;
    if POISON.contains(&id) {
        return is_stored.then_some(before);
    }
    let given = given(id);
    Some(if is_stored {
        Article {
            id,
            name: given.name.or(before.name),
            price: given.price.or(before.price),
            note: given.note.or(before.note),
        }
    } else {
        Article {
            // The column's default, because the key was not sent.
            name: given.name.or(Some("unnamed".to_owned())),
            ..given
        }
    })
}

/// The check raises its own error. For a plain check constraint the embedded server returns a bare
/// 500, without the SQLSTATE that PostgREST sends.
async fn table() -> Client {
    let statements = format!(
        "create function is_price(price bigint) returns boolean language plpgsql immutable as $$
         begin
            if price < 0 then
                raise numeric_value_out_of_range using message = 'a price is not negative';
            end if;
            return true;
         end $$;
         create table articles (
            id bigint primary key, name text default 'unnamed',
            price bigint check (is_price(price)), note text
         );
         insert into articles
         select i, 'stored ' || i, 7, 'stored note ' || i from generate_series(1, {STORED}) i"
    );
    capped::client(&statements).await
}

#[tokio::test]
async fn poison_rows_are_named_and_all_others_are_written() {
    let client = table().await;
    let rows: Vec<Article> = (1..=ROWS).map(given).collect();
    let report = client.from::<Article>().upsert(&rows).await.unwrap();

    assert_eq!((report.rows, report.affected), (20_000, 19_997));
    assert_eq!(report.written(), 19_997);
    let mut failed: Vec<i64> = Vec::new();
    for failure in &report.failed {
        let error = &failure.error;
        assert_eq!(error.sqlstate(), Some("22003"), "{error}");
        assert_eq!(error.message(), "a price is not negative");
        failed.push(rows.get(failure.index).unwrap().id);
    }
    failed.sort_unstable();
    assert_eq!(failed, POISON);

    let stored: BTreeMap<i64, Article> = client
        .from::<Article>()
        .keyset(Article::ID.asc())
        .stream()
        .map_ok(|row| (row.id, row))
        .try_collect()
        .await
        .unwrap();
    for id in 1..=ROWS {
        assert_eq!(stored.get(&id), expected(id).as_ref(), "row {id}");
    }
}
