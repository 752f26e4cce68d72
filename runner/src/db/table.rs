//! The tables that flows read and write through PostgREST directly.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sluice_sdk::Table;
use uuid::Uuid;

/// A neighborhood, identified by its slug.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Table)]
#[table(name = "neighborhoods")]
pub struct Neighborhood {
    /// Its key.
    #[table(primary_key)]
    pub id: Uuid,
    /// Its name, as it was first written.
    pub name: String,
    /// What identifies it.
    pub slug: String,
}

/// A neighborhood that is not in the database yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewNeighborhood {
    /// Its name.
    pub name: String,
    /// What identifies it.
    pub slug: String,
}

/// A post.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Table)]
#[table(name = "posts")]
pub struct Post {
    /// Its key.
    #[table(primary_key)]
    pub id: Uuid,
    /// Where it was posted.
    pub neighborhood_id: Uuid,
    /// The id that the network gave it.
    pub post_id_ext: String,
    /// A hash of its author's id.
    pub user_id_hash: Option<String>,
    /// Its author's name.
    pub author_name: Option<String>,
    /// What it says.
    pub text: String,
    /// What makes it unique in its neighborhood.
    pub hash: String,
    /// Where it stands.
    pub url: Option<String>,
    /// Pictures, a JSON array.
    pub image_urls: Option<Value>,
    /// Comments, a JSON array.
    pub comments: Option<Value>,
    /// How many people reacted.
    pub reaction_count: Option<i32>,
    /// When it was posted.
    pub posted_at: Option<Timestamp>,
}

/// A row of work that failed or is under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Table)]
#[table(name = "work_items")]
pub struct WorkItem {
    /// The kind of work: `embed`, `score` or `backfill:DIMENSION`.
    #[table(primary_key)]
    pub kind: String,
    /// The post.
    #[table(primary_key)]
    pub post_id: Uuid,
    /// How often it failed.
    pub attempts: i32,
    /// When it is tried again.
    pub next_attempt_at: Option<Timestamp>,
    /// Why it failed last.
    pub last_error: Option<String>,
    /// It is set aside until replayed.
    pub dead: bool,
}

/// A background job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Table)]
#[table(name = "background_jobs")]
pub struct Job {
    /// Its key.
    #[table(primary_key)]
    pub id: Uuid,
    /// What it does.
    #[serde(rename = "type")]
    pub r#type: String,
    /// pending, running, completed, error or cancelled.
    pub status: String,
    /// What it was asked to do.
    pub params: Option<Value>,
    /// Rows done.
    pub progress: Option<i32>,
    /// Rows in all.
    pub total: Option<i32>,
    /// Why it failed.
    pub error_message: Option<String>,
    /// How often it was tried again.
    pub retry_count: Option<i32>,
    /// How often it may be tried again.
    pub max_retries: Option<i32>,
    /// When it was enqueued.
    pub created_at: Option<Timestamp>,
}

/// Weights, in force or not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Table)]
#[table(name = "weight_configs")]
pub struct WeightConfig {
    /// Its key.
    #[table(primary_key)]
    pub id: Uuid,
    /// The weight of each dimension.
    pub weights: Value,
}
