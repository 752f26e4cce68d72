//! The features of PostgREST on a live server: a small shop.
//!
//! The differences between the embedded server and PostgREST are in `otherwise.rs`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sluice_sdk::{
    Client, Column, Count, Function, Search, Select, Table, Tristate, all, any, col,
    query::{Embedding, Expression, Selection},
    schema::Range,
};

use crate::capped::{self, SCHEMA};

#[derive(Debug, PartialEq, Deserialize, Table)]
#[table(name = "shops")]
pub(crate) struct Shop {
    #[table(primary_key)]
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) city: Option<String>,
}

#[derive(Debug, Deserialize, Table)]
#[table(name = "goods")]
#[expect(dead_code, reason = "the table's type has its columns, read or not")]
pub(crate) struct Good {
    #[table(primary_key)]
    pub(crate) id: i64,
    pub(crate) shop_id: Option<i64>,
    pub(crate) name: String,
    pub(crate) pieces: i32,
    pub(crate) tags: Vec<String>,
    pub(crate) ages: Option<String>,
    pub(crate) meta: Option<Value>,
    pub(crate) sold_at: Option<Timestamp>,
    pub(crate) note: Option<String>,
}

impl Good {
    /// The function `shout(goods)`.
    pub(crate) const SHOUT: Column<Self, String> = Column::new("shout");
    /// `ages` is an `int4range`, which is read as text and compared as a range.
    fn ages() -> Column<Self, Range<i32>, sluice_sdk::schema::Nullable> {
        Self::AGES.typed()
    }
}

#[derive(Debug, PartialEq, Deserialize, Select)]
#[select(from = Good)]
struct Id {
    id: i64,
}

/// Only in the schema `attic`.
#[derive(Debug, PartialEq, Serialize, Deserialize, Table)]
#[table(name = "things", schema = "attic")]
struct Thing {
    #[table(primary_key)]
    id: i64,
    label: Option<String>,
}

/// The shop, and a client of it.
pub(crate) async fn shop() -> Client {
    static FIRST: tokio::sync::Mutex<bool> = tokio::sync::Mutex::const_new(true);
    let mut first = FIRST.lock().await;
    if *first {
        capped::run(&format!(
            "create table shops (id bigint primary key, name text not null, city text);
             create table goods (
                 id bigint primary key, shop_id bigint references shops, name text not null,
                 pieces int not null, tags text[] not null default '{{}}', ages int4range,
                 meta jsonb, sold_at timestamptz, note text
             );
             create function shout(goods) returns text language sql stable
                 as 'select upper($1.name)';
             create function add(a int, b int) returns int language sql immutable
                 as 'select a + b';
             create function cheap(most int) returns setof goods language sql stable
                 as 'select * from goods where pieces <= most';
             create function first_shop(after bigint) returns shops language sql stable
                 as 'select * from shops where id >= after order by id limit 1';
             create function forget() returns void language sql as '';
             create schema if not exists {SCHEMA};
             create table {SCHEMA}.things (id bigint primary key, label text);
             grant usage on schema {SCHEMA} to service_role;
             grant all on all tables in schema {SCHEMA} to service_role;
             insert into {SCHEMA}.things values (7, 'a lamp')"
        ))
        .await;
    }
    *first = false;
    capped::client(
        "truncate goods, shops;
         insert into shops values (1, 'Tools, (old)', 'Oslo'), (2, 'Books', null), (3, 'Bare', null);
         insert into goods values
         (1, 1, 'saw', 3, '{sharp,\"a b\"}', '[1,9)', '{\"n\": 1, \"deep\": {\"key\": \"x\"}}',
          '2026-01-01T12:00:00Z', null),
         (2, 1, 'plane', 7, '{}', '[5,20)', '{\"n\": 2, \"list\": [4, 5]}', null,
          'flat, and heavy in the rain'),
         (3, 2, 'atlas', 1, '{paper}', null, null, null, 'maps of heavy weather, raining'),
         (4, null, 'stray', 0, '{}', null, null, null, null)",
    )
    .await
}

