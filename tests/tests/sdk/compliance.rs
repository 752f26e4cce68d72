//! What Supabase's clients can do with a database, one by one, done by this SDK. The cases are written out as
//! `sdk/compliance.yaml`: each with the code that ran here and the request that it made.
//!
//! The list and its names are those of Supabase's own capability matrix for databases.

use std::fmt::Write;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sluice_sdk::client::Http;
use sluice_sdk::query::{Embedding, Explain, RetryPolicy, Selection};
use sluice_sdk::schema::Range;
use sluice_sdk::testing::{Fake, FakeResponse, RecordedRequest, Recorder};
use sluice_sdk::{Client, Error, Search, Table, all, any, col};

use crate::capped;

const LONG: Duration = Duration::from_secs(60);

#[derive(Debug, Serialize, Deserialize, Table)]
#[table(name = "basket")]
struct Fruit {
    #[table(primary_key)]
    id: i64,
    name: Option<String>,
}

/// A feature of the matrix, and how postgrest-js has it.
struct Feature {
    id: &'static str,
    js: &'static str,
    rust: &'static str,
    /// Whether the embedded server can answer. If not, a fake does.
    live: bool,
    run: for<'a> fn(&'a Client) -> BoxFuture<'a, Result<(), Error>>,
}

macro_rules! features {
    ($($name:literal $js:literal $live:literal $db:ident => $code:expr;)*) => {
        [$(Feature {
            id: $name,
            js: $js,
            rust: stringify!($code),
            live: $live,
            run: |$db| Box::pin(async move { $code.await.map(drop) }),
        }),*]
    };
}

