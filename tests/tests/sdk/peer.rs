//! Compares the SDK with the crate `postgrest`. On benign input both send equivalent requests. On
//! hostile input, only the SDK's are safe.

use std::panic::{AssertUnwindSafe, catch_unwind};

use percent_encoding::percent_decode_str;
use postgrest::{Builder, Postgrest};
use serde_json::{Value, json};
use sluice_sdk::{
    Client, Count, Error, Offline, Search, Table, col,
    query::{Call, Embedding, Selection, TableRef, relation},
    schema::Range,
};

#[derive(Table)]
#[table(name = "posts")]
#[expect(dead_code, reason = "only its columns are used")]
struct Post {
    #[table(primary_key)]
    id: i64,
    text: String,
    url: Option<String>,
    done: Option<bool>,
    tags: Vec<String>,
    during: Range<i64>,
}

/// The meaning of a request, in one spelling. What a write returns is left out: `postgrest` always
/// requests the rows, the SDK their number. So is `columns`, which `postgrest` does not send.
#[derive(Debug, PartialEq)]
struct Asked {
    method: String,
    path: String,
    /// Sorted, decoded, without the quotes that benign values do not need, and with `*` for `%`,
    /// which mean the same to PostgREST in a pattern.
    params: Vec<(String, String)>,
    /// The first row and the number of rows.
    window: (u64, Option<u64>),
    accept: String,
    profile: Option<String>,
    /// Sorted.
    preferences: Vec<String>,
    body: Value,
}

impl Asked {
    fn of(call: &Call) -> Self {
        let request = &call.request;
        let is_read = request.method() == http::Method::GET;
        let header = |name: &str| {
            let value = request.headers().get(name)?;
            Some(value.to_str().unwrap().to_owned())
        };
        let mut params: Vec<_> = request
            .uri()
            .query()
            .unwrap_or_default()
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (decoded(name), decoded(value)))
            .filter(|(name, _)| name != "columns")
            .collect();
        let window = window(&mut params, header("range").as_deref());
        params.sort();
        let preferences = header("prefer").unwrap_or_default();
        let mut preferences: Vec<String> = preferences
            .split(',')
            .filter(|preference| preference.starts_with("resolution") || is_read)
            .map(str::to_owned)
            .collect();
        preferences.sort();
        Self {
            method: request.method().to_string(),
            path: request.uri().path().to_owned(),
            params,
            window,
            accept: header("accept").unwrap(),
            profile: header("accept-profile").or(header("content-profile")),
            preferences,
            body: serde_json::from_slice(request.body()).unwrap_or(Value::Null),
        }
    }
}

fn decoded(text: &str) -> String {
    let spaced = text.replace('+', " ");
    let text = percent_decode_str(&spaced).decode_utf8().unwrap();
    text.replace('"', "").replace('%', "*")
}

/// Which rows of the result are requested: the SDK uses parameters, `postgrest` a header.
fn window(params: &mut Vec<(String, String)>, range: Option<&str>) -> (u64, Option<u64>) {
    if let Some((first, last)) = range.and_then(|range| range.split_once('-')) {
        let (first, last): (u64, u64) = (first.parse().unwrap(), last.parse().unwrap());
        return (first, Some(last - first + 1));
    }
    let mut take = |wanted: &str| {
        let at = params.iter().position(|(name, _)| name == wanted)?;
        params.remove(at).1.parse().ok()
    };
    (take("offset").unwrap_or(0), take("limit"))
}

fn theirs() -> Builder {
    Postgrest::new("http://peer").from("posts")
}

/// A query of `postgrest` as the SDK takes it over.
fn taken_over(query: Builder) -> Call {
    let client = Client::builder().postgrest_url("http://ours").build();
    client.unwrap().run::<Value>(query).call().unwrap()
}

fn same(theirs: Builder, ours: Result<Call, Error>) {
    assert_eq!(Asked::of(&taken_over(theirs)), Asked::of(&ours.unwrap()));
}

fn ours() -> TableRef<sluice_sdk::schema::Any, Value, Offline> {
    Offline::default().table("posts")
}