/// One at a time: they share the shop.
pub(crate) static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

async fn ids(db: &Client, filter: sluice_sdk::Filter<Good>) -> Vec<i64> {
    let read = db.from::<Good>().select::<Id>().filter(filter);
    let rows = read.order(Good::ID.asc()).await.unwrap();
    rows.into_iter().map(|row| row.id).collect()
}

#[tokio::test]
async fn every_kind_of_filter_finds_its_rows() {
    let _turn = TURN.lock().await;
    let db = shop().await;
    let meta = || Good::META;
    let filters = [
        (Good::PIECES.gte(3), vec![1, 2]),
        (Good::PIECES.lt(any([1, 2])), vec![3, 4]),
        (Good::PIECES.gt(all([1, 2])), vec![1, 2]),
        (Good::PIECES.eq(any([7, 0])), vec![2, 4]),
        (
            Good::NAME.neq("saw").and(Good::NAME.lte("plane")),
            vec![2, 3],
        ),
        (Good::NAME.like(any(["%aw", "%as"])), vec![1, 3]),
        (Good::NAME.ilike(all(["%A%", "%S%"])), vec![1, 3, 4]),
        (Good::NAME.matches("^.a"), vec![1]),
        (Good::NAME.imatches("^PL"), vec![2]),
        (Good::NAME.starts_with("st"), vec![4]),
        (Good::NOTE.contains_text(", and"), vec![2]),
        (Good::SHOP_ID.is_null(), vec![4]),
        (Good::NOTE.is_distinct("x"), vec![1, 2, 3, 4]),
        (!Good::ID.in_([1, 2]), vec![3, 4]),
        (!(Good::ID.eq(1).or(Good::ID.eq(2))), vec![3, 4]),
        (Good::TAGS.contains(["a b"]), vec![1]),
        (Good::TAGS.contained_by(["paper", "ink"]), vec![2, 3, 4]),
        (Good::TAGS.overlaps(["paper", "sharp"]), vec![1, 3]),
        (Good::ages().overlaps(8..10), vec![1, 2]),
        (Good::ages().contains(1..3), vec![1]),
        (Good::ages().contained_by(0..10), vec![1]),
        (Good::ages().strictly_left_of(15..30), vec![1]),
        (Good::ages().strictly_right_of(0..5), vec![2]),
        (Good::ages().not_right_of(0..9), vec![1]),
        (Good::ages().not_left_of(5..6), vec![2]),
        (Good::ages().adjacent_to(20..30), vec![2]),
        (meta().contains(json!({"n": 1})), vec![1]),
        (meta().key("n").typed::<i64>().gt(1), vec![2]),
        (meta().key("deep").text("key").eq("x"), vec![1]),
        (meta().key("list").text_at(-1).eq("5"), vec![2]),
        (
            Good::NOTE.search(Search::query("heavy & rain").config("english")),
            vec![2, 3],
        ),
        (
            Good::NOTE.search(Search::plain("heavy rain").config("english")),
            vec![2, 3],
        ),
        (
            Good::NOTE.search(Search::phrase("heavy weather").config("english")),
            vec![3],
        ),
        (
            Good::NOTE.search(Search::web("heavy -maps").config("english")),
            vec![2],
        ),
        (
            Good::NOTE.search(Search::web("raining").config("simple")),
            vec![3],
        ),
    ];
    for (filter, expected) in filters {
        let shown = filter.to_string();
        assert_eq!(ids(&db, filter).await, expected, "{shown}");
    }
}

#[tokio::test]
async fn counts_work_with_rows_and_without_and_in_three_ways() {
    let _turn = TURN.lock().await;
    let db = shop().await;
    let counted = db.from::<Good>().filter(Good::PIECES.gt(0));
    assert_eq!(counted.clone().count_rows(Count::Exact).await.unwrap(), 3);
    let page = counted.limit(1).count(Count::Exact).page().await.unwrap();
    assert_eq!((page.rows.len(), page.total), (1, Some(3)));
    for count in [Count::Planned, Count::Estimated] {
        assert!(db.from::<Good>().count_rows(count).await.unwrap() > 0);
    }
    let error = db.table("nowhere").count_rows(Count::Exact).await;
    assert_eq!(error.unwrap_err().status().unwrap(), 404);
}