fn features() -> Vec<Feature> {
    let all_features = features![
        "database.query.select" ".select('id,name')" true db => db.table("basket").selection(Selection::new().column(col("id")).column(col("name")));
        "database.mutate.insert" ".insert(rows)" true db => db.table("basket").insert(&[json!({"id": 101}), json!({"id": 102})]);
        "database.mutate.upsert" ".upsert(rows, { onConflict: 'id' })" true db => db.table("basket").upsert(&[json!({"id": 101, "name": "fig"})]).on_conflict(col("id"));
        "database.mutate.update" ".update({ name: 'fig' }).eq('id', 101)" true db => db.table("basket").update().set(col("name"), "fig").filter(col("id").eq(101));
        "database.mutate.delete" ".delete().eq('id', 102)" true db => db.table("basket").delete().filter(col("id").eq(102));
        "database.query.rpc" ".rpc('ripe', { most: 3 })" true db => db.rpc_by_name("ripe", &json!({"most": 3}));
        "database.query.schema_selection" ".schema('public').from('basket')" true db => db.table("basket").schema("public").read();
        "database.using_filters.eq" ".eq('id', 1)" true db => db.table("basket").filter(col("id").eq(1));
        "database.using_filters.neq" ".neq('id', 1)" true db => db.table("basket").filter(col("id").neq(1));
        "database.using_filters.gt" ".gt('id', 1)" true db => db.table("basket").filter(col("id").gt(1));
        "database.using_filters.gte" ".gte('id', 1)" true db => db.table("basket").filter(col("id").gte(1));
        "database.using_filters.lt" ".lt('id', 1)" true db => db.table("basket").filter(col("id").lt(1));
        "database.using_filters.lte" ".lte('id', 1)" true db => db.table("basket").filter(col("id").lte(1));
        "database.using_filters.like" ".like('name', 'f%')" true db => db.table("basket").filter(col("name").like("f%"));
        "database.using_filters.like_all" ".likeAllOf('name', ['f%', '%g'])" true db => db.table("basket").filter(col("name").like(all(["f%", "%g"])));
        "database.using_filters.like_any" ".likeAnyOf('name', ['f%', '%g'])" true db => db.table("basket").filter(col("name").like(any(["f%", "%g"])));
        "database.using_filters.ilike" ".ilike('name', 'F%')" true db => db.table("basket").filter(col("name").ilike("F%"));
        "database.using_filters.ilike_all" ".ilikeAllOf('name', ['F%', '%G'])" true db => db.table("basket").filter(col("name").ilike(all(["F%", "%G"])));
        "database.using_filters.ilike_any" ".ilikeAnyOf('name', ['F%', '%G'])" true db => db.table("basket").filter(col("name").ilike(any(["F%", "%G"])));
        "database.using_filters.regex" ".regexMatch('name', '^f')" true db => db.table("basket").filter(col("name").matches("^f"));
        "database.using_filters.regex_icase" ".regexIMatch('name', '^F')" true db => db.table("basket").filter(col("name").imatches("^F"));
        "database.using_filters.is" ".is('name', null)" true db => db.table("basket").filter(col("name").is_null());
        "database.using_filters.is_distinct" ".isDistinct('name', 'fig')" true db => db.table("basket").filter(col("name").is_distinct("fig"));
        "database.using_filters.in" ".in('id', [1, 2])" true db => db.table("basket").filter(col("id").in_([1, 2]));
        "database.using_filters.not_in" ".notIn('id', [1, 2])" true db => db.table("basket").filter(!col("id").in_([1, 2]));
        "database.using_filters.contains" ".contains('tags', ['a'])" true db => db.table("basket").filter(col("tags").contains(["a"]));
        "database.using_filters.contained_by" ".containedBy('tags', ['a'])" true db => db.table("basket").filter(col("tags").contained_by(["a"]));
        "database.using_filters.range_gt" ".rangeGt('days', '[1,5)')" true db => db.table("basket").filter(col("days").typed::<Range<i32>>().strictly_right_of(1..5));
        "database.using_filters.range_gte" ".rangeGte('days', '[1,5)')" true db => db.table("basket").filter(col("days").typed::<Range<i32>>().not_left_of(1..5));
        "database.using_filters.range_lt" ".rangeLt('days', '[1,5)')" true db => db.table("basket").filter(col("days").typed::<Range<i32>>().strictly_left_of(1..5));
        "database.using_filters.range_lte" ".rangeLte('days', '[1,5)')" true db => db.table("basket").filter(col("days").typed::<Range<i32>>().not_right_of(1..5));
        "database.using_filters.range_adjacent" ".rangeAdjacent('days', '[1,5)')" true db => db.table("basket").filter(col("days").typed::<Range<i32>>().adjacent_to(1..5));
        "database.using_filters.overlaps" ".overlaps('days', '[1,5)')" true db => db.table("basket").filter(col("days").typed::<Range<i32>>().overlaps(1..5));
        "database.using_filters.text_search" ".textSearch('name', 'ripe fig', { type: 'websearch' })" true db => db.table("basket").filter(col("name").search(Search::web("ripe fig")));
        "database.using_filters.match" ".match({ id: 1, name: 'fig' })" true db => db.table("basket").filter(col("id").eq(1).and(col("name").eq("fig")));
        "database.using_filters.not" ".not('name', 'is', null)" true db => db.table("basket").filter(!col("name").is_null());
        "database.using_filters.or" ".or('id.eq.1,name.eq.fig')" true db => db.table("basket").filter(col("id").eq(1).or(col("name").eq("fig")));
        "database.using_filters.raw" ".filter('meta->>ripe', 'eq', 'yes')" true db => db.table("basket").filter(col("meta").text("ripe").eq("yes"));
        "database.mutate.select_after_mutation" ".insert(row).select()" true db => db.table("basket").insert_one(&json!({"id": 103})).returning_rows::<Fruit>();
        "database.using_modifiers.order" ".order('name', { ascending: false, nullsFirst: true })" true db => db.table("basket").order(col("name").desc().nulls_first());
        "database.using_modifiers.limit" ".limit(2)" true db => db.table("basket").limit(2);
        "database.using_modifiers.range" ".range(1, 2)" true db => db.table("basket").offset(1).limit(2);
        "database.using_modifiers.relationship_embed" ".select('id, sales(*)').order('day', { referencedTable: 'sales' })" true db => db.table("basket").selection(Selection::new().column(col("id")).embed(Embedding::of("sales", Selection::new().all()))).embed(sluice_sdk::query::relation("sales").order(col("day").desc()));
        "database.using_modifiers.request_cancellation" ".abortSignal(signal)" true db => async { tokio::time::timeout(LONG, db.table("basket").read()).await.unwrap() };
        "database.using_modifiers.single_row" ".eq('id', 1).single()" true db => db.table("basket").filter(col("id").eq(1)).single();
        "database.using_modifiers.maybe_single_row" ".eq('id', 0).maybeSingle()" true db => db.table("basket").filter(col("id").eq(0)).maybe_single();
        "database.using_modifiers.format_csv" ".csv()" true db => db.table("basket").read().csv();
        "database.using_modifiers.format_geojson" ".geojson()" false db => db.table("basket").read().geojson();
        "database.using_modifiers.explain" ".explain({ analyze: true })" false db => db.table("basket").read().explain(Explain::plan().analyze());
        "database.using_modifiers.dry_run" ".update({ name: null }).eq('id', 1).rollback()" false db => db.table("basket").update().set(col("name"), None::<String>).filter(col("id").eq(1)).dry_run();
        "database.using_modifiers.max_affected_rows" ".delete().eq('id', 103).maxAffected(1)" true db => db.table("basket").delete().filter(col("id").eq(103)).max_affected(1);
        "database.using_modifiers.strip_nulls" ".stripNulls()" true db => db.table("basket").read().nulls_stripped();
        "database.query.from_table" ".from('basket').select()" true db => db.table("basket").read();
        "database.configuration.auto_retry" ".retry(true)" true db => db.table("basket").read().retry(RetryPolicy::default());
        "database.configuration.request_timeout" "createClient(url, key, { db: { timeout: 60_000 } })" true db => db.table("basket").read().deadline(LONG);
    ];
    all_features.into()
}

