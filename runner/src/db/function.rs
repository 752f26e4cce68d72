//! The database's functions, as types: arguments in, result out. What each does is said once, in
//! docs/ARCHITECTURE.md and in the migration that creates it.

#![allow(missing_docs, reason = "the arguments are those of the SQL function")]

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use sluice_sdk::Function;
use uuid::Uuid;

use crate::provider::write_vector;

/// A post that was leased.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LeasedPost {
    /// The post.
    pub id: Uuid,
    /// Its text at the time of the claim.
    pub text: String,
}

/// What a claim leased, and where to go on.
#[derive(Debug, Clone, Deserialize)]
pub struct ClaimedPosts {
    /// The posts.
    pub rows: Vec<LeasedPost>,
    /// The cursor of the next claim; none at the end of a pass.
    pub next_after: Option<Uuid>,
    /// Posts in backoff.
    #[serde(default)]
    pub waiting: u64,
    /// Milliseconds until the first of them is due.
    pub next_attempt_ms: Option<u64>,
    /// Posts that other runners hold.
    #[serde(default)]
    pub leased_elsewhere: u64,
    /// Posts that got a copy of the embedding of another post with the same text.
    #[serde(default)]
    pub copied: u64,
}

/// `claim_work`
#[derive(Debug, Serialize, Function)]
#[function(name = "claim_work", returns = ClaimedPosts)]
pub struct ClaimWork {
    pub p_kind: String,
    pub p_worker: Uuid,
    pub p_limit: u32,
    pub p_lease_seconds: u64,
    pub p_after: Option<Uuid>,
    pub p_scan: u32,
    pub p_rule: Value,
}

/// `peek_work`
#[derive(Debug, Serialize, Function)]
#[function(name = "peek_work", returns = PeekedPosts)]
pub struct PeekWork {
    pub p_kind: String,
    pub p_after: Option<Uuid>,
    pub p_scan: u32,
    pub p_rule: Value,
}

/// What a claim would find, and where to go on.
#[derive(Debug, Clone, Deserialize)]
pub struct PeekedPosts {
    /// The posts.
    pub rows: Vec<LeasedPost>,
    /// The cursor of the next look; none at the end of the table.
    pub next_after: Option<Uuid>,
}

/// `count_work`
#[derive(Debug, Serialize, Function)]
#[function(name = "count_work", returns = CountedPosts)]
pub struct CountWork {
    /// The kind of work.
    pub p_kind: String,
    /// The cursor.
    pub p_after: Option<Uuid>,
    /// Posts looked at, at most.
    pub p_scan: u32,
    /// The arguments of the kind's rule, by name.
    pub p_rule: Value,
}

/// How many posts are due, and where to go on.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct CountedPosts {
    /// Posts that a claim would find.
    pub due: u64,
    /// The cursor of the next count; none at the end of the table.
    pub next_after: Option<Uuid>,
}

/// `extend_work`
#[derive(Debug, Serialize, Function)]
#[function(name = "extend_work", returns = Vec<Uuid>)]
pub struct ExtendWork {
    /// The kind of work.
    pub p_kind: String,
    /// This runner.
    pub p_worker: Uuid,
    /// The posts.
    pub p_post_ids: Vec<Uuid>,
    /// How long the lease holds from now.
    pub p_lease_seconds: u64,
}

/// `finish_work`
#[derive(Debug, Serialize, Function)]
#[function(name = "finish_work", returns = u64)]
pub struct FinishWork {
    /// The kind of work.
    pub p_kind: String,
    /// This runner.
    pub p_worker: Uuid,
    /// The posts.
    pub p_post_ids: Vec<Uuid>,
}

/// `release_work`
#[derive(Debug, Serialize, Function)]
#[function(name = "release_work", returns = u64)]
pub struct ReleaseWork {
    /// The kind of work.
    pub p_kind: String,
    /// This runner.
    pub p_worker: Uuid,
    /// The posts; none = all of this runner.
    pub p_post_ids: Option<Vec<Uuid>>,
}

/// A post that failed.
#[derive(Debug, Clone, Serialize)]
pub struct FailedPost {
    /// The post.
    pub post_id: Uuid,
    /// Why.
    pub error: String,
    /// Set it aside at once.
    pub permanent: bool,
}

/// `fail_work`
#[derive(Debug, Serialize, Function)]
#[function(name = "fail_work", returns = FailedWork)]
pub struct FailWork {
    /// The kind of work.
    pub p_kind: String,
    /// This runner.
    pub p_worker: Uuid,
    /// The posts that failed.
    pub p_failures: Vec<FailedPost>,
    /// Attempts until a post is set aside.
    pub p_max_attempts: u32,
    /// Before the second attempt; doubled for each further one.
    pub p_backoff_seconds: u64,
}

/// What became of failures.
#[derive(Debug, Clone, Deserialize)]
pub struct FailedWork {
    /// Posts that are tried again.
    pub retrying: u64,
    /// Posts that are now set aside.
    pub dead_ids: Vec<Uuid>,
}

/// `replay_work`
#[derive(Debug, Serialize, Function)]
#[function(name = "replay_work", returns = u64)]
pub struct ReplayWork {
    /// The kind of work; none = every kind.
    pub p_kind: Option<String>,
    /// The posts; none = every post.
    pub p_post_ids: Option<Vec<Uuid>>,
}

/// An embedding to be written.
#[derive(Debug, Clone, Serialize)]
pub struct EmbeddingRow {
    /// The post.
    pub post_id: Uuid,
    /// Its vector, written in pgvector's text form.
    #[serde(serialize_with = "vector_text")]
    pub embedding: Arc<[f32]>,
    /// The model that made it.
    pub model: String,
    /// Its dimensions.
    pub dimensions: usize,
    /// SHA-256 (hex) of the text that was embedded.
    pub text_hash: String,
}