#[tokio::test]
async fn rows_are_read_as_csv_without_nulls_and_singly() {
    let _turn = TURN.lock().await;
    let db = shop().await;
    let read = || db.from::<Shop>().order(Shop::ID.asc());
    let csv = read().csv().await.unwrap();
    assert_eq!(csv.lines().nth(1), Some("1,\"Tools, (old)\",Oslo"));
    let stripped = db.table("shops").filter(col("id").eq(2)).nulls_stripped();
    assert_eq!(stripped.await.unwrap(), [json!({"id": 2, "name": "Books"})]);
    let one = |id| read().filter(Shop::ID.eq(id));
    assert_eq!(one(1).single().await.unwrap().city.as_deref(), Some("Oslo"));
    assert!(one(9).single().await.unwrap_err().is_not_found());
    assert_eq!(one(9).maybe_single().await.unwrap(), None);
    assert!(read().single().await.unwrap_err().is_row_count());
    assert!(read().maybe_single().await.unwrap_err().is_row_count());
}

#[derive(Debug, Deserialize, Select)]
#[select(from = Good)]
struct Tally {
    shop_id: Option<i64>,
    #[select(count)]
    goods: i64,
    #[select(column = pieces, aggregate = "sum")]
    total: i64,
    #[select(column = pieces, aggregate = "avg", cast = "float8")]
    mean: f64,
    #[select(column = pieces, aggregate = "max")]
    most: i32,
}

#[tokio::test]
async fn groups_are_aggregated() {
    let _turn = TURN.lock().await;
    let db = shop().await;
    let read = db.from::<Good>().select::<Tally>();
    let rows = read
        .filter(Good::SHOP_ID.is_not_null())
        .order(Good::SHOP_ID.asc());
    let first = &rows.await.unwrap()[0];
    assert_eq!((first.shop_id, first.goods, first.total), (Some(1), 2, 10));
    assert_eq!((first.mean, first.most), (5.0, 7));
    let least = Selection::new()
        .column(Good::PIECES.min())
        .column(Expression::row_count().alias("n"));
    let whole = db.from::<Good>().selection(least).rows::<Value>();
    assert_eq!(whole.await.unwrap(), [json!({"min": 0, "n": 4})]);
}

#[derive(Debug, Deserialize, Select)]
#[select(from = Good)]
struct Housed {
    id: i64,
    shout: String,
    #[select(column = pieces, cast = "text")]
    pieces: String,
    #[select(column = meta, json_text = ["deep", "key"])]
    key: Option<String>,
    #[select(embed, relation = "shops")]
    home: Option<Shop>,
}

#[derive(Debug, Deserialize, Select)]
#[select(from = Shop)]
struct Stocked {
    id: i64,
    #[select(embed)]
    goods: Vec<Id>,
}

#[derive(Debug, Deserialize, Select)]
#[select(from = Shop)]
struct StockedOnly {
    id: i64,
    #[select(embed, inner)]
    goods: Vec<Id>,
}

#[derive(Debug, Deserialize, Select)]
#[select(from = Shop)]
struct City {
    city: Option<String>,
}

#[derive(Debug, Deserialize, Select)]
#[select(from = Good)]
struct Spread {
    id: i64,
    #[select(spread)]
    #[serde(flatten)]
    shop: City,
}