async fn basket(recorder: &Recorder<Http>) -> Client {
    capped::run(
        "create table basket (
             id bigint primary key, name text, tags text[], days int4range, meta jsonb
         );
         create table sales (id bigint primary key, basket_id bigint references basket, day date);
         insert into basket values (1, 'fig', '{a}', '[1,5)', '{\"ripe\": \"yes\"}'), (2, null, '{}', null, null);
         create function ripe(most int) returns setof basket language sql stable
             as 'select * from basket where id <= most'",
    )
    .await;
    let builder = Client::builder().supabase_url(capped::url().await);
    let builder = capped::with_key(builder).await.transport(recorder.clone());
    builder.build().unwrap()
}

/// A server that can do what the embedded one cannot.
fn fake() -> (Client, Fake) {
    let fake = Fake::new(|request| match request.method.as_str() {
        "GET" if request.headers["accept"].contains("geo") => {
            FakeResponse::json(200, &json!({"type": "FeatureCollection", "features": []}))
        }
        "GET" => FakeResponse::json(200, &json!([])).header("preference-applied", "tx=rollback"),
        _ => FakeResponse::affected(1).header("preference-applied", "tx=rollback"),
    });
    let builder = Client::builder().postgrest_url("http://fake");
    (builder.transport(fake.clone()).build().unwrap(), fake)
}

#[tokio::test]
async fn every_feature_of_the_matrix_is_here() {
    let recorder = Recorder::new(Http::new().unwrap());
    let db = basket(&recorder).await;
    let (fake_db, fake) = fake();
    let mut out = String::from(
        "# The database features of Supabase's capability matrix, each with the code that does it here and the\n\
         # request that it made. Written by a test that ran them all: tests/tests/sdk/compliance.rs.\n\
         sdk: sluice-sdk\nfeatures:\n",
    );
    let features = features();
    assert_eq!(features.len(), 55);
    for feature in &features {
        let db = if feature.live { &db } else { &fake_db };
        let result = (feature.run)(db).await;
        result.unwrap_or_else(|error| panic!("{}: {error}", feature.id));
        let live = || recorder.exchanges().last().map(|it| it.request.clone());
        let request = if feature.live {
            live()
        } else {
            fake.requests().last().cloned()
        };
        entry(&mut out, feature, &request.unwrap());
    }
    assert_same_file(&out);
}

fn entry(out: &mut String, feature: &Feature, request: &RecordedRequest) {
    let text = |text: &str| Value::from(text).to_string();
    let rust = feature
        .rust
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    let line = format!("{} {}", request.method, request.path);
    for (key, value) in [
        ("  - id", feature.id),
        ("    supabase_js", feature.js),
        ("    rust", &rust),
        ("    request", &line),
    ] {
        writeln!(out, "{key}: {}", text(value)).unwrap();
    }
    if let Some(prefer) = request.headers.get("prefer") {
        writeln!(out, "    prefer: {}", text(prefer)).unwrap();
    }
    writeln!(out, "    status: implemented").unwrap();
}

fn assert_same_file(made: &str) {
    sluice_tests::assert_generated_file("sdk/compliance.yaml", made, "sdk");
}