/// `store_embeddings`
#[derive(Debug, Serialize, Function)]
#[function(name = "store_embeddings", returns = u64)]
pub struct StoreEmbeddings {
    /// This runner.
    pub p_worker: Uuid,
    /// The embeddings.
    pub p_rows: Vec<EmbeddingRow>,
}

/// A score to be written.
#[derive(Debug, Clone, Serialize)]
pub struct ScoreRow {
    /// The post.
    pub post_id: Uuid,
    /// A score for each dimension of the rubric.
    pub scores: BTreeMap<String, f64>,
    /// Its categories.
    pub categories: Vec<String>,
    /// What it is about.
    pub summary: Option<String>,
    /// Why a podcast would want it.
    pub why_podcast_worthy: Option<String>,
    /// The model that scored it.
    pub model_version: String,
    /// The version of the prompt.
    pub prompt_version: String,
    /// The fingerprint of rubric, prompt and model.
    pub fingerprint: String,
    /// SHA-256 (hex) of the text that was scored.
    pub text_hash: String,
}

/// `store_scores`
#[derive(Debug, Serialize, Function)]
#[function(name = "store_scores", returns = u64)]
pub struct StoreScores {
    /// This runner.
    pub p_worker: Uuid,
    /// The scores.
    pub p_rows: Vec<ScoreRow>,
}

/// One dimension's score to be merged.
#[derive(Debug, Clone, Serialize)]
pub struct DimensionRow {
    /// The post.
    pub post_id: Uuid,
    /// The score.
    pub score: f64,
}

/// `store_dimension`
#[derive(Debug, Serialize, Function)]
#[function(name = "store_dimension", returns = u64)]
pub struct StoreDimension {
    /// This runner.
    pub p_worker: Uuid,
    /// The dimension.
    pub p_dimension: String,
    /// The scores.
    pub p_rows: Vec<DimensionRow>,
}

/// `begin_score_pass`
#[derive(Debug, Serialize, Function)]
#[function(name = "begin_score_pass", returns = BegunPass)]
pub struct BeginScorePass {
    /// The fingerprint of the scores that it makes.
    pub p_fingerprint: String,
    /// Not to go on with one that has not ended.
    pub p_anew: bool,
}

/// A pass over every post.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct BegunPass {
    /// When it began.
    pub started_at: Timestamp,
    /// Whether it began before this call.
    pub resumed: bool,
}

/// `open_score_pass`: when the pass that has not ended began.
#[derive(Debug, Serialize, Function)]
#[function(name = "open_score_pass", returns = Option<Timestamp>)]
pub struct OpenScorePass {
    /// The fingerprint of the scores that it makes.
    pub p_fingerprint: String,
}

/// `end_score_pass`: whether it had not ended or begun anew before.
#[derive(Debug, Serialize, Function)]
#[function(name = "end_score_pass", returns = bool)]
pub struct EndScorePass {
    /// The fingerprint of the scores that it made.
    pub p_fingerprint: String,
    /// When it began.
    pub p_started_at: Timestamp,
}

/// `refresh_topic_frequencies`
#[derive(Debug, Serialize, Function)]
#[function(name = "refresh_topic_frequencies", returns = u64)]
pub struct RefreshTopicFrequencies {}

/// `active_weight_config`: none where no weights are in force.
#[derive(Debug, Serialize, Function)]
#[function(name = "active_weight_config", returns = Option<Uuid>)]
pub struct ActiveWeightConfig {}

/// `pipeline_status`
#[derive(Debug, Serialize, Function)]
#[function(name = "pipeline_status", returns = Value)]
pub struct PipelineStatus {}

/// `rank_posts`
#[derive(Debug, Serialize, Function)]
#[function(name = "rank_posts", returns = Vec<RankedPost>)]
pub struct RankPosts {
    /// Posts at most.
    pub p_limit: u32,
    /// Only this neighborhood, by name or slug.
    pub p_neighborhood: Option<String>,
    /// Only this category.
    pub p_category: Option<String>,
    /// Only posts with at least this score.
    pub p_min_score: Option<f64>,
    /// Other weights than the active ones.
    pub p_weights: Option<Value>,
}

/// A post in the ranking.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RankedPost {
    /// The post.
    pub id: Uuid,
    /// What it says.
    pub text: String,
    /// Where it was posted.
    pub neighborhood: Option<String>,
    /// Where it stands.
    pub url: Option<String>,
    /// Its rank, 0 to 10.
    pub final_score: f64,
    /// Its categories.
    pub categories: Vec<String>,
    /// What it is about.
    pub summary: Option<String>,
    /// When it was posted.
    pub posted_at: Option<Timestamp>,
}

/// `search_posts_by_embedding`
#[derive(Debug, Serialize, Function)]
#[function(name = "search_posts_by_embedding", returns = Vec<FoundPost>)]
pub struct SearchPostsByEmbedding {
    /// What to be near to.
    #[serde(serialize_with = "vector_text")]
    pub query_embedding: Arc<[f32]>,
    /// At least this similar.
    pub similarity_threshold: f64,
    /// Posts at most.
    pub result_limit: u32,
}

/// A post that was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FoundPost {
    /// The post.
    pub id: Uuid,
    /// What it says.
    pub text: String,
    /// Cosine similarity, 1 = the same direction.
    pub similarity: f64,
    /// Where it stands.
    pub url: Option<String>,
}

fn vector_text<S: Serializer>(vector: &Arc<[f32]>, serializer: S) -> Result<S::Ok, S::Error> {
    let mut text = String::new();
    write_vector(&mut text, vector);
    serializer.serialize_str(&text)
}
