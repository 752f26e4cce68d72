//! Answers, read to the right value or the right error.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sluice_sdk::{
    Answer, Call, Count, Error, ErrorKind, Execute, Function, Offline, Safety, Select, Table, col,
};

use super::{EXCHANGES, answered, exchange};

#[derive(Debug, Deserialize, Table, PartialEq)]
#[table(name = "neighborhoods")]
struct Neighborhood {
    #[table(primary_key)]
    id: i64,
    slug: String,
}

#[derive(Debug, Deserialize, Table, PartialEq)]
#[table(name = "posts")]
struct Post {
    #[table(primary_key)]
    id: i64,
    neighborhood_id: i64,
    moved_to: Option<i64>,
    body: String,
    tags: Vec<String>,
    meta: Value,
}

/// Sends whatever was recorded, as it was: the answer is what matters.
async fn replayed(name: &str) -> Result<Answer, Error> {
    let mut call: Call = Offline::default().table("t").read().call().unwrap();
    *call.request.method_mut() = exchange(name).request.method.parse().unwrap();
    call.safety = Safety::Write;
    answered(name).execute(call).await
}

#[tokio::test]
async fn every_answer_is_a_success_or_an_error_that_repeats_what_it_says() {
    assert_eq!(EXCHANGES.len(), 115);
    for (name, exchange) in EXCHANGES.iter() {
        let response = &exchange.response;
        match replayed(name).await {
            Ok(answer) => {
                assert!((200..300).contains(&response.status), "{name}");
                assert_eq!(answer.body, response.body, "{name}");
            }
            Err(error) => {
                assert!(!(200..300).contains(&response.status), "{name}");
                assert_eq!(error.status().unwrap().as_u16(), response.status, "{name}");
                assert_eq!(error.kind(), ErrorKind::Api, "{name}");
                assert_repeats(&error, &response.body);
            }
        }
    }
}

