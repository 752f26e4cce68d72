//! What the generator cannot know: the shapes of JSON arguments and results, vectors as text, and which
//! columns of a table we read.

#![allow(
    missing_docs,
    reason = "the fields are those of the contract in docs/ARCHITECTURE.md"
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use sluice_sdk::{Function, Select};
use uuid::Uuid;

use super::generated::{
    AppliedMigrations, BackgroundJobs, BatchRows, BeginScorePass, ClaimJob, ClaimWork,
    CompleteRecomputeJob, CountWork, FailWork, InspectProject, ListBatches, ListWeightConfigs,
    Neighborhoods, PeekWork, Posts, PruneWeightScores, ReserveBudget, RunStatus, SaveAndRecompute,
    SearchPostsByEmbedding, SearchPostsHybrid, StagePostScores, TakeBatch, WeightConfigs,
    WorkItems,
};
use crate::provider::write_vector;

/// A function whose result has a shape that its generated type does not say.
pub trait Shaped: Function {
    /// The result.
    type Shape: DeserializeOwned + Send + 'static;
}

macro_rules! shapes {
    ($($function:ty => $shape:ty,)*) => {
        $(impl Shaped for $function {
            type Shape = $shape;
        })*
    };
}

shapes! {
    AppliedMigrations => Option<Vec<String>>,
    BatchRows => BatchRowPage,
    BeginScorePass => BegunPass,
    ClaimJob => Option<ClaimedJob>,
    ClaimWork => ClaimedPosts,
    CompleteRecomputeJob => AppliedScores,
    CountWork => CountedPosts,
    FailWork => FailedWork,
    InspectProject => InspectedProject,
    ListBatches => Vec<ListedBatch>,
    ListWeightConfigs => Vec<WeightScores>,
    PeekWork => PeekedPosts,
    PruneWeightScores => PrunedScores,
    ReserveBudget => ReservedBudget,
    RunStatus => RunsAndMoney,
    SaveAndRecompute => SavedWeights,
    SearchPostsByEmbedding => Vec<FoundPost>,
    SearchPostsHybrid => Vec<FoundByBoth>,
    StagePostScores => StagedScores,
    TakeBatch => TakenBatch,
}

/// A post with its text at the time of the claim.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LeasedPost {
    pub id: Uuid,
    pub text: String,
    /// How often it has failed.
    #[serde(default)]
    pub attempts: u32,
}

/// What a claim leased, and where the next one starts.
#[derive(Debug, Clone, Deserialize)]
pub struct ClaimedPosts {
    pub rows: Vec<LeasedPost>,
    pub next_after: Option<Uuid>,
    #[serde(default)]
    pub waiting: u64,
    pub next_attempt_ms: Option<u64>,
    #[serde(default)]
    pub leased_elsewhere: u64,
    #[serde(default)]
    pub copied: u64,
    #[serde(default)]
    pub locked: u64,
    #[serde(default)]
    pub in_batches: u64,
}

/// What a claim would find, and where the next peek starts.
#[derive(Debug, Clone, Deserialize)]
pub struct PeekedPosts {
    pub rows: Vec<LeasedPost>,
    pub next_after: Option<Uuid>,
}

/// How many posts are due, and where the next count starts.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct CountedPosts {
    pub due: u64,
    pub next_after: Option<Uuid>,
}

/// A post that failed.
#[derive(Debug, Clone, Serialize)]
pub struct FailedPost {
    pub post_id: Uuid,
    pub error: String,
    pub permanent: bool,
}

/// Weights, and how many posts have a score under them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WeightScores {
    pub id: Uuid,
    pub name: Option<String>,
    pub weights: Value,
    pub active: bool,
    pub has_scores: bool,
    pub scores: u64,
    pub created_at: Option<Timestamp>,
    pub created_by: Option<String>,
}

/// What one call of `prune_weight_scores` deleted.
#[derive(Debug, Clone, Deserialize)]
pub struct PrunedScores {
    pub deleted: u64,
    pub weight_config_ids: Vec<Uuid>,
    pub more: bool,
}

/// What became of failures.
#[derive(Debug, Clone, Deserialize)]
pub struct FailedWork {
    pub retrying: u64,
    pub dead_ids: Vec<Uuid>,
}

