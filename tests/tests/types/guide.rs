//! The code of docs/types.md compiles with the types of our migrations, and sends what the guide says.

use sluice_runner::db as database;
use sluice_sdk::testing::{Fake, FakeResponse};
use sluice_sdk::{Client, Error, Tristate};
use sluice_tests::assert_shown;
use uuid::Uuid;

#[test]
fn every_block_of_the_guide_stands_here() {
    assert_shown(
        include_str!("../../../docs/types.md"),
        include_str!("guide.rs"),
    );
}

async fn shown(db: &Client, name: String, slug: String, id: Uuid) -> Result<usize, Error> {
    use database::{
        Neighborhoods, NeighborhoodsInsert, NeighborhoodsRequired, NeighborhoodsUpdate,
    };

    let heavy = db
        .from::<Neighborhoods>()
        .filter(Neighborhoods::WEIGHT_MODIFIER.gt(1.0))
        .await?;
    let row = NeighborhoodsInsert {
        is_active: Tristate::Value(false), // absent means the default
        ..NeighborhoodsRequired { name, slug }.into()
    };
    db.from::<Neighborhoods>().insert(&[row]).await?;
    let patch = NeighborhoodsUpdate {
        weight_modifier: Tristate::Null, // and the rest as it is
        ..NeighborhoodsUpdate::default()
    };
    db.from::<Neighborhoods>()
        .update()
        .patch(&patch)
        .filter(Neighborhoods::ID.eq(id))
        .await?;
    Ok(heavy.len())
}

#[tokio::test]
async fn what_is_left_out_is_not_sent() {
    let fake = Fake::new(|request| match request.method.as_str() {
        "GET" => FakeResponse::json(200, &serde_json::json!([])),
        _ => FakeResponse::affected(1),
    });
    let builder = Client::builder().postgrest_url("http://nobody");
    let db = builder.transport(fake.clone()).build().unwrap();
    let (name, slug) = ("Elm".to_owned(), "elm".to_owned());
    assert_eq!(shown(&db, name, slug, Uuid::nil()).await.unwrap(), 0);
    let bodies: Vec<String> = fake
        .requests()
        .into_iter()
        .filter_map(|request| request.body)
        .collect();
    assert_eq!(
        bodies,
        [
            r#"[{"name":"Elm","slug":"elm","is_active":false}]"#,
            r#"{"weight_modifier":null}"#
        ]
    );
}