#[tokio::test]
async fn related_rows_are_embedded_filtered_ordered_and_limited() {
    let _turn = TURN.lock().await;
    let db = shop().await;
    let rows = db.from::<Good>().select::<Housed>().order(Good::ID.asc());
    let rows = rows.await.unwrap();
    let first = &rows[0];
    assert_eq!(
        (first.id, first.shout.as_str(), first.pieces.as_str()),
        (1, "SAW", "3")
    );
    assert_eq!(first.key.as_deref(), Some("x"));
    assert_eq!(first.home.as_ref().unwrap().name, "Tools, (old)");
    assert!(rows[3].home.is_none());

    let latest = Stocked::GOODS
        .filter(Good::PIECES.gt(0))
        .order(Good::ID.desc());
    let read = db.from::<Shop>().select::<Stocked>().order(Shop::ID.asc());
    let shops = read.embed(latest.limit(1)).await.unwrap();
    let goods: Vec<Vec<i64>> = shops
        .iter()
        .map(|shop| shop.goods.iter().map(|good| good.id).collect())
        .collect();
    assert_eq!(goods, [vec![2], vec![3], vec![]]);
    let paper = StockedOnly::GOODS.filter(Good::TAGS.contains(["paper"]));
    let shops = db.from::<Shop>().select::<StockedOnly>().embed(paper).await;
    let shops = shops.unwrap();
    assert_eq!((shops.len(), shops[0].id, shops[0].goods[0].id), (1, 2, 3));

    let saw_or_heavy = Good::NAME
        .eq("saw")
        .or(!Good::PIECES.lt(5).and(Good::PIECES.gt(0)));
    let read = db.from::<Shop>().select::<Stocked>().order(Shop::ID.asc());
    let shops = read
        .embed(Stocked::GOODS.filter(saw_or_heavy))
        .await
        .unwrap();
    assert_eq!((shops[0].goods.len(), shops[1].goods.len()), (2, 0));

    let none = db
        .from::<Shop>()
        .select::<Stocked>()
        .filter(Stocked::GOODS.is_null());
    let none = none.await.unwrap();
    assert_eq!((none.len(), none[0].id), (1, 3));
    let by_shop = Housed::HOME.by(Shop::NAME.asc().nulls_last());
    let rows = db
        .from::<Good>()
        .select::<Housed>()
        .order((by_shop, Good::ID.desc()));
    let order: Vec<i64> = rows.await.unwrap().iter().map(|row| row.id).collect();
    assert_eq!(order, [3, 2, 1, 4]);
    let spread = db.from::<Good>().select::<Spread>().filter(Good::ID.eq(1));
    let spread = spread.single().await.unwrap();
    assert_eq!((spread.id, spread.shop.city.as_deref()), (1, Some("Oslo")));
    let by_hand = Selection::new().column(Good::SHOUT).embed(
        Embedding::of("shops", Selection::new().all())
            .alias("at")
            .left(),
    );
    let row = db
        .from::<Good>()
        .selection(by_hand)
        .rows::<Value>()
        .limit(1);
    assert!(row.await.unwrap()[0]["at"].is_object());
}

#[derive(Serialize, Function)]
#[function(name = "add", returns = i64, read_only)]
struct Add {
    a: i64,
    b: i64,
}

#[derive(Serialize, Function)]
#[function(name = "cheap", returns = Vec<Good>, read_only)]
struct Cheap {
    most: i32,
}

#[derive(Serialize, Function)]
#[function(name = "first_shop", returns = Option<Shop>, read_only)]
struct FirstShop {
    after: i64,
}

#[derive(Serialize, Function)]
#[function(name = "forget")]
struct Forget;

#[tokio::test]
async fn functions_return_scalars_rows_sets_and_nothing() {
    let _turn = TURN.lock().await;
    let db = shop().await;
    assert_eq!(db.rpc(Add { a: 1, b: 2 }).await.unwrap(), 3);
    assert_eq!(db.rpc(Add { a: 1, b: 2 }).get().await.unwrap(), 3);
    db.rpc(Forget).await.unwrap();
    let shop = db.rpc(FirstShop { after: 2 }).await.unwrap();
    assert_eq!(shop.map(|shop| shop.name).as_deref(), Some("Books"));
    assert_eq!(db.rpc(FirstShop { after: 9 }).await.unwrap(), None);
    let cheap = || db.rpc(Cheap { most: 3 }).filter(Good::ID.neq(4));
    let page = cheap()
        .order(Good::PIECES.desc())
        .limit(1)
        .count(Count::Exact);
    let page = page.page().await.unwrap();
    assert_eq!((page.rows[0].name.as_str(), page.total), ("saw", Some(2)));
    let ids = cheap().order(Good::ID.asc()).select::<Id>().await.unwrap();
    assert_eq!(ids, [Id { id: 1 }, Id { id: 3 }]);
}

