//! A schema of everything that is hard to name, to type or to lay out.

#[allow(
    dead_code,
    unreachable_pub,
    clippy::pedantic,
    reason = "what is compiled here is what the generator gives, used or not"
)]
mod generated;

use serde_json::json;
use sluice_runner::local::{LocalOptions, Server};
use sluice_runner::typegen::{Catalog, SdkFeature, TypegenOptions, generate};
use sluice_sdk::{Client, Tristate};

use crate::assert_current;
use generated::{
    Add2, Address, Bump, Cheered, Forget, Greet, Halves, Longest, Mood, Moods, Numbers, Posts,
    PostsInsert, PostsRequired, PostsUpdate, Spread, SpreadRow, TableRow, TableRowInsert,
    TableRowRequired,
};

pub(crate) const SCHEMA: &str = include_str!("schema.sql");

fn options() -> TypegenOptions {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    TypegenOptions {
        schemas: vec!["public".to_owned(), "Odd schema".to_owned()],
        only: names(&[]),
        exclude: names(&["excluded"]),
        nullable: names(&["cheered.feeling"]),
        not_null: names(&["moods.times", "add", "spread.n", "address.street"]),
        features: [SdkFeature::Bytes, SdkFeature::Pgvector].into(),
        ..TypegenOptions::default()
    }
}

/// A server with that schema.
pub(crate) async fn server() -> Server {
    let server = Server::start(&LocalOptions::default()).await.unwrap();
    run(&server, &format!("create extension vector; {SCHEMA}")).await;
    server
}

/// The server's result of the query for its catalog.
pub(crate) async fn catalog(server: &Server, query: &str) -> String {
    column(server, query, "catalog").await.unwrap()
}

/// Runs SQL and returns the column `json` of its last row, if there is one.
async fn run(server: &Server, sql: &str) -> Option<String> {
    column(server, sql, "json").await
}

async fn column(server: &Server, sql: &str, name: &str) -> Option<String> {
    let rows = server.sql(sql).await.unwrap();
    Some(rows.last()?.get(name)?.as_str()?.to_owned())
}

#[tokio::test]
async fn odd_schema_becomes_code_that_compiles() {
    let server = server().await;
    let query = Catalog::query(&options().schemas);
    let catalog = Catalog::from_rows(&server.sql(query).await.unwrap()).unwrap();
    assert_current("odd/generated.rs", &generate(&catalog, &options()).unwrap());
    server.stop().await;
}

