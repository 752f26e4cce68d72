//! The code of the guides. Each block of Rust in docs/sdk.md, docs/migrating.md and sdk/README.md
//! is in this file, between lines that prepare and check it, and runs against a stack with our
//! migrations.

#![expect(
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a guide prints, and looks at what it has seeded"
)]

use std::error::Error;
use std::time::Duration;

use futures_util::TryStreamExt;
use jiff::Timestamp;
use postgrest::Postgrest;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sluice_sdk::testing::{Exchange, Fake, FakeResponse, Player, Recorder};
use sluice_sdk::{
    Checkpoint, Client, Column, Count, Function, Offline, Page, Search, SecretString, Select,
    Table, Tristate, any,
    client::Http,
    col,
    error::ErrorKind,
    query::{Embedding, Explain, Expression, Response, Selection},
};
use sluice_tests::{Stack, assert_shown};
use uuid::Uuid;

type Outcome = Result<(), Box<dyn Error>>;

#[test]
fn every_block_of_the_guides_is_in_this_file() {
    let here = include_str!("guide.rs");
    for guide in [
        include_str!("../../../docs/sdk.md"),
        include_str!("../../../docs/migrating.md"),
        include_str!("../../../sdk/README.md"),
    ] {
        assert_shown(guide, here);
    }
}

#[derive(Debug, Table, Serialize, Deserialize)]
#[table(name = "neighborhoods")]
struct Neighborhood {
    #[table(primary_key)]
    id: Uuid,
    name: String,
    slug: String,
}

#[derive(Debug, Table, Serialize, Deserialize)]
#[table(name = "posts")]
struct Post {
    #[table(primary_key)]
    id: Uuid,
    neighborhood_id: Uuid,
    text: String,
    hash: String,
    url: Option<String>, // can be null
    comments: Option<Value>,
    ignored: Option<bool>,
    posted_at: Option<Timestamp>,
    #[serde(rename = "post_id_ext")]
    number: String, // the column `post_id_ext`, as Post::NUMBER
}

impl Post {
    /// A function of the database that takes a row, `initial(posts)`: PostgREST reads it as a column.
    const INITIAL: Column<Self, String> = Column::new("initial");
}

#[tokio::test]
async fn the_recipes_work() -> Outcome {
    let stack = Stack::fresh().await;
    stack
        .sql(
            "create or replace function initial(posts) returns text language sql stable
                 as 'select left($1.text, 1)';
             insert into neighborhoods (name, slug) values ('St. Johns', 'st-johns'), ('Elm', 'elm')",
        )
        .await;
    let db = connect(stack.postgrest_url(), stack.key().expose_secret())?;
    write(&db).await?;
    read(&db).await?;
    choose(&db).await?;
    lists(&db).await?;
    resume(&db, &posts(&db, 3).await?).await?;
    change(&db).await?;
    call(&db).await?;
    errors(&db).await?;
    without_types(&db).await?;
    without_a_network(&db, stack.postgrest_url(), &stack.key()).await?;
    migrated(&db).await?;
    short(&db).await
}

fn connect(url: &str, key: &str) -> Result<Client, sluice_sdk::Error> {
    let db = Client::builder()
        .postgrest_url(url) // or .supabase_url("https://x.supabase.co")
        .key(SecretString::from(key))
        .attempt_timeout(Duration::from_secs(10))
        .build()?;
    let token = "eyJ.user.token";
    let user = db.as_user(&SecretString::from(token))?; // row-level security sees this user
    assert!(!format!("{user:?}").contains(token));
    Ok(db)
}

/// Posts to be stored, with the numbers up to `count`.
async fn posts(db: &Client, count: usize) -> Result<Vec<NewPost>, sluice_sdk::Error> {
    let at = db
        .from::<Neighborhood>()
        .filter(Neighborhood::SLUG.eq("st-johns"))
        .single()
        .await?;
    let post = |number: usize| NewPost {
        neighborhood_id: at.id,
        number: number.to_string(),
        text: format!("rain, ({number})"),
        hash: format!("guide-{number}"),
        url: number
            .is_multiple_of(2)
            .then(|| format!("https://example.org/{number}")),
    };
    Ok((0..count).map(post).collect())
}

#[derive(Serialize)]
struct NewPost {
    neighborhood_id: Uuid,
    #[serde(rename = "post_id_ext")]
    number: String,
    text: String,
    hash: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>, // left out if there is none, so the stored one stays
}

