//! Recompute: the final scores for a weight config, staged in chunks and cut over at once.

use serde_json::{Value, json};
use uuid::Uuid;

use super::job::LeasedJob;
use super::run::Run;
use super::session::Session;
use crate::db::{
    ActiveWeightConfig, BackgroundJobs, CompleteRecomputeJob, DatabaseError, StagePostScores,
    StagedScores, WeightConfig, WeightConfigs,
};
use crate::engine::StopReason;
use crate::error::Error;
use crate::report::Outcome;
use crate::scoring::Weights;

/// The type of a recompute in the jobs table.
pub(crate) const RECOMPUTE_JOB: &str = "recompute_final_scores";
/// Posts staged by one statement: some hundred milliseconds, far below the statement timeout.
const CHUNK: i32 = 6_000;
/// If the statement takes too long for so few posts, it waits for a lock.
const CHUNK_MIN: i32 = 1_000;

/// What to recompute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RecomputeOptions {
    /// The weight config; none = the active one.
    pub weight_config_id: Option<Uuid>,
    /// Make it the active one, in the same step.
    pub activate: bool,
}

impl RecomputeOptions {
    /// The parameters of the job.
    pub(crate) fn to_params(self) -> Value {
        json!({
            "weight_config_id": self.weight_config_id,
            "activate_on_completion": self.activate,
        })
    }

    /// Reads the parameters of a job.
    pub(crate) fn from_params(params: &Value) -> Result<Self, Error> {
        let id = match params.get("weight_config_id") {
            None | Some(Value::Null) => None,
            Some(id) => Some(id.as_str().and_then(|id| id.parse().ok()).ok_or_else(|| {
                Error::Usage(format!(
                    "params.weight_config_id is {id}, which is not the id of a weight config"
                ))
            })?),
        };
        Ok(Self {
            weight_config_id: id,
            activate: params.get("activate_on_completion") == Some(&Value::Bool(true)),
        })
    }
}

/// Computes the final scores of all scored posts and cuts over to them. Readers see the old scores
/// until the moment at which they see all the new ones.
///
/// It begins a background job and runs it as a worker would, so a crash is visible and two recomputes
/// never mix.
///
/// # Errors
/// If there is no such weight config, or the database cannot be reached.
pub async fn recompute(
    session: &Session,
    run: &Run,
    options: RecomputeOptions,
) -> Result<Outcome, Error> {
    session
        .recorded("recompute", run, begin_and_recompute(session, run, options))
        .await
}

async fn begin_and_recompute(
    session: &Session,
    run: &Run,
    options: RecomputeOptions,
) -> Result<Outcome, Error> {
    let session = &session.within(run);
    let (database, params) = (&session.database, options.to_params());
    let job = LeasedJob::begin(database, RECOMPUTE_JOB, params, "sluice recompute").await?;
    let work = recompute_as(session, run, &job, options);
    let result = job.watch(run, &run.stop, work).await;
    if let Err(error) = job.end(run, &result).await {
        tracing::warn!(job = %job.id(), %error, "failed to record how the job ended; its lease will lapse");
    }
    result
}

/// Runs a leased recompute job. A lost job stops the run.
pub(crate) async fn recompute_as(
    session: &Session,
    run: &Run,
    job: &LeasedJob,
    options: RecomputeOptions,
) -> Result<Outcome, Error> {
    match stage_and_apply(session, run, job, options).await {
        Err(Error::Database(error)) if error.is_job_lost() => {
            run.stop.stop(StopReason::JobGone(error.to_string()));
        }
        Err(Error::Database(error)) if error.is_stopped() => {}
        result => result?,
    }
    Ok(session.outcome("recompute", run, false))
}

