//! Stores a few posts and reads them back: `cargo run -p sluice-sdk --example posts -- URL KEY`,
//! with the URL and the secret key of a Supabase project that has this repository's migrations (the
//! embedded one will do).

use std::error::Error;
use std::io::Write;

use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};
use sluice_sdk::{Client, Count, Function, SecretString, Select, Table};
use uuid::Uuid;

#[derive(Debug, Deserialize, Table)]
#[table(name = "neighborhoods")]
struct Neighborhood {
    #[table(primary_key)]
    id: Uuid,
    slug: String,
}

#[derive(Debug, Deserialize, Table)]
#[table(name = "posts")]
#[expect(dead_code, reason = "the table's type has its columns, read or not")]
struct Post {
    #[table(primary_key)]
    id: Uuid,
    neighborhood_id: Uuid,
    text: String,
    hash: String,
    url: Option<String>,
    created_at: Option<jiff::Timestamp>,
}

#[derive(Debug, Deserialize, Select)]
#[select(from = Post)]
struct PostView {
    text: String,
    created_at: Option<jiff::Timestamp>,
    #[select(embed, inner)]
    neighborhood: Neighborhood,
}

#[derive(Serialize)]
struct NewNeighborhood<'a> {
    name: &'a str,
    slug: &'a str,
}

#[derive(Serialize)]
struct NewPost {
    neighborhood_id: Uuid,
    post_id_ext: String,
    text: String,
    hash: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
}

#[derive(Debug, Deserialize)]
struct PendingPost {
    id: Uuid,
}

#[derive(Serialize, Function)]
#[function(name = "get_posts_without_embeddings", returns = Vec<PendingPost>, read_only)]
struct GetPostsWithoutEmbeddings {
    lim: i32,
    after_id: Option<Uuid>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(key)) = (arguments.next(), arguments.next()) else {
        return Err("give the URL and the secret key of a project".into());
    };
    let db = Client::builder()
        .supabase_url(url)
        .key(SecretString::from(key))
        .build()?;

    let neighborhood = neighborhood(&db).await?;
    let report = store(&db, &neighborhood).await?;
    let page = latest(&db).await?;
    let streamed = count(&db).await?;
    let due = db
        .rpc(GetPostsWithoutEmbeddings {
            lim: 5,
            after_id: None,
        })
        .await?;
    let first = due.first().map(|post| post.id);

    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{} of {} rows stored in {} requests",
        report.affected, report.rows, report.requests
    )?;
    for failure in &report.failed {
        writeln!(out, "row {} was refused: {}", failure.index, failure.error)?;
    }
    for post in &page.rows {
        let at = post.created_at.map(|at| at.to_string()).unwrap_or_default();
        writeln!(out, "{at} {}: {}", post.neighborhood.slug, post.text)?;
    }
    writeln!(
        out,
        "{:?} posts match, {streamed} in all; next to embed: {first:?}",
        page.total
    )?;
    Ok(())
}

/// Finds a neighborhood by its slug, or makes it. Whoever comes second finds the first one's.
async fn neighborhood(db: &Client) -> Result<Neighborhood, sluice_sdk::Error> {
    let wanted = NewNeighborhood {
        name: "St. Johns, \"north\" (old)",
        slug: "st-johns",
    };
    db.from::<Neighborhood>()
        .upsert(std::slice::from_ref(&wanted))
        .on_conflict(Neighborhood::SLUG)
        .ignore_duplicates()
        .await?;
    let found = db
        .from::<Neighborhood>()
        .filter(Neighborhood::SLUG.eq(wanted.slug));
    found.exactly_one().await
}

/// Stores two thousand posts, one of which the database will not have.
async fn store(
    db: &Client,
    neighborhood: &Neighborhood,
) -> Result<sluice_sdk::WriteReport, sluice_sdk::Error> {
    let post = |number: usize| NewPost {
        neighborhood_id: neighborhood.id,
        post_id_ext: number.to_string(),
        text: if number == 700 {
            "NUL: \0".to_owned()
        } else {
            format!("rain, ({number})")
        },
        hash: format!("example-{number}"),
        url: number
            .is_multiple_of(2)
            .then(|| format!("https://example.org/{number}?a=1&b=2")),
    };
    let posts: Vec<NewPost> = (0..2_000).map(post).collect();
    db.from::<Post>()
        .upsert(&posts)
        .on_conflict((Post::NEIGHBORHOOD_ID, Post::HASH))
        .ignore_duplicates()
        .await
}

async fn latest(db: &Client) -> Result<sluice_sdk::Page<PostView>, sluice_sdk::Error> {
    db.from::<Post>()
        .select::<PostView>()
        .filter(Post::URL.is_null().or(Post::TEXT.ilike("%(1_)")))
        .embed(PostView::NEIGHBORHOOD.filter(Neighborhood::SLUG.starts_with("st-")))
        .order((Post::CREATED_AT.desc(), Post::HASH.asc()))
        .limit(3)
        .count(Count::Exact)
        .fetch()
        .await
}

/// Reads every post, whatever limit of rows the server has.
async fn count(db: &Client) -> Result<usize, sluice_sdk::Error> {
    let posts = db
        .from::<Post>()
        .keyset(Post::CREATED_AT.desc())
        .page_rows(800)
        .stream();
    posts
        .try_fold(0, |count, _| async move { Ok(count + 1) })
        .await
}