/// PostgREST reads a body with Postgres's own functions from JSON and writes rows with those to JSON.
/// Here they are called by themselves: the embedded server takes no composite values and no arrays of
/// enums, and writes `numeric` as text.
#[tokio::test]
async fn values_have_the_types_of_their_json() {
    let server = server().await;
    let home = Address {
        street: "Elm \"St\", 5".to_owned(),
        zip_code: Some(97203),
        mood: Some(Mood::QuoTe),
        tags: Some(vec!["a,b".to_owned(), "{}".to_owned()]),
    };
    let insert = TableRowInsert {
        self_: Some(21),
        grosse: Some(1.5),
        mail: Some("somebody@example.com".to_owned()),
        home: Some(home.clone()),
        homes: Some(vec![home.clone()]),
        mood: Some(Mood::BackSlash),
        moods: Some(vec![Mood::VeryHappy, Mood::Unnamed]),
        keys: Some(vec![uuid::Uuid::nil()]),
        during: Some("[2026-01-01 00:00+00,)".to_owned()),
        day: "2026-05-01".parse().ok(),
        clock: "12:30:00.5".parse().ok(),
        span: Some("1 day".to_owned()),
        doc: Some(json!({"a": [1]})),
        raw: Some(vec![0, 255].into()),
        ip: Some("10.0.0.1".to_owned()),
        price: Some("$1,234.50".to_owned()),
        near: Some(vec![1.0, 2.0, 3.0].into()),
        flags: Some("101".to_owned()),
        transaction: Some(json!("7")),
        post: Some(Posts {
            id: 1,
            part: 2,
            note: None,
        }),
        ..TableRowRequired {
            r#type: "one".to_owned(),
            total: serde_json::Number::from(12),
            a_required_column_whose_name_goes_on_and_on_up_to_the_very_e: "x".to_owned(),
        }
        .into()
    };
    let body = serde_json::to_value(&insert).unwrap();
    let names = body.as_object().unwrap().keys();
    let columns: Vec<String> = names.map(|name| format!("\"{name}\"")).collect();
    let columns = columns.join(", ");
    let written = format!(
        "insert into \"table\" ({columns}) select {columns} from \
         json_populate_record(null::\"table\", $json${body}$json$); \
         select to_json(t)::text as json from \"table\" t"
    );
    let text = run(&server, &written).await.unwrap();
    let row: TableRow = serde_json::from_str(&text).unwrap();
    assert_eq!((row.id, row.doubled), (1, Some(42)));
    let at = "2026-05-01T12:00:00.123456Z".parse().unwrap();
    assert_eq!(row.created_at, at);
    assert_eq!(row.created_at_2, "2026-05-01T12:00:00".parse().ok());
    assert_eq!(row.total.as_f64(), Some(12.0));
    assert_eq!(row.small, Some(1));
    // All that was given comes back as it was.
    let read = serde_json::to_value(&row).unwrap();
    for (name, value) in body.as_object().unwrap() {
        if name != "total" && name != "during" {
            assert_eq!(&read[name], value, "{name}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn rows_are_inserted_updated_and_filtered_by_the_types() {
    let server = server().await;
    let db = client(&server);
    let post = |part| PostsInsert {
        note: Some("first".to_owned()),
        ..PostsRequired { id: 1, part }.into()
    };
    let report = db.from::<Posts>().insert(&[post(1), post(2)]).await;
    report.unwrap().into_result().unwrap();
    let patch = PostsUpdate {
        note: Tristate::Null,
        ..PostsUpdate::default()
    };
    let changed = db
        .from::<Posts>()
        .update()
        .patch(&patch)
        .filter(Posts::PART.eq(2))
        .returning::<Posts>()
        .await
        .unwrap();
    let second = Posts {
        id: 1,
        part: 2,
        note: None,
    };
    assert_eq!(changed, [second]);
    let noted = db.from::<Posts>().filter(Posts::NOTE.is_not_null()).await;
    assert_eq!(noted.unwrap().len(), 1);
    run(&server, INSERT_MOODS).await;
    let moods = db.from::<Moods>().filter(Moods::MOOD.eq(Mood::DongJing));
    assert_eq!(moods.await.unwrap()[0].times, 2);
    server.stop().await;
}

const INSERT_MOODS: &str = "insert into \"table\" (\"type\", total, mood, \
     a_required_column_whose_name_goes_on_and_on_up_to_the_very_edge) \
     values ('a', 1, '東京', ''), ('b', 1, '東京', ''), ('c', 1, 'type', '')";

#[tokio::test]
async fn functions_return_values_of_their_types() {
    let server = server().await;
    let db = client(&server);
    let greeting = Greet {
        name: None,
        order: None,
    };
    assert_eq!(
        db.rpc(greeting).await.unwrap().as_deref(),
        Some("hello you")
    );
    assert_eq!(db.rpc(Add2 { a: 1, b: 2 }).await.unwrap(), 3);
    assert_eq!(db.rpc(Cheered { feeling: None }).await.unwrap(), None);
    assert_eq!(db.rpc(Numbers {}).await.unwrap(), [1, 2]);
    let halves = db.rpc(Halves { whole: 7 }).await.unwrap();
    assert_eq!((halves.half, halves.rest), (Some(3), Some(1)));
    assert_eq!(db.rpc(Bump { n: 1 }).await.unwrap().n, Some(2));
    let even = db
        .rpc(Spread { until: 6 })
        .filter(SpreadRow::IS_EVEN.is_true())
        .order(SpreadRow::N.desc())
        .await
        .unwrap();
    let numbers: Vec<i32> = even.iter().map(|row| row.n).collect();
    assert_eq!(numbers, [6, 4, 2]);
    let at = "2026-05-01T12:00:00Z".parse().unwrap();
    db.rpc(Forget { at }).await.unwrap();
    let words = ["a", "c", "b"].map(str::to_owned).into();
    assert_eq!(
        db.rpc(Longest { words }).await.unwrap().as_deref(),
        Some("c")
    );
    server.stop().await;
}

fn client(server: &Server) -> Client {
    Client::builder()
        .supabase_url(server.url())
        .key(server.secret_key().clone())
        .build()
        .unwrap()
}