/// Stages every scored post and cuts over. If the run is stopped, it leaves the job as it is.
async fn stage_and_apply(
    session: &Session,
    run: &Run,
    job: &LeasedJob,
    options: RecomputeOptions,
) -> Result<(), Error> {
    let session = &session.within(run);
    let weights = session.weights(run, options.weight_config_id).await?;
    let (mut after, mut limit) = (None, CHUNK);
    loop {
        if run.stop.is_stopped() {
            return Ok(());
        }
        let stage = StagePostScores {
            p_job_id: job.id(),
            p_worker: job.worker(),
            p_weight_config_id: weights,
            p_after: after,
            p_limit: limit,
        };
        let chunk = staged(session, stage, &mut limit).await?;
        if let Some(total) = chunk.total {
            run.expect(total);
        }
        run.staged(chunk.staged);
        after = chunk.next_after;
        if after.is_none() {
            break;
        }
    }
    if run.stop.is_stopped() {
        return Ok(());
    }
    let complete = CompleteRecomputeJob {
        p_job_id: job.id(),
        p_worker: job.worker(),
        p_activate: options.activate,
    };
    let applied = completed(session, complete).await?;
    job.set_completed();
    run.metrics
        .written(usize::try_from(applied).unwrap_or(usize::MAX));
    session.notify_app(run).await;
    Ok(())
}

/// Stages a chunk, and halves the limit while the statement takes too long. A chunk that is sent again replaces itself.
async fn staged(
    session: &Session,
    mut stage: StagePostScores,
    limit: &mut i32,
) -> Result<StagedScores, DatabaseError> {
    let mut wait = session.database.patience().begin();
    loop {
        match session.database.call_long(stage.clone()).await {
            Err(error) if error.is_too_slow() && *limit > CHUNK_MIN => {
                *limit = (*limit / 2).max(CHUNK_MIN);
                stage.p_limit = *limit;
                tracing::debug!(%error, limit, "staging fewer posts at once");
            }
            Err(error) if error.is_too_slow() => error.outlast(&mut wait).await?,
            result => return result,
        }
    }
}

/// Cuts over, and returns how many scores are there. If the response is lost, the job's status says whether the
/// cut-over was done.
async fn completed(
    session: &Session,
    complete: CompleteRecomputeJob,
) -> Result<u64, DatabaseError> {
    let mut wait = session.database.patience().begin();
    loop {
        let error = match session.database.call_long(complete.clone()).await {
            Ok(applied) => return Ok(applied.applied),
            Err(error) => error,
        };
        if !error.is_unknown() && !error.is_job_lost() && !error.is_too_slow() {
            return Err(error);
        }
        let jobs = session.database.client().from::<BackgroundJobs>();
        let job = jobs
            .filter(BackgroundJobs::ID.eq(complete.p_job_id))
            .limit(1)
            .await
            .map_err(DatabaseError::from)?;
        match job.as_slice() {
            [job] if job.status == "completed" && job.worker == Some(complete.p_worker) => {
                return Ok(u64::try_from(job.progress.unwrap_or_default()).unwrap_or_default());
            }
            _ if error.is_job_lost() => return Err(error),
            _ => error.outlast(&mut wait).await?,
        }
    }
}

impl Session {
    /// The weight config that was asked for, or else the active one. Warns about weights for dimensions
    /// that are never scored.
    async fn weights(&self, run: &Run, asked: Option<Uuid>) -> Result<Uuid, Error> {
        let id = match asked {
            Some(id) => Some(id),
            None => self.database.call(ActiveWeightConfig {}).await?,
        };
        let id = id.ok_or_else(|| {
            Error::Usage(
                "no weight config is active: give one with --weights ID, or save weights with \
                 `sluice jobs enqueue recompute_final_scores --weights JSON --activate`"
                    .to_owned(),
            )
        })?;
        let configs = self.database.client().from::<WeightConfigs>();
        let found = configs
            .select::<WeightConfig>()
            .filter(WeightConfigs::ID.eq(id))
            .limit(1)
            .await
            .map_err(DatabaseError::from)?;
        let config = found
            .first()
            .ok_or_else(|| Error::Usage(format!("there is no weight config {id}")))?;
        let weights =
            Weights::from_json(&config.weights).map_err(|error| Error::Usage(error.to_string()))?;
        if let Some(warning) = weights.warning(&self.settings.rubric) {
            run.metrics.warn(warning);
        }
        Ok(id)
    }

    /// Notifies the app, if one is configured, that its cache of the active weights is out of date.
    async fn notify_app(&self, run: &Run) {
        if let Some(app) = &self.settings.app
            && let Err(error) = super::invalidate_cache::invalidate_cache(app).await
        {
            run.metrics.warn(format!(
                "failed to notify the app of the new scores: {error}"
            ));
        }
    }
}
