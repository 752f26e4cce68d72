//! Recompute: the final scores for a weight config, staged in chunks and cut over at once.

use futures_util::future::try_join_all;
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
/// If the statement takes too long for so few posts, it waits for a lock. The first chunk is as small, because no other
/// one is staged beside it.
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
    let staging = Staging {
        session,
        run,
        job,
        weights,
    };
    staging.all().await?;
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

/// The posts after one and up to another. None is no bound.
#[derive(Debug, Clone, Copy)]
struct Part {
    after: Option<Uuid>,
    until: Option<Uuid>,
    /// The most posts of a chunk.
    limit: i32,
}

impl Part {
    /// The part before the middle and the one after it, if the middle is in this part.
    fn divided(self, middle: Option<Uuid>) -> Vec<Self> {
        match middle {
            Some(middle) if Some(middle) > self.after => {
                let (until, after) = (Some(middle), Some(middle));
                vec![Self { until, ..self }, Self { after, ..self }]
            }
            _ => vec![self],
        }
    }
}

/// The staging of one job.
struct Staging<'a> {
    session: &'a Session,
    run: &'a Run,
    job: &'a LeasedJob,
    weights: Uuid,
}

impl Staging<'_> {
    /// Stages every scored post, unless the run is stopped.
    ///
    /// After the first chunk, two are staged at once, in rounds. Between two rounds no chunk has a lock. Somebody who
    /// changes the job or deletes the weights gets at them then.
    async fn all(&self) -> Result<(), DatabaseError> {
        let mut whole = Part {
            after: None,
            until: None,
            limit: CHUNK_MIN,
        };
        if self.run.stop.is_stopped() {
            return Ok(());
        }
        let first = self.chunk(&mut whole).await?;
        if let Some(total) = first.total {
            self.run.expect(total);
        }
        whole.limit = CHUNK;
        let mut parts = match whole.after {
            Some(_) => whole.divided(first.middle),
            None => Vec::new(),
        };
        while !parts.is_empty() && !self.run.stop.is_stopped() {
            try_join_all(parts.iter_mut().map(|part| self.chunk(part))).await?;
            parts.retain(|part| part.after.is_some());
        }
        Ok(())
    }

    /// Stages the next chunk of a part, after which `after` is none if it was the last. While the statement takes too
    /// long, the limit is halved. A chunk that is sent again replaces itself.
    async fn chunk(&self, part: &mut Part) -> Result<StagedScores, DatabaseError> {
        let database = &self.session.database;
        let mut wait = database.patience().begin();
        loop {
            let stage = StagePostScores {
                p_job_id: self.job.id(),
                p_worker: self.job.worker(),
                p_weight_config_id: self.weights,
                p_after: part.after,
                p_limit: part.limit,
                p_until: part.until,
            };
            match database.call_long(stage).await {
                Err(error) if error.is_too_slow() && part.limit > CHUNK_MIN => {
                    part.limit = (part.limit / 2).max(CHUNK_MIN);
                    tracing::debug!(%error, part.limit, "staging fewer posts at once");
                }
                Err(error) if error.is_too_slow() => error.outlast(&mut wait).await?,
                Err(error) => return Err(error),
                Ok(staged) => {
                    self.run.staged(staged.staged);
                    part.after = staged.next_after;
                    return Ok(staged);
                }
            }
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