async fn write(db: &Client) -> Outcome {
    let mut rows = posts(db, 1_200).await?;
    rows[7].text.push('\0');
    let report = db
        .from::<Post>()
        .upsert(&rows)
        .on_conflict((Post::NEIGHBORHOOD_ID, Post::HASH))
        .await?;
    for failure in &report.failed {
        println!("row {} is refused: {}", failure.index, failure.error);
    }
    assert_eq!((report.affected, report.failed.len()), (1_199, 1));

    let row = json!({"name": "Oak", "slug": "oak"});
    let oak = db
        .from::<Neighborhood>()
        .insert_one(&row)
        .returning::<Neighborhood>()
        .await?;
    assert_eq!(oak.slug, "oak");
    Ok(())
}

async fn read(db: &Client) -> Outcome {
    let posts = db
        .from::<Post>()
        .filter(Post::URL.is_null().or(Post::TEXT.ilike("%rain, (heavy)%")))
        .filter(!Post::NUMBER.in_(["1", "3"]))
        .order((Post::POSTED_AT.desc().nulls_last(), Post::ID.asc()))
        .limit(20)
        .await?;
    assert!(posts.len() == 20 && posts.iter().all(|post| post.url.is_none()));

    let page = db
        .from::<Post>()
        .filter(Post::TEXT.starts_with("rain"))
        .limit(20)
        .count(Count::Exact)
        .page()
        .await?;
    println!("{} of {:?}", page.rows.len(), page.total);
    assert_eq!(page.total, Some(1_199));

    let eighth = Post::NUMBER.eq("8");
    let post = db.from::<Post>().filter(eighth).maybe_single().await?;
    let many = db.from::<Post>().count_rows(Count::Exact).await?;
    assert_eq!(post.map(|post| post.text).as_deref(), Some("rain, (8)"));
    assert_eq!(many, 1_199);

    let filters = [
        Post::NUMBER.gt(any(["8", "9"])),                // gt(any).{…}
        Post::TEXT.ilike(any(["%rain%", "%hail%"])),     // ilike(any).{…}
        Post::TEXT.contains_text("100% (sure)*"),        // this text, not a pattern
        Post::TEXT.search(Search::web("rain -flood")),   // wfts
        Post::COMMENTS.contains(json!([{"by": "ann"}])), // cs, of JSON
        Post::COMMENTS.index(0).text("by").eq("ann"),    // comments->0->>by
        Post::INITIAL.eq("r"),                           // a computed column
    ];
    for filter in filters {
        let shown = filter.to_string();
        let found = db.from::<Post>().filter(filter).limit(1).await;
        assert!(found.is_ok(), "{shown}: {found:?}");
    }
    Ok(())
}

#[derive(Debug, Deserialize, Select)]
#[select(from = Post)]
struct PostView {
    id: Uuid,
    #[select(column = text)]
    body: String,
    #[select(column = comments, json_text = [0, "by"])]
    first_by: Option<String>,
    #[select(embed, inner)]
    neighborhood: Neighborhood, // one row; Option<_> if there may be none, Vec<_> for many
}

#[derive(Debug, Deserialize, Select)]
#[select(from = Post)]
struct Tally {
    neighborhood_id: Uuid,
    #[select(count)]
    posts: i64,
    #[select(column = posted_at, aggregate = "max")]
    latest: Option<Timestamp>,
}

async fn choose(db: &Client) -> Outcome {
    let views = db
        .from::<Post>()
        .select::<PostView>()
        .embed(PostView::NEIGHBORHOOD.filter(Neighborhood::SLUG.eq("st-johns")))
        .order(PostView::NEIGHBORHOOD.by(Neighborhood::NAME.asc()))
        .limit(10)
        .await?;
    let PostView {
        id,
        body,
        first_by,
        neighborhood,
    } = &views[0];
    assert!(!id.is_nil() && body.starts_with("rain") && first_by.is_none());
    assert_eq!(neighborhood.name, "St. Johns");

    let selection = Selection::new()
        .column(col("post_id_ext").cast("int").alias("number"))
        .column(col("initial"))
        .embed(Embedding::of("neighborhoods", Selection::new().all()).alias("at"))
        .column(Expression::row_count());
    assert!(
        selection
            .to_string()
            .starts_with("number:post_id_ext::int,")
    );
    let tally = db.from::<Post>().select::<Tally>().await;
    match tally {
        Ok(rows) => {
            let is_whole = |row: &Tally| !row.neighborhood_id.is_nil() && row.posts > 0;
            assert!(rows.iter().all(is_whole) && rows[0].latest.is_none());
        }
        // Aggregates are off by default.
        Err(error) => assert_eq!(error.pgrst_code(), Some("PGRST123")),
    }
    Ok(())
}