/// The error has every member of the body.
fn assert_repeats(error: &Error, body: &str) {
    if body.is_empty() {
        assert_eq!(error.code(), None);
        return;
    }
    let body: Value = serde_json::from_str(body).unwrap();
    let text = |name: &str| match &body[name] {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    assert_eq!(error.code().map(str::to_owned), text("code"));
    assert_eq!(Some(error.message().to_owned()), text("message"));
    assert_eq!(error.details().map(str::to_owned), text("details"));
    assert_eq!(error.hint().map(str::to_owned), text("hint"));
}

/// A question of an error.
type Question = fn(&Error) -> bool;

#[tokio::test]
async fn errors_answer_questions() {
    let questions: [(&str, Question); 15] = [
        ("unique violation", |error| {
            error.is_unique_violation("neighborhoods_slug_key")
        }),
        ("foreign key violation", |error| {
            error.is_foreign_key_violation()
                && error.constraint() == Some("posts_neighborhood_id_fkey")
        }),
        ("delete restricted by key", |error| {
            error.is_foreign_key_violation()
                && error.constraint() == Some("posts_neighborhood_id_fkey")
        }),
        ("check violation", |error| {
            error.is_data_error() && error.constraint() == Some("posts_body_check")
        }),
        ("singular none", |error| {
            error.is_not_found() && error.is_row_count()
        }),
        ("singular many", |error| {
            !error.is_not_found() && error.is_row_count()
        }),
        ("rpc statement timeout", |error| {
            error.is_statement_timeout() && error.is_retryable()
        }),
        ("permission denied", |error| {
            error.is_permission_denied() && !error.is_data_error()
        }),
        ("bad token", Error::is_unauthorized),
        ("expired token", Error::is_unauthorized),
        ("missing table", Error::is_schema_missing),
        ("missing column", Error::is_schema_missing),
        ("rpc unknown", Error::is_schema_missing),
        ("no relationship", Error::is_schema_missing),
        ("text with nul", |error| {
            error.is_data_error() && error.sqlstate() == Some("22P05")
        }),
    ];
    for (name, question) in questions {
        let error = replayed(name).await.unwrap_err();
        assert!(question(&error), "{name}: {error:?}");
        assert!(!error.is_unique_violation("another_key"), "{name}");
    }
    let error = replayed("embed ambiguous").await.unwrap_err();
    assert_eq!(
        (error.pgrst_code(), error.sqlstate()),
        (Some("PGRST201"), None)
    );
    assert!(
        error
            .details()
            .unwrap()
            .starts_with("[{\"cardinality\":\"many-to-one\"")
    );
}

#[derive(Debug, Deserialize, Select)]
#[select(from = Post)]
struct Housed {
    id: i64,
    #[select(embed, hint = "posts_neighborhood_id_fkey")]
    home: Home,
}
#[derive(Debug, Deserialize, Select)]
#[select(from = Neighborhood)]
struct Home {
    slug: String,
}

#[derive(Debug, Deserialize)]
struct WithEmbedding {
    embeddings: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Stripped {
    moved_to: Option<i64>,
}

#[tokio::test]
async fn rows_come_as_their_types() {
    let rows = answered("read all columns").from::<Post>().await.unwrap();
    assert_eq!(rows[1].tags, ["a", "b c"]);
    assert_eq!(rows[1].meta["deep"]["k.ey"], 2);

    let home = answered("embed to-one, hinted");
    let rows = home.from::<Post>().select::<Housed>().await.unwrap();
    assert_eq!((rows[0].id, rows[0].home.slug.as_str()), (1, "st-johns"));

    let rows: Vec<WithEmbedding> = answered("embed one-to-one null")
        .table("posts")
        .rows()
        .await
        .unwrap();
    assert!(rows[0].embeddings.is_some() && rows[1].embeddings.is_none());

    let rows: Vec<Stripped> = answered("nulls stripped")
        .table("posts")
        .rows()
        .await
        .unwrap();
    assert_eq!(rows[0].moved_to, None);
    assert!(
        answered("row security hides rows")
            .table("secrets")
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn counts_and_pages_are_read() {
    let page = answered("count exact")
        .table("posts")
        .count(Count::Exact)
        .fetch()
        .await
        .unwrap();
    assert_eq!(
        (page.rows.len(), page.first, page.total),
        (2, Some(0), Some(30))
    );
    let page = answered("select, order, limit, offset")
        .table("posts")
        .fetch()
        .await
        .unwrap();
    assert_eq!((page.first, page.total), (Some(3), None));
    let past = answered("range past the end with count")
        .table("posts")
        .offset(99);
    let page = past.count(Count::Exact).fetch().await.unwrap();
    assert_eq!((page.rows.len(), page.total), (0, Some(30)));
    let page = answered("range past the end")
        .table("posts")
        .offset(99)
        .fetch()
        .await
        .unwrap();
    assert_eq!((page.rows.len(), page.total), (0, None));
    assert!(answered("bad limit").table("posts").fetch().await.is_err());
    let count = answered("head with count")
        .table("posts")
        .count_rows(Count::Exact)
        .await;
    assert_eq!(count.unwrap(), 30);
    let error = answered("head of a missing table")
        .table("nope")
        .count_rows(Count::Exact)
        .await;
    assert_eq!(error.unwrap_err().status().unwrap().as_u16(), 404);
}

#[tokio::test]
async fn one_row_is_read_or_told_to_be_none_or_several() {
    let one: Value = answered("singular one")
        .table("posts")
        .read()
        .exactly_one()
        .await
        .unwrap();
    assert_eq!(one["body"], "post number 1");
    let none = answered("singular none")
        .table("posts")
        .read()
        .exactly_one()
        .await
        .unwrap_err();
    assert!(none.is_not_found());
    assert_eq!(
        answered("empty result")
            .table("posts")
            .maybe_one()
            .await
            .unwrap(),
        None
    );
    let many = answered("count exact")
        .table("posts")
        .maybe_one()
        .await
        .unwrap_err();
    assert_eq!(many.kind(), ErrorKind::RowCount);
    let change = answered("singular update of many")
        .table("posts")
        .update(&json!({"views": 1}));
    let many = change
        .filter(col("id").lt(10))
        .returning_rows::<Value>()
        .exactly_one()
        .await;
    assert!(many.unwrap_err().is_row_count());
}

#[tokio::test]
async fn other_forms_of_rows_are_read() {
    let csv = answered("csv").table("posts").read().csv().await.unwrap();
    assert_eq!(csv.lines().count(), 3);
    let plan = answered("plan")
        .table("posts")
        .read()
        .explain(false)
        .await
        .unwrap();
    assert_eq!(plan[0]["Plan"]["Node Type"], "Aggregate");
    let error = answered("aggregate").table("posts").await.unwrap_err();
    assert_eq!(error.code(), Some("PGRST123"));
}

#[tokio::test]
async fn writes_tell_what_they_did() {
    let rows = [json!({"name": "N3", "slug": "n3"})];
    let insert = answered("insert representation with count").table("neighborhoods");
    let written = insert
        .insert(&rows)
        .returning_rows::<Neighborhood>()
        .await
        .unwrap();
    assert_eq!(
        written.rows,
        [Neighborhood {
            id: 6,
            slug: "n3".to_owned()
        }]
    );
    assert_eq!(written.report.affected, 1);

    let two = [
        json!({"name": "again", "slug": "n1"}),
        json!({"name": "N5", "slug": "n5"}),
    ];
    let upsert = answered("upsert ignore duplicates")
        .table("neighborhoods")
        .upsert(&two);
    let report = upsert
        .on_conflict(col("slug"))
        .ignore_duplicates()
        .await
        .unwrap();
    assert_eq!((report.written(), report.affected), (2, 1));

    let update = answered("update none")
        .table("posts")
        .update(&json!({"views": 7}));
    assert_eq!(update.filter(col("id").eq(0)).await.unwrap(), 0);
    let update = answered("update rolled back")
        .table("posts")
        .update(&json!({"views": 99}));
    let rows = update
        .filter(col("id").eq(3))
        .dry_run()
        .returning_rows::<Value>()
        .await
        .unwrap();
    assert_eq!(rows, [json!({"id": 3, "views": 99})]);
    let delete = answered("delete returning")
        .table("posts")
        .delete()
        .filter(col("id").eq(30));
    assert_eq!(delete.await.unwrap(), 1);
    let update = answered("max-affected exceeded")
        .table("posts")
        .update(&json!({"views": 1}));
    let error = update
        .filter(col("id").lt(10))
        .max_affected(2)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Some("PGRST124"));
}

#[derive(Serialize, Function)]
#[function(name = "add", returns = i64, read_only)]
struct Add {
    a: i64,
    b: i64,
}

#[derive(Serialize, Function)]
#[function(name = "one_post", returns = Option<PostBody>)]
struct OnePost {
    i: i64,
}

#[derive(Debug, Deserialize, PartialEq)]
struct PostBody {
    id: i64,
    body: String,
}

#[derive(Serialize, Function)]
#[function(name = "nothing")]
struct Nothing;

#[tokio::test]
async fn functions_give_what_they_return() {
    assert_eq!(
        answered("rpc scalar")
            .rpc(Add { a: 1, b: 2 })
            .await
            .unwrap(),
        3
    );
    assert_eq!(
        answered("rpc get")
            .rpc(Add { a: 1, b: 2 })
            .get()
            .await
            .unwrap(),
        3
    );
    let post = answered("rpc row").rpc(OnePost { i: 1 }).await.unwrap();
    assert_eq!(
        post,
        Some(PostBody {
            id: 1,
            body: "post number 1".to_owned()
        })
    );
    // A composite result without a row is an object of nulls.
    assert_eq!(
        answered("rpc row missing")
            .rpc(OnePost { i: 0 })
            .await
            .unwrap(),
        None
    );
    answered("rpc void").rpc(Nothing).await.unwrap();
    let set: Vec<i64> = answered("rpc set of scalars")
        .call("numbers", &())
        .output()
        .await
        .unwrap();
    assert_eq!(set, [1, 2, 3]);
    let big: i64 = answered("rpc bigint")
        .call("big", &())
        .output()
        .await
        .unwrap();
    assert_eq!(big, 9_007_199_254_740_993);
    let echo = answered("rpc json")
        .call("echo_json", &json!({"j": 1}))
        .await
        .unwrap();
    assert_eq!(echo, json!({"a": [1, "two", null]}));
    let rows = answered("rpc default arguments").call("posts_without_embeddings", &());
    let page = rows
        .output::<Vec<PostBody>>()
        .count(Count::Exact)
        .fetch()
        .await
        .unwrap();
    assert_eq!((page.rows.len(), page.total), (17, Some(17)));
    let error = answered("rpc raises").call("boom", &()).await.unwrap_err();
    assert_eq!(error.hint(), Some("the hint"));
    assert!(
        error
            .to_string()
            .ends_with("P0001: it broke (the detail); hint: the hint")
    );
}