/// An embedding to be written.
#[derive(Debug, Clone, Serialize)]
pub struct EmbeddingRow {
    pub post_id: Uuid,
    #[serde(serialize_with = "write_as_text")]
    pub embedding: Arc<[f32]>,
    pub model: String,
    pub dimensions: usize,
    pub text_hash: String,
}

/// A score to be written.
#[derive(Debug, Clone, Serialize)]
pub struct ScoreRow {
    pub post_id: Uuid,
    pub scores: BTreeMap<String, f64>,
    pub categories: Vec<String>,
    pub summary: Option<String>,
    pub why_podcast_worthy: Option<String>,
    pub model_version: String,
    pub prompt_version: String,
    pub fingerprint: String,
    pub text_hash: String,
}

/// One dimension's score to be merged.
#[derive(Debug, Clone, Serialize)]
pub struct DimensionRow {
    pub post_id: Uuid,
    pub score: f64,
    /// Of the text that was scored.
    pub text_hash: String,
}

/// A pass over every post.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct BegunPass {
    pub started_at: Timestamp,
    /// Whether it began before this call.
    pub resumed: bool,
}

/// A job that was claimed.
#[derive(Debug, Clone, Deserialize)]
pub struct ClaimedJob {
    pub id: Uuid,
    #[serde(rename = "type")]
    pub kind: String,
    pub params: Option<Value>,
}

/// What a holder has reserved for today.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct ReservedBudget {
    pub day: Date,
    /// Until the day ends.
    pub ends_ms: u64,
    pub reserved: f64,
    /// What counts against the budget besides this holder.
    pub used: Option<f64>,
    /// The budget that stands in the way.
    pub full: Option<Period>,
}

/// What a budget is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Period {
    /// A day of UTC.
    Day,
    /// A month of UTC.
    Month,
}

/// The money of today and of this month, and the latest runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunsAndMoney {
    pub today: Spending,
    pub month: Spending,
    pub runs: Vec<RecordedRun>,
}

/// What is spent, and what may be spent beyond it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Spending {
    pub usd: f64,
    pub reserved: f64,
}

/// A run of a flow, as it was recorded.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RecordedRun {
    pub id: Uuid,
    pub flow: String,
    pub host: Option<String>,
    pub state: String,
    pub exit: Option<i32>,
    pub started_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub counts: Value,
    pub input_tokens: u64,
    pub cached_tokens: u64,
    pub written_tokens: u64,
    pub output_tokens: u64,
    pub usd: Option<f64>,
    /// While it goes on.
    pub rate: Option<RunRate>,
}

/// How fast a run goes, and its limits if they are known.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RunRate {
    pub requests_per_minute: f64,
    pub tokens_per_minute: f64,
    pub requests_limit: Option<u32>,
    pub tokens_limit: Option<u32>,
}

/// Where a batch is: what of it may be at the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BatchState {
    /// Nothing.
    Packing,
    /// Perhaps a file.
    Uploading,
    /// A file, and perhaps a batch.
    Creating,
    /// A file and a batch.
    Submitted,
    /// Files that are still to be deleted.
    Stored,
    /// Nothing any more.
    Ended,
}

/// What a run needs to know to go on with a batch.
#[derive(Debug, Clone, Deserialize)]
pub struct BatchRecord {
    pub id: Uuid,
    pub kind: String,
    pub state: BatchState,
    pub settings: Value,
    pub file_id: Option<String>,
    pub batch_id: Option<String>,
    pub output_file_id: Option<String>,
    pub error_file_id: Option<String>,
    pub usd_at_most: Option<f64>,
    pub created_at: Timestamp,
}

/// A batch that was taken, if one was to be looked at.
#[derive(Debug, Clone, Deserialize)]
pub struct TakenBatch {
    pub batch: Option<BatchRecord>,
    /// Batches that have not ended.
    pub open: u64,
    /// Until the next of them is to be looked at.
    pub wait_ms: Option<u64>,
}

/// A row of a batch: the line and the place in it, and the hash of the text that was sent.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct BatchRow {
    pub line: u32,
    pub place: u32,
    pub post_id: Uuid,
    pub text_hash: String,
    /// How often it was blamed before. Such a row is alone in its line.
    pub attempts: u32,
}