async fn lists(db: &Client) -> Outcome {
    let slugs: Vec<String> = (0..5_000)
        .map(|number| format!("quarter-{number}"))
        .collect();
    let found = db
        .from::<Neighborhood>()
        .filter_in(Neighborhood::SLUG, &slugs)
        .await?;
    assert!(found.is_empty());

    let mut posts = db
        .from::<Post>()
        .keyset(Post::POSTED_AT.desc().nulls_last())
        .stream();
    let mut characters = 0;
    while let Some(post) = posts.try_next().await? {
        characters += post.text.chars().count();
    }
    assert!(characters > 10_000);

    let mut posts = db.from::<Post>().read().stream();
    let first = posts.try_next().await?;
    assert!(first.is_some());
    Ok(())
}

async fn resume(db: &Client, rows: &[NewPost]) -> Outcome {
    let checkpoint = Checkpoint::new();
    let report = loop {
        let write = db
            .from::<Post>()
            .upsert(rows)
            .on_conflict((Post::NEIGHBORHOOD_ID, Post::HASH))
            .checkpoint(&checkpoint);
        match tokio::time::timeout(Duration::from_secs(60), write).await {
            Ok(Ok(report)) => break report,
            Ok(Err(error)) if !error.is_retryable() => {
                for row in checkpoint.report().uncertain {
                    println!("row {row} may be written or not");
                }
                return Err(error.into());
            }
            // An outage, or the minute is over. The checkpoint has the acknowledged rows.
            Ok(Err(_)) | Err(_) => tokio::time::sleep(Duration::from_secs(5)).await,
        }
    };
    assert!(report.is_complete());
    Ok(())
}

#[derive(Default, Serialize)]
struct PostPatch {
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>, // set, or left as it is
    #[serde(skip_serializing_if = "Tristate::is_absent")]
    url: Tristate<String>, // set, set to null, or left as it is
}

async fn change(db: &Client) -> Outcome {
    let changed = db
        .from::<Post>()
        .update()
        .set(Post::IGNORED, true)
        .set(Post::URL, None)
        .filter(Post::NUMBER.eq("2"))
        .max_affected(1)
        .await?;
    assert_eq!(changed, 1);

    let patch = PostPatch {
        url: Tristate::Null,
        ..PostPatch::default()
    };
    let post = db
        .from::<Post>()
        .update()
        .patch(&patch)
        .filter(Post::NUMBER.eq("4"))
        .returning::<Post>()
        .single() // another number of rows is an error, and nothing is changed
        .await?;
    assert_eq!((post.url, post.text.as_str()), (None, "rain, (4)"));

    let gone = db
        .from::<Post>()
        .delete()
        .filter(Post::TEXT.ends_with("(9)"))
        .returning::<Post>()
        .await?;
    assert_eq!(gone.len(), 1);
    Ok(())
}

#[derive(Serialize, Function)]
#[function(name = "get_posts_without_embeddings", returns = Vec<Pending>, read_only)]
struct GetPostsWithoutEmbeddings {
    lim: i32,
    after_id: Option<Uuid>,
}

#[derive(Debug, Table, Deserialize)]
#[table(name = "get_posts_without_embeddings")]
struct Pending {
    id: Uuid,
    text: String,
}

async fn call(db: &Client) -> Outcome {
    let due = db
        .rpc(GetPostsWithoutEmbeddings {
            lim: 500,
            after_id: None,
        })
        .filter(Pending::TEXT.starts_with("rain"))
        .order(Pending::ID.asc())
        .await?;
    let is_due = |post: &Pending| !post.id.is_nil() && post.text.starts_with("rain");
    assert!(due.len() == 500 && due.iter().all(is_due));
    Ok(())
}

async fn errors(db: &Client) -> Outcome {
    let row = json!({"name": "Elm", "slug": "elm"});
    let rows = [row];
    let result = db
        .from::<Neighborhood>()
        .insert(&rows)
        .all_or_nothing()
        .await;
    match result {
        Ok(_) => println!("it is stored"),
        Err(error) if error.is_unique_violation("neighborhoods_slug_key") => {
            println!("somebody else was first");
        }
        Err(error) if error.is_schema_missing() => return Err("apply the migrations".into()),
        Err(error) if error.is_retryable() => println!("later, perhaps: {error}"),
        Err(error) => return Err(error.into()), // names the call and the code, and no value
    }
    let again = db.from::<Neighborhood>().insert(&rows).await?;
    let error = again.into_result().unwrap_err();
    assert!(
        error.is_unique_violation("neighborhoods_slug_key"),
        "{error}"
    );
    Ok(())
}

