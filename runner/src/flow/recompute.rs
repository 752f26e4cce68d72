//! Recompute: the final scores for a weight config, staged in chunks and cut over at once.

use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::session::{Run, Session};
use crate::db::{
    ActiveWeightConfig, BeatJob, BeginJob, CompleteRecomputeJob, DatabaseError, FailJob,
    StagePostScores, WeightConfig,
};
use crate::engine::StopReason;
use crate::error::Error;
use crate::report::Outcome;
use crate::scoring::Weights;

/// Posts staged by one statement: some hundred milliseconds, far below the statement timeout.
const CHUNK: u32 = 25_000;
/// The type of the jobs that this flow runs.
const JOB_TYPE: &str = "recompute_final_scores";
/// How long the job stays ours without a sign of life.
const JOB_LEASE_SECONDS: u64 = 60;
/// How often we give one while chunks are staged; each chunk tells by itself whether the job is still ours.
const BEAT: Duration = Duration::from_secs(2);

/// What to recompute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RecomputeOptions {
    /// The weight config; none = the active one.
    pub weight_config_id: Option<Uuid>,
    /// Make it the active one, in the same step.
    pub activate: bool,
}

/// Computes the final scores of all scored posts and cuts over to them. Readers see the old scores
/// until the moment at which they see all the new ones.
///
/// It runs as a background job of its own, so that a crash is visible and another run never mixes with
/// it.
///
/// # Errors
/// Where there is no such weight config, or the database cannot be reached.
pub async fn recompute(
    session: &Session,
    run: &Run,
    options: RecomputeOptions,
) -> Result<Outcome, Error> {
    let params = serde_json::json!({
        "weight_config_id": options.weight_config_id,
        "activate_on_completion": options.activate,
    });
    let (database, worker) = (&session.database, Uuid::new_v4());
    let begin = BeginJob {
        p_type: JOB_TYPE.to_owned(),
        p_params: params,
        p_worker: worker,
        p_lease_seconds: JOB_LEASE_SECONDS,
        p_created_by: "sluice recompute".to_owned(),
    };
    let job = database.call(begin).await?;
    let result = stage_and_apply(session, run, job, worker, options).await;
    let why = match (&result, run.stop.reason()) {
        (Err(error), _) => Some(error.to_string()),
        (Ok(()), reason) => reason.map(ToString::to_string),
    };
    if let Some(why) = why {
        abandon(session, job, worker, why).await;
    }
    match result {
        Err(Error::Database(error)) if error.is_job_lost() => {
            run.stop.stop(StopReason::JobGone(error.to_string()));
        }
        result => result?,
    }
    Ok(session.outcome("recompute", run, false))
}

/// Ends a job that was begun here, if it is still ours: left as it is, a worker would do later what was
/// called off.
async fn abandon(session: &Session, job: Uuid, worker: Uuid, why: String) {
    let fail = FailJob {
        p_job_id: job,
        p_worker: worker,
        p_error: why,
        p_permanent: true,
    };
    if let Err(error) = session.database.call(fail).await {
        tracing::warn!(%job, %error, "failed to end the job; its lease lapses by itself");
    }
}

/// Stages every scored post for a job that is ours, and cuts over. Stopped meanwhile, it leaves the job
/// as it is.
pub(crate) async fn stage_and_apply(
    session: &Session,
    run: &Run,
    job: Uuid,
    worker: Uuid,
    options: RecomputeOptions,
) -> Result<(), Error> {
    let weights = session.weights(run, options.weight_config_id).await?;
    let (mut after, mut beaten) = (None, Instant::now());
    loop {
        if run.stop.is_stopped() {
            return Ok(());
        }
        let stage = StagePostScores {
            p_job_id: job,
            p_worker: worker,
            p_weight_config_id: weights,
            p_after: after,
            p_limit: CHUNK,
        };
        let chunk = session.database.call(stage).await?;
        if let Some(total) = chunk.total {
            run.expect(total);
        }
        run.staged(chunk.staged);
        after = chunk.next_after;
        if after.is_none() {
            break;
        }
        if beaten.elapsed() >= BEAT {
            beat(session, run, job, worker).await?;
            beaten = Instant::now();
        }
    }
    if run.stop.is_stopped() {
        return Ok(());
    }
    let complete = CompleteRecomputeJob {
        p_job_id: job,
        p_worker: worker,
        p_activate: options.activate,
    };
    let applied = session.database.call(complete).await?;
    run.tally
        .written(usize::try_from(applied.applied).unwrap_or(usize::MAX));
    session.tell_app(run).await;
    Ok(())
}

/// Gives a sign of life; a job that is not ours any more stops the run.
async fn beat(session: &Session, run: &Run, job: Uuid, worker: Uuid) -> Result<(), DatabaseError> {
    let beat = BeatJob {
        p_job_id: job,
        p_worker: worker,
        p_lease_seconds: JOB_LEASE_SECONDS,
        p_progress: Some(run.progress()),
        p_total: run.total(),
    };
    let status = session.database.call(beat).await?;
    if status != "running" {
        run.stop
            .stop(StopReason::JobGone(format!("job {job} is {status}")));
    }
    Ok(())
}

impl Session {
    /// The weight config that is asked for, else the one in force; warns of weights that no score
    /// answers to.
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
        let configs = self.database.client().from::<WeightConfig>();
        let found = configs
            .filter(WeightConfig::ID.eq(id))
            .limit(1)
            .await
            .map_err(DatabaseError::from)?;
        let config = found
            .first()
            .ok_or_else(|| Error::Usage(format!("there is no weight config {id}")))?;
        let weights =
            Weights::from_json(&config.weights).map_err(|error| Error::Usage(error.to_string()))?;
        if let Some(warning) = weights.warning(&self.settings.rubric) {
            run.tally.warn(warning);
        }
        Ok(id)
    }

    /// Tells the app that its cache of the active weights is out of date, where one is configured.
    async fn tell_app(&self, run: &Run) {
        if let Some(app) = &self.settings.app
            && let Err(error) = super::app::invalidate(app).await
        {
            run.tally
                .warn(format!("the app was not told of the new scores: {error}"));
        }
    }
}