#[derive(Default, Serialize)]
struct GoodPatch {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Tristate::is_absent")]
    note: Tristate<String>,
}

#[tokio::test]
async fn columns_are_set_left_and_set_to_null() {
    let _turn = TURN.lock().await;
    let db = shop().await;
    let note = async |id: i64| {
        let row = db.from::<Good>().filter(Good::ID.eq(id)).single().await;
        let row = row.unwrap();
        (row.name, row.note)
    };
    let set = db
        .from::<Good>()
        .update()
        .set(Good::NOTE, None)
        .set(Good::NAME, "plane 2");
    assert_eq!(set.filter(Good::ID.eq(2)).await.unwrap(), 1);
    assert_eq!(note(2).await, ("plane 2".to_owned(), None));

    let left = GoodPatch {
        name: Some("atlas 2".to_owned()),
        ..GoodPatch::default()
    };
    let update = db
        .from::<Good>()
        .update()
        .patch(&left)
        .filter(Good::ID.eq(3));
    assert_eq!(update.await.unwrap(), 1);
    assert!(note(3).await.1.is_some());
    let null = GoodPatch {
        note: Tristate::Null,
        ..GoodPatch::default()
    };
    let update = db
        .from::<Good>()
        .update()
        .patch(&null)
        .filter(Good::ID.eq(3));
    let row = update.returning::<Good>().single().await.unwrap();
    assert_eq!((row.name.as_str(), row.note), ("atlas 2", None));
    let nobody = db
        .from::<Good>()
        .update()
        .set(Good::PIECES, 1)
        .filter(Good::ID.eq(99));
    assert_eq!(
        nobody
            .returning::<Good>()
            .maybe_single()
            .await
            .unwrap()
            .map(|it| it.id),
        None
    );
}

#[tokio::test]
async fn a_change_of_too_many_rows_is_refused_and_undone() {
    let _turn = TURN.lock().await;
    let db = shop().await;
    let change = db
        .from::<Good>()
        .update()
        .set(Good::PIECES, 100)
        .filter(Good::ID.gt(0));
    let error = change.max_affected(3).await.unwrap_err();
    assert_eq!(error.pgrst_code(), Some("PGRST124"));
    assert!(ids(&db, Good::PIECES.eq(100)).await.is_empty());
    let delete = db.from::<Good>().delete().filter(Good::PIECES.lt(2));
    assert_eq!(delete.max_affected(2).await.unwrap(), 2);
}

#[tokio::test]
async fn another_schema_is_read_and_written() {
    let _turn = TURN.lock().await;
    let db = shop().await;
    let lamp = db.from::<Thing>().filter(Thing::ID.eq(7)).single().await;
    assert_eq!(lamp.unwrap().label.as_deref(), Some("a lamp"));
    let untyped = db
        .table("things")
        .schema(SCHEMA)
        .count_rows(Count::Exact)
        .await;
    assert_eq!(untyped.unwrap(), 1);
    let row = Thing { id: 8, label: None };
    let insert = db.from::<Thing>().insert_one(&row).returning::<Thing>();
    assert_eq!(insert.await.unwrap().id, 8);
    let delete = db.from::<Thing>().delete().filter(Thing::ID.eq(8));
    assert_eq!(delete.await.unwrap(), 1);
    let error = db.table("things").schema("cellar").await.unwrap_err();
    assert!(error.is_schema_missing());
}