/// Rows of a batch, and the line after which the next ones come.
#[derive(Debug, Clone, Deserialize)]
pub struct BatchRowPage {
    pub rows: Vec<BatchRow>,
    pub next_after: Option<i32>,
}

/// What is shown of a batch.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ListedBatch {
    pub id: Uuid,
    pub flow: String,
    pub kind: String,
    pub state: BatchState,
    pub provider: String,
    pub provider_state: Option<String>,
    pub batch_id: Option<String>,
    pub rows: u64,
    pub lines: u64,
    pub lines_done: u64,
    pub lines_failed: u64,
    pub usd_at_most: Option<f64>,
    pub usd: Option<f64>,
    pub reason: Option<String>,
    pub created_by: Option<String>,
    pub created_at: Timestamp,
    pub submitted_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
}

/// New weights and the job that computes their scores.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SavedWeights {
    pub weight_config_id: Uuid,
    pub job_id: Uuid,
}

/// What was staged, and where the next chunk starts.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct StagedScores {
    pub staged: u64,
    pub next_after: Option<Uuid>,
    /// About how many scored posts there are. Only the first chunk of a job says so.
    pub total: Option<u64>,
    /// A post in the middle of them. Only the first chunk of a job names one.
    pub middle: Option<Uuid>,
}

/// How many scores a cut-over wrote.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct AppliedScores {
    pub applied: u64,
}

/// A post that was found, with its cosine similarity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FoundPost {
    pub id: Uuid,
    pub text: String,
    pub similarity: f64,
    pub url: Option<String>,
}

/// A post that was found by meaning, by words or by both.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FoundByBoth {
    pub id: Uuid,
    pub text: String,
    /// The sum of 1 / (60 + rank) of the ways that found it.
    pub score: f64,
    pub similarity: Option<f64>,
    /// How well its words fit.
    pub words: Option<f64>,
    pub url: Option<String>,
}

/// What the database says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct InspectedProject {
    pub role: String,
    pub statement_timeout: String,
    pub pgvector: Option<String>,
    pub dimensions: Option<u32>,
    pub missing_functions: Vec<String>,
    pub closed_functions: Vec<String>,
    pub missing_tables: Vec<String>,
    pub open_tables: Vec<String>,
}

/// The id of a post.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Select)]
#[select(from = Posts)]
pub struct PostId {
    pub id: Uuid,
}

/// What is read of a neighborhood.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Select)]
#[select(from = Neighborhoods)]
pub struct Neighborhood {
    pub id: Uuid,
    pub name: String,
    pub slug: String,
}

/// What is read of a row of work that fails or is in flight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Select)]
#[select(from = WorkItems)]
pub struct WorkItem {
    pub kind: String,
    pub post_id: Uuid,
    pub attempts: i32,
    pub next_attempt_at: Option<Timestamp>,
    pub last_error: Option<String>,
    pub dead: bool,
}

/// What is read of a background job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Select)]
#[select(from = BackgroundJobs)]
pub struct Job {
    pub id: Uuid,
    pub r#type: String,
    pub status: String,
    pub params: Option<Value>,
    pub progress: Option<i32>,
    pub total: Option<i32>,
    pub error_message: Option<String>,
    pub retry_count: Option<i32>,
    pub max_retries: Option<i32>,
    pub created_at: Option<Timestamp>,
}

/// What is read of a weight config.
#[derive(Debug, Clone, PartialEq, Deserialize, Select)]
#[select(from = WeightConfigs)]
pub struct WeightConfig {
    pub id: Uuid,
    pub weights: Value,
}

/// A vector in pgvector's text form.
pub fn vector_text(vector: &[f32]) -> String {
    let mut text = String::new();
    write_vector(&mut text, vector);
    text
}

fn write_as_text<S: Serializer>(vector: &Arc<[f32]>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&vector_text(vector))
}

/// A number as an argument of the type `integer`. A larger one becomes the largest.
pub fn int(number: impl TryInto<i32>) -> i32 {
    number.try_into().unwrap_or(i32::MAX)
}
