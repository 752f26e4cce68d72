//! The functions of background jobs and of the recompute, as types. What each does is said once, in
//! docs/ARCHITECTURE.md and in the migration that creates it.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sluice_sdk::Function;
use uuid::Uuid;

/// `claim_job`
#[derive(Debug, Serialize, Function)]
#[function(name = "claim_job", returns = Option<ClaimedJob>)]
pub struct ClaimJob {
    /// This worker.
    pub p_worker: Uuid,
    /// The types that it runs.
    pub p_types: Vec<String>,
    /// How long the lease holds.
    pub p_lease_seconds: u64,
    /// This job only; none = the oldest that is due.
    pub p_job_id: Option<Uuid>,
}

/// A job that was claimed.
#[derive(Debug, Clone, Deserialize)]
pub struct ClaimedJob {
    /// The job.
    pub id: Uuid,
    /// What it does.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it was asked to do.
    pub params: Option<Value>,
}

/// `heartbeat_job`
#[derive(Debug, Serialize, Function)]
#[function(name = "heartbeat_job", returns = String)]
pub struct HeartbeatJob {
    /// The job.
    pub p_job_id: Uuid,
    /// This worker.
    pub p_worker: Uuid,
    /// How long the lease holds from now.
    pub p_lease_seconds: u64,
    /// Rows done.
    pub p_progress: Option<u64>,
    /// Rows in all.
    pub p_total: Option<u64>,
}

/// `finish_job`
#[derive(Debug, Serialize, Function)]
#[function(name = "finish_job", returns = String)]
pub struct FinishJob {
    /// The job.
    pub p_job_id: Uuid,
    /// This worker.
    pub p_worker: Uuid,
}

/// `fail_job`
#[derive(Debug, Serialize, Function)]
#[function(name = "fail_job", returns = String)]
pub struct FailJob {
    /// The job.
    pub p_job_id: Uuid,
    /// This worker.
    pub p_worker: Uuid,
    /// Why.
    pub p_error: String,
    /// Trying again cannot help.
    pub p_permanent: bool,
}

/// `release_job`
#[derive(Debug, Serialize, Function)]
#[function(name = "release_job", returns = String)]
pub struct ReleaseJob {
    /// The job.
    pub p_job_id: Uuid,
    /// This worker.
    pub p_worker: Uuid,
}

/// `enqueue_job`
#[derive(Debug, Serialize, Function)]
#[function(name = "enqueue_job", returns = Uuid)]
pub struct EnqueueJob {
    /// What it does.
    pub p_type: String,
    /// What it is asked to do.
    pub p_params: Value,
    /// How often it may be tried again.
    pub p_max_retries: u32,
    /// Who asks.
    pub p_created_by: String,
}

/// `begin_job`
#[derive(Debug, Serialize, Function)]
#[function(name = "begin_job", returns = Uuid)]
pub struct BeginJob {
    /// What it does.
    pub p_type: String,
    /// What it is asked to do.
    pub p_params: Value,
    /// This worker.
    pub p_worker: Uuid,
    /// How long the lease holds.
    pub p_lease_seconds: u64,
    /// Who asks.
    pub p_created_by: String,
}

/// `save_and_recompute`
#[derive(Debug, Serialize, Function)]
#[function(name = "save_and_recompute", returns = SavedWeights)]
pub struct SaveAndRecompute {
    /// The weight of each dimension.
    pub p_weights: Value,
    /// What to call them.
    pub p_name: Option<String>,
    /// Make them the active ones once their scores are there.
    pub p_activate: bool,
    /// Who asks.
    pub p_created_by: String,
}

/// New weights and the job that computes their scores.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SavedWeights {
    /// The weights.
    pub weight_config_id: Uuid,
    /// The job.
    pub job_id: Uuid,
}

/// `cancel_job`: the job's status, none where there is no such job.
#[derive(Debug, Serialize, Function)]
#[function(name = "cancel_job", returns = Option<String>)]
pub struct CancelJob {
    /// The job.
    pub p_job_id: Uuid,
    /// Who asks.
    pub p_by: String,
}

/// `retry_job`: the job's status, none where there is no such job.
#[derive(Debug, Serialize, Function)]
#[function(name = "retry_job", returns = Option<String>)]
pub struct RetryJob {
    /// The job.
    pub p_job_id: Uuid,
}

/// `stage_post_scores`
#[derive(Debug, Serialize, Function)]
#[function(name = "stage_post_scores", returns = StagedScores)]
pub struct StagePostScores {
    /// The job that they are staged for.
    pub p_job_id: Uuid,
    /// This worker.
    pub p_worker: Uuid,
    /// The weights.
    pub p_weight_config_id: Uuid,
    /// The cursor.
    pub p_after: Option<Uuid>,
    /// Posts at most.
    pub p_limit: u32,
}

/// What was staged, and where to go on.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct StagedScores {
    /// Scores staged by this call.
    pub staged: u64,
    /// The cursor of the next call; none at the end.
    pub next_after: Option<Uuid>,
    /// Scored posts in all, counted by the first call of a job.
    pub total: Option<u64>,
}

/// `complete_recompute_job`
#[derive(Debug, Serialize, Function)]
#[function(name = "complete_recompute_job", returns = AppliedScores)]
pub struct CompleteRecomputeJob {
    /// The job.
    pub p_job_id: Uuid,
    /// This worker.
    pub p_worker: Uuid,
    /// Make the weights the active ones.
    pub p_activate: bool,
}

/// What a cut-over wrote.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct AppliedScores {
    /// Scores that are now in force.
    pub applied: u64,
}
