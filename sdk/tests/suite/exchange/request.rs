//! Requests: what the SDK makes means what was recorded.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sluice_sdk::{
    Aggregate, Any, Call, Comparison, Count, Handling, Offline, Range, Read, Search, Selection,
    TableRef, col, relation,
};

use super::exchange;
use crate::grammar::decode::{self, Param};

type Untyped = TableRef<Any, Value, Offline>;

fn table(name: &str) -> Untyped {
    Offline::default().table(name)
}

fn posts() -> Untyped {
    table("posts")
}

fn columns(names: &[&'static str]) -> Selection {
    names.iter().fold(Selection::new(), |selection, name| {
        selection.column(col(*name))
    })
}

fn called(read: &Read<Any, Value, Offline>) -> Call {
    read.call().unwrap()
}

/// Asserts that a call means what was recorded under `name`.
fn assert_same(name: &str, call: &Call) {
    let recorded = &exchange(name).request;
    assert_eq!(call.request.method().as_str(), recorded.method, "{name}");
    let (path, query) = recorded
        .path
        .split_once('?')
        .unwrap_or((&recorded.path, ""));
    assert_eq!(call.request.uri().path(), path, "{name}");
    let ours = meaning(call.request.uri().query().unwrap_or_default());
    assert_eq!(ours, meaning(query), "{name}: {}", call.request.uri());
    let recorded_body = recorded.body.as_deref().map(serde_json::from_str::<Value>);
    let body = call.request.body();
    let body = (!body.is_empty()).then(|| serde_json::from_slice::<Value>(body));
    assert_eq!(
        body.map(Result::unwrap),
        recorded_body.map(Result::unwrap),
        "{name}"
    );
    if let Some(accept) = recorded.headers.get("accept") {
        assert_eq!(call.request.headers()["accept"], accept, "{name}");
    }
    let ours = call
        .request
        .headers()
        .get("prefer")
        .map_or("", |value| value.to_str().unwrap());
    let preferences = |text: &str| text.split(',').map(str::to_owned).collect::<BTreeSet<_>>();
    let wanted = recorded
        .headers
        .get("prefer")
        .map_or_else(BTreeSet::new, |it| preferences(it));
    // The SDK always asks a write for its count, and for nothing back unless rows are wanted.
    assert!(
        wanted.is_subset(&preferences(ours)),
        "{name}: {ours:?} lacks some of {wanted:?}"
    );
}

/// The parameters in no order, lists of columns without the quoting of names.
fn meaning(query: &str) -> BTreeSet<String> {
    let params = decode::query(query).unwrap();
    let shown = |param: &Param| match param {
        Param::Other { name, value } => format!("{name}={}", value.replace(".asc", "")),
        Param::Filter { .. } => format!("{param:?}"),
    };
    params.iter().map(shown).collect()
}

#[test]
fn reads() {
    assert_same("read all columns", &called(&posts().limit(2)));
    let ordered = posts()
        .selection(columns(&["id", "body"]))
        .order(col("id").desc().nulls_last());
    assert_same(
        "select, order, limit, offset",
        &called(&ordered.limit(2).offset(3)),
    );
    for (name, count) in [
        ("count exact", Count::Exact),
        ("count planned", Count::Planned),
        ("count estimated", Count::Estimated),
    ] {
        assert_same(
            name,
            &called(&posts().selection(columns(&["id"])).limit(2).count(count)),
        );
    }
    let past = posts().selection(columns(&["id"])).offset(99);
    assert_same("range past the end", &called(&past));
    assert_same(
        "range past the end with count",
        &called(&past.count(Count::Exact)),
    );
    assert_same("empty result", &called(&posts().filter(col("id").eq(0))));
    let plan = posts()
        .selection(columns(&["id", "moved_to"]))
        .limit(2)
        .nulls_stripped();
    assert_same("nulls stripped", &called(&plan));
    assert_same("view", &called(&table("open_posts").limit(1)));
}

#[test]
fn filters() {
    let id = |limit| posts().selection(columns(&["id"])).limit(limit);
    let all = || posts().selection(columns(&["id"]));
    let slugs = table("neighborhoods").selection(columns(&["id", "slug"]));
    assert_same(
        "in list",
        &called(&slugs.filter(col("slug").in_(["arbor-lodge", "obrien"]))),
    );
    let names = table("neighborhoods").selection(columns(&["id"]));
    assert_same(
        "in list of names with reserved characters",
        &called(&names.filter(col("name").in_(["O\"Brien, (upper)", "St. Johns"]))),
    );
    let nested = col("id")
        .eq(1)
        .or(col("id").gt(28).and(col("status").eq("open")));
    assert_same("or with nested and", &called(&all().filter(nested)));
    let not = !(col("id").gte(3).and(col("id").lte(30)));
    assert_same("not and", &called(&all().filter(not)));
    assert_same(
        "array contains",
        &called(&id(2).filter(col("tags").contains(vec!["b c"]))),
    );
    assert_same("is null", &called(&id(2).filter(col("moved_to").is_null())));
    assert_same(
        "isdistinct",
        &called(&id(2).filter(col("moved_to").is_distinct(2))),
    );
    let search = Search::plain("number").config("english");
    assert_same(
        "full text",
        &called(&id(1).filter(col("body").search(search))),
    );
    assert_same("regex", &called(&id(2).filter(col("body").matches("1$"))));
    assert_same(
        "filter on missing column",
        &called(&posts().filter(col("nope").eq(1))),
    );
    assert_same(
        "bad value for type",
        &called(&posts().filter(col("id").eq("x"))),
    );
}

/// Said differently, with the same meaning to Postgres: a quoted bound of a range, `%` for `*`.
#[test]
fn filters_in_other_words() {
    let day = |day: &str| day.parse::<jiff::civil::Date>().unwrap();
    let during = Range::from(day("2026-01-15")..day("2026-01-16"));
    let call = called(&posts().filter(col("during").overlaps(during)));
    assert_eq!(
        decode::percent_decoded(call.request.uri().query().unwrap()).unwrap(),
        r#"during=ov.["2026-01-15","2026-01-16")"#
    );
    let call = called(&posts().filter(col("body").like_any(["%number 1", "%number 2"])));
    assert_eq!(
        decode::percent_decoded(call.request.uri().query().unwrap()).unwrap(),
        r#"body=like(any).{"%number 1","%number 2"}"#
    );
    let call = called(&posts().filter(col("views").any_of(Comparison::Gte, [1, 2])));
    assert_eq!(
        decode::percent_decoded(call.request.uri().query().unwrap()).unwrap(),
        r#"views=gte(any).{"1","2"}"#
    );
}

#[test]
fn selections() {
    let path = columns(&["id"]).column(col("meta").key("deep").text("k.ey"));
    let read = posts().selection(path).filter(col("meta").key("n").gt(28));
    assert_same("json path", &called(&read));
    let cast = Selection::new()
        .cast("key", col("id"), "text")
        .cast("views", col("views"), "text");
    let call = called(&posts().selection(cast).limit(1));
    // The alias is written out where it is the column's own name.
    let uri = call.request.uri().to_string();
    assert_eq!(uri, "/posts?select=key:id::text,views:views::text&limit=1");
    assert_same(
        "computed column",
        &called(&posts().selection(columns(&["id", "shout"])).limit(1)),
    );
    let count = columns(&["status"]).row_count("n");
    assert_eq!(count.to_string(), "status,n:count()");
    let sum = Selection::new().aggregate("sum", Aggregate::Sum, col("views"));
    assert_eq!(sum.to_string(), "sum:views.sum()");
    assert_same(
        "missing column",
        &called(&posts().selection(columns(&["nope"]))),
    );
}

#[test]
fn embeds() {
    const KEY: &str = "posts_neighborhood_id_fkey";
    let slug = || columns(&["slug"]);
    let home = columns(&["id"]).embed("home", slug(), |embed| {
        embed.relation("neighborhoods").hint(KEY)
    });
    assert_same(
        "embed to-one, hinted",
        &called(&posts().selection(home).limit(2)),
    );
    let ambiguous = columns(&["id"]).embed("neighborhoods", slug(), |embed| embed);
    assert_same("embed ambiguous", &called(&posts().selection(ambiguous)));
    let many = slug().embed("posts", columns(&["id"]), |embed| embed.hint(KEY));
    let nested = relation("posts").order(col("id").desc()).limit(2);
    let read = table("neighborhoods").selection(many).embed(nested);
    assert_same("embed to-many with its own order and limit", &called(&read));
    let inner = slug().embed("p", columns(&["id"]), |embed| {
        embed.relation("posts").hint(KEY).inner()
    });
    let read = table("neighborhoods")
        .selection(inner)
        .embed(relation("p").filter(col("id").eq(3)));
    assert_same("embed inner filter", &called(&read));
    let model = columns(&["id"]).embed("embeddings", columns(&["model"]), |embed| embed);
    let read = posts().selection(model).filter(col("id").in_([1, 30]));
    assert_same("embed one-to-one null", &called(&read));
    let spread = columns(&["id"]).spread("neighborhoods", slug(), |embed| embed.hint(KEY));
    assert_same("spread", &called(&posts().selection(spread).limit(1)));
    let none = columns(&["id"]).embed("embeddings", Selection::new(), |embed| embed);
    let read = posts()
        .selection(none)
        .filter(relation("embeddings").is_null());
    assert_same(
        "embed null filter (anti-join)",
        &called(&read.order(col("id").asc()).limit(2)),
    );
    let missing = columns(&["id"]).embed("posts", columns(&["id"]), |embed| embed);
    assert_same(
        "no relationship",
        &called(&table("secrets").selection(missing)),
    );
}

#[test]
fn writes() {
    let one = |call: Vec<Call>| <[Call; 1]>::try_from(call).unwrap();
    let row = |name: &str, slug: &str| json!({"name": name, "slug": slug});
    let rows = [row("N1", "n1"), row("N2", "n2")];
    let [call] = one(table("neighborhoods").insert(&rows).calls().unwrap());
    assert_same("insert minimal", &call);
    let again = [row("again", "n1"), row("N5", "n5")];
    let upsert = table("neighborhoods")
        .upsert(&again)
        .on_conflict(col("slug"))
        .ignore_duplicates();
    let [call] = one(upsert.calls().unwrap());
    let uri = call.request.uri().to_string();
    assert_eq!(uri, "/neighborhoods?on_conflict=slug&columns=name,slug");
    let prefer = call.request.headers()["prefer"].to_str().unwrap();
    assert_eq!(
        prefer,
        "return=minimal,resolution=ignore-duplicates,count=exact"
    );

    let seven = json!({"views": 7});
    let update = posts().update(&seven).filter(col("id").eq(0));
    let uri = update.call().unwrap().request.uri().to_string();
    assert_eq!(uri, "/posts?id=eq.0&columns=views");
    let limited = posts()
        .update(&seven)
        .filter(col("id").lt(10))
        .max_affected(2)
        .call()
        .unwrap();
    let prefer = limited.request.headers()["prefer"].to_str().unwrap();
    assert_eq!(
        prefer,
        "return=minimal,count=exact,handling=strict,max-affected=2"
    );
    let delete = table("neighborhoods").delete().filter(col("id").eq(1));
    assert_same("delete restricted by key", &delete.call().unwrap());
    let strict = called(&posts().limit(1).handling(Handling::Strict));
    assert_eq!(strict.request.headers()["prefer"], "handling=strict");
}

#[test]
fn functions() {
    let call = |name: &str, arguments: &Value| Offline::default().call(name, arguments);
    let two = json!({"a": 1, "b": 2});
    assert_same("rpc scalar", &call("add", &two).call().unwrap());
    assert_same("rpc void", &call("nothing", &json!({})).call().unwrap());
    assert_same(
        "rpc json",
        &call("echo_json", &json!({"j": {"a": [1, "two", null]}}))
            .call()
            .unwrap(),
    );
    let rows = call("posts_without_embeddings", &json!({"lim": 10})).output::<Vec<Row>>();
    let rows = rows
        .selection(columns(&["id"]))
        .filter(Row::ID.gt(15))
        .order(Row::ID.desc());
    assert_same(
        "rpc table-valued with filter",
        &rows.limit(2).call().unwrap(),
    );
    let defaults = call("posts_without_embeddings", &json!({})).output::<Vec<Row>>();
    assert_same(
        "rpc default arguments",
        &defaults.count(Count::Exact).call().unwrap(),
    );
    let one = call("one_post", &json!({"i": 1})).selection(columns(&["id", "body"]));
    assert_same("rpc row", &one.call().unwrap());
    assert_same(
        "rpc variadic json",
        &call("total", &json!({"n": [1, 2, 3]})).call().unwrap(),
    );
}

#[derive(sluice_sdk::Table)]
#[table(name = "posts_without_embeddings")]
#[expect(dead_code, reason = "only the columns are used")]
struct Row {
    id: i64,
}