#[derive(Debug, Deserialize)]
struct MyRow {
    text: String,
}

async fn without_types(db: &Client) -> Outcome {
    let rows = db
        .table("posts")
        .filter(col("post_id_ext").eq("8"))
        .rows::<MyRow>()
        .await?;
    assert_eq!(rows[0].text, "rain, (8)");

    let call = Offline::default()
        .table("posts")
        .filter(col("url").is_null())
        .limit(5)
        .call()?;
    assert_eq!(call.request.uri(), "/posts?url=is.null&limit=5");
    let response = http::Response::new(bytes::Bytes::from_static(b"[]")); // brought by your own HTTP stack
    let rows: Vec<MyRow> = Response::read(response)?.json()?;
    assert!(rows.is_empty());

    let plan = db
        .from::<Post>()
        .filter(Post::NUMBER.eq("8"))
        .explain(Explain::plan().analyze().buffers())
        .await;
    assert!(plan.is_ok() || plan.unwrap_err().pgrst_code() == Some("PGRST107"));
    Ok(())
}

async fn my_script(db: &Client) -> Result<usize, sluice_sdk::Error> {
    let posts = db.from::<Post>().filter(Post::NUMBER.eq("8")).await?;
    Ok(posts.len())
}

async fn without_a_network(_: &Client, url: &str, key: &SecretString) -> Outcome {
    let key = key.clone();
    let recorder = Recorder::new(Http::new()?).hiding(&["embedding"]);
    let db = Client::builder()
        .postgrest_url(url)
        .key(key)
        .transport(recorder.clone())
        .build()?;
    my_script(&db).await?;
    let snapshot = recorder.snapshot(); // for insta::assert_snapshot!: no key is in it
    let kept = Exchange::to_lines(&recorder.exchanges()); // a file beside the tests
    assert!(snapshot.contains("post_id_ext=eq.8") && !snapshot.contains("apikey"));

    let player = Player::new(Exchange::parse_lines(&kept)?);
    let db = Client::builder()
        .postgrest_url("http://nobody")
        .transport(player.clone())
        .build()?;
    my_script(&db).await?;
    assert!(player.left().is_empty());

    let fake = Fake::new(|_request| FakeResponse::error(503, "PGRST002", "schema cache loading"));
    let db = Client::builder()
        .postgrest_url("http://nobody")
        .retry(sluice_sdk::query::RetryPolicy::never())
        .transport(fake)
        .build()?;
    let error = my_script(&db).await.unwrap_err();
    assert!(error.is_unreachable());
    assert_eq!(error.kind(), ErrorKind::Api);
    Ok(())
}

async fn migrated(db: &Client) -> Outcome {
    let body = r#"[{"name":"Ash","slug":"ash"}]"#;
    let old = Postgrest::new("https://x.supabase.co/rest/v1"); // its address and key are not used
    let posts: Vec<Post> = db
        .run(old.from("posts").select("*").eq("post_id_ext", "8"))
        .await?;
    let page: Page<Value> = db.run(old.from("posts").exact_count()).page().await?;
    db.run::<Vec<Value>>(old.from("neighborhoods").upsert(body))
        .idempotent() // may be repeated
        .await?;
    assert_eq!((posts.len(), page.total), (1, Some(1_198)));

    let posts = db.from::<Post>().filter(Post::NUMBER.eq("8")).await?;
    assert_eq!(posts.len(), 1);
    Ok(())
}

async fn short(db: &Client) -> Outcome {
    let (ids, rows) = (vec![Uuid::nil()], posts(db, 2).await?);
    let posts = db
        .from::<Post>()
        .filter(Post::URL.is_null().or(Post::TEXT.ilike("%rain, (heavy)%")))
        .order(Post::ID.desc())
        .limit(20)
        .await?;
    let known = db.from::<Post>().filter_in(Post::ID, &ids).await?;
    let report = db
        .from::<Post>()
        .upsert(&rows)
        .on_conflict((Post::NEIGHBORHOOD_ID, Post::HASH))
        .await?;
    assert_eq!((posts.len(), known.len(), report.affected), (20, 0, 2));
    Ok(())
}
