//! A script as many repositories have one: it picks posts for an episode.

use serde::Deserialize;
use sluice_sdk::{Client, Error, Table};
use uuid::Uuid;

/// A post, as far as this script reads it.
#[derive(Debug, Deserialize, Table)]
#[table(name = "posts")]
pub struct Post {
    /// Its id.
    #[table(primary_key)]
    pub id: Uuid,
    /// What it says.
    pub text: String,
    /// How many reactions it got.
    pub reaction_count: i32,
    /// Whether an episode has used it.
    pub used_on_episode: bool,
}

/// Picks the posts with the most reactions that no episode has used, and marks them as used.
///
/// # Errors
/// If the database refuses or does not answer.
pub async fn pick(db: &Client, count: u64) -> Result<Vec<String>, Error> {
    let posts = db
        .from::<Post>()
        .filter(Post::USED_ON_EPISODE.eq(false))
        .order((Post::REACTION_COUNT.desc(), Post::ID.asc()))
        .limit(count)
        .await?;
    let ids: Vec<Uuid> = posts.iter().map(|post| post.id).collect();
    db.from::<Post>()
        .update()
        .set(Post::USED_ON_EPISODE, true)
        .filter(Post::ID.in_(ids))
        .await?;
    Ok(posts.into_iter().map(|post| post.text).collect())
}
