//! Finds the posts that are nearest in meaning to a stored one: `cargo run -p sluice-sdk --example
//! similar -- POSTGREST_URL KEY NUMBER`

use std::error::Error;
use std::io::Write;

use serde::{Deserialize, Serialize};
use sluice_sdk::{Client, Function, SecretString, Select, Table};
use uuid::Uuid;

#[derive(Table)]
#[table(name = "posts")]
#[expect(dead_code, reason = "the table's type has its columns, read or not")]
struct Post {
    #[table(primary_key)]
    id: Uuid,
    #[serde(rename = "post_id_ext")]
    number: String,
    text: String,
}

#[derive(Deserialize, Table)]
#[table(name = "post_embeddings")]
struct PostEmbedding {
    /// A vector is text to PostgREST: `[0.1,0.2,…]`.
    embedding: Option<String>,
}

#[derive(Deserialize, Select)]
#[select(from = Post)]
struct Embedded {
    id: Uuid,
    text: String,
    /// There is at most one, and none before the post is embedded.
    #[select(embed)]
    post_embeddings: Option<PostEmbedding>,
}

#[derive(Serialize, Function)]
#[function(name = "search_posts_by_embedding", returns = Vec<Found>, read_only)]
struct Search {
    query_embedding: String,
    similarity_threshold: f64,
    result_limit: i32,
}

/// A row of that function.
#[derive(Deserialize, Table)]
#[table(name = "search_posts_by_embedding")]
struct Found {
    #[expect(dead_code, reason = "it is filtered and ordered by")]
    id: Uuid,
    text: String,
    similarity: f64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, key, post] = arguments.as_slice() else {
        return Err("give PostgREST's URL, a key and the number of a post".into());
    };
    let db = Client::builder()
        .postgrest_url(url)
        .key(SecretString::from(key.as_str()))
        .build()?;

    let wanted = db.from::<Post>().select::<Embedded>();
    let wanted = wanted.filter(Post::NUMBER.eq(post));
    let post = wanted
        .maybe_single()
        .await?
        .ok_or("there is no such post")?;
    let embedding = post.post_embeddings.and_then(|it| it.embedding);
    let search = Search {
        query_embedding: embedding.ok_or("the post is not embedded yet: run `sluice embed`")?,
        similarity_threshold: 0.0,
        result_limit: 50,
    };
    // The function's rows are filtered, ordered and limited like a table's.
    let nearest = db
        .rpc(search)
        .filter(Found::ID.neq(post.id))
        .order((Found::SIMILARITY.desc(), Found::ID.asc()))
        .limit(5)
        .await?;

    let mut out = std::io::stdout().lock();
    writeln!(out, "near to: {}", post.text)?;
    for Found {
        text, similarity, ..
    } in &nearest
    {
        writeln!(out, "{similarity:.3} {text}")?;
    }
    Ok(())
}