type Filter = sluice_sdk::Filter<sluice_sdk::schema::Any>;

fn comparisons() -> Vec<(Builder, sluice_sdk::Filter<Post>)> {
    let tags = || vec!["a".to_owned(), "b".to_owned()];
    vec![
        (theirs().eq("text", "a b"), Post::TEXT.eq("a b")),
        (theirs().neq("id", "7"), Post::ID.neq(7)),
        (theirs().gt("id", "-7"), Post::ID.gt(-7)),
        (theirs().gte("id", "7"), Post::ID.gte(7)),
        (theirs().lt("id", "7"), Post::ID.lt(7)),
        (theirs().lte("id", "7"), Post::ID.lte(7)),
        (theirs().like("text", "%é_"), Post::TEXT.like("%é_")),
        (theirs().ilike("text", "a%"), Post::TEXT.ilike("a%")),
        (theirs().is("url", "null"), Post::URL.is_null()),
        (theirs().not("is", "url", "null"), !Post::URL.is_null()),
        (theirs().is("done", "true"), Post::DONE.is_true()),
        (theirs().not("eq", "id", "7"), !Post::ID.eq(7)),
        (theirs().in_("id", ["1", "2"]), Post::ID.in_([1, 2])),
        (
            theirs().in_("text", ["a b", "ü"]),
            Post::TEXT.in_(["a b", "ü"]),
        ),
        (theirs().cs("tags", "{a,b}"), Post::TAGS.contains(tags())),
        (
            theirs().cd("tags", "{a,b}"),
            Post::TAGS.contained_by(tags()),
        ),
        (theirs().ov("tags", "{a,b}"), Post::TAGS.overlaps(tags())),
    ]
}

fn ranges_searches_and_trees() -> Vec<(Builder, sluice_sdk::Filter<Post>)> {
    let range = || Range {
        lower: std::ops::Bound::Excluded(1),
        upper: std::ops::Bound::Excluded(9),
    };
    vec![
        (
            theirs().sl("during", (1, 9)),
            Post::DURING.strictly_left_of(range()),
        ),
        (
            theirs().sr("during", (1, 9)),
            Post::DURING.strictly_right_of(range()),
        ),
        (
            theirs().nxr("during", (1, 9)),
            Post::DURING.not_right_of(range()),
        ),
        (
            theirs().nxl("during", (1, 9)),
            Post::DURING.not_left_of(range()),
        ),
        (
            theirs().adj("during", (1, 9)),
            Post::DURING.adjacent_to(range()),
        ),
        (
            theirs().fts("text", "a & b", None),
            Post::TEXT.search(Search::query("a & b")),
        ),
        (
            theirs().plfts("text", "a b", Some("english")),
            Post::TEXT.search(Search::plain("a b").config("english")),
        ),
        (
            theirs().phfts("text", "a b", None),
            Post::TEXT.search(Search::phrase("a b")),
        ),
        (
            theirs().wfts("text", "a -b", None),
            Post::TEXT.search(Search::web("a -b")),
        ),
        (
            theirs().or("id.eq.1,and(id.gt.5,url.not.is.null)"),
            Post::ID.eq(1).or(Post::ID.gt(5).and(!Post::URL.is_null())),
        ),
        (
            // At the top level, parameters are joined by "and", so the SDK needs no tree.
            theirs().gt("id", "1").lt("id", "5"),
            Post::ID.gt(1).and(Post::ID.lt(5)),
        ),
    ]
}

#[test]
fn filters_of_both_are_equivalent() {
    for (theirs, ours) in comparisons().into_iter().chain(ranges_searches_and_trees()) {
        same(theirs, self::ours().filter(Filter::untyped(ours)).call());
    }
}

#[test]
fn columns_orders_and_windows_are_equivalent() {
    let columns = Selection::new()
        .column(col("id"))
        .column(col("text").alias("body"));
    same(
        theirs().select("id,body:text").eq("id", "1"),
        ours().selection(columns).filter(col("id").eq(1)).call(),
    );
    let names = Selection::new().column(col("name"));
    let authors = Selection::new()
        .all()
        .embed(Embedding::of("authors", names));
    same(
        theirs()
            .select("*,authors(name)")
            .order_with_options("name", Some("authors"), false, true)
            .foreign_table_limit(2, "authors"),
        ours()
            .selection(authors)
            .embed(
                relation("authors")
                    .order(col("name").desc().nulls_first())
                    .limit(2),
            )
            .call(),
    );
    same(
        theirs().select("most:id.max()"),
        ours()
            .selection(Selection::new().column(col("id").max().alias("most")))
            .call(),
    );
    same(
        theirs().order("id.desc,text.asc.nullsfirst").limit(20),
        ours()
            .order((col("id").desc(), col("text").asc().nulls_first()))
            .limit(20)
            .call(),
    );
    same(theirs().range(5, 9), ours().offset(5).limit(5).call());
    // Their count requests one row too.
    same(
        theirs().exact_count(),
        ours().limit(1).count(Count::Exact).call(),
    );
}

#[test]
fn writes_and_calls_are_equivalent() {
    let rows = [json!({"id": 1, "text": "a"}), json!({"id": 2, "text": "b"})];
    let body = Value::from(rows.to_vec()).to_string();
    let only = |calls: Result<Vec<Call>, Error>| calls.map(|mut calls| calls.remove(0));
    same(theirs().insert(&body), only(ours().insert(&rows).calls()));
    same(
        theirs().upsert(&body).on_conflict("id"),
        only(ours().upsert(&rows).on_conflict(col("id")).calls()),
    );
    same(
        theirs().eq("id", "1").update(r#"{"text":"c"}"#),
        ours()
            .update()
            .patch(&json!({"text": "c"}))
            .filter(col("id").eq(1))
            .call(),
    );
    same(
        theirs().lt("id", "1").delete(),
        ours().delete().filter(col("id").lt(1)).call(),
    );
    same(
        Postgrest::new("http://peer").rpc("add", r#"{"a":1,"b":2}"#),
        Offline::default()
            .rpc_by_name("add", &json!({"a": 1, "b": 2}))
            .call(),
    );
    same(
        Postgrest::new("http://peer")
            .schema("private")
            .from("posts")
            .delete()
            .eq("id", "1"),
        ours()
            .schema("private")
            .delete()
            .filter(col("id").eq(1))
            .call(),
    );
}

#[test]
fn postgrest_splits_a_value_at_its_comma() {
    let uri = |values: &[&str]| {
        taken_over(theirs().in_("text", values))
            .request
            .uri()
            .clone()
    };
    assert_eq!(uri(&["a,b"]), uri(&["a", "b"]));
    let ours = |values: &[&str]| {
        let call = ours()
            .filter(col("text").in_(values.iter().copied()))
            .call();
        call.unwrap().request.uri().clone()
    };
    assert_ne!(ours(&["a,b"]), ours(&["a", "b"]));
}

#[test]
fn postgrest_drops_other_preferences_for_a_count() {
    let prefer = |query| taken_over(query).request.headers()["prefer"].clone();
    let upsert = || theirs().upsert("[]");
    assert_eq!(
        prefer(upsert()),
        "return=representation,resolution=merge-duplicates"
    );
    assert_eq!(prefer(upsert().exact_count()), "count=exact");
}

#[test]
fn panics_of_postgrest_are_errors_or_requests_of_the_sdk() {
    let panics =
        |query: fn() -> Builder| catch_unwind(AssertUnwindSafe(|| drop(query().build()))).is_err();
    assert!(panics(|| theirs().auth("a\nb")));
    assert!(panics(|| Postgrest::new("http://peer")
        .schema("a\nb")
        .from("t")));
    // Without overflow checks it requests the rows 0 to 18446744073709551615 instead.
    #[cfg(debug_assertions)]
    assert!(panics(|| theirs().limit(0)));

    assert!(ours().schema("a\nb").limit(1).call().is_err());
    let client = Client::builder()
        .postgrest_url("http://ours")
        .build()
        .unwrap();
    assert!(client.as_user(&"a\nb".into()).is_err());
    assert_eq!(
        ours().limit(0).call().unwrap().request.uri(),
        "/posts?limit=0"
    );
}
