//! Recompute: the final scores for a weight config, staged in chunks and cut over at once.

use uuid::Uuid;

use super::session::{Run, Session};
use crate::db::{
    BeatJob, ClaimJob, CompleteRecomputeJob, EnqueueJob, FailJob, ReleaseJob, StagePostScores,
};
use crate::engine::StopReason;
use crate::error::Error;
use crate::report::Outcome;

/// Posts staged by one statement: well under the statement timeout.
const CHUNK: u32 = 10_000;
/// The type of the jobs that this flow runs.
pub(crate) const JOB_TYPE: &str = "recompute_final_scores";
/// How long the job stays ours without a sign of life.
pub(crate) const JOB_LEASE_SECONDS: u64 = 60;

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
    let database = &session.database;
    let enqueue = EnqueueJob {
        p_type: JOB_TYPE.to_owned(),
        p_params: params,
        p_max_retries: 0,
        p_created_by: "sluice recompute".to_owned(),
    };
    let job = database.call(enqueue).await?;
    let worker = Uuid::new_v4();
    let claim = ClaimJob {
        p_worker: worker,
        p_types: vec![JOB_TYPE.to_owned()],
        p_lease_seconds: JOB_LEASE_SECONDS,
        p_job_id: Some(job),
    };
    let Some(claimed) = database.call(claim).await? else {
        let reason = format!("another worker runs job {job}; `sluice jobs list` shows it");
        run.stop.stop(StopReason::JobGone(reason));
        return Ok(session.outcome("recompute", run, false));
    };
    match stage_and_apply(session, run, claimed.id, worker, options).await {
        Ok(()) => {}
        Err(error) => {
            let fail = FailJob {
                p_job_id: job,
                p_worker: worker,
                p_error: error.to_string(),
                p_permanent: true,
            };
            database.call(fail).await?;
            return Err(error);
        }
    }
    Ok(session.outcome("recompute", run, false))
}

/// Stages every scored post for a job that is ours, and cuts over.
pub(crate) async fn stage_and_apply(
    session: &Session,
    run: &Run,
    job: Uuid,
    worker: Uuid,
    options: RecomputeOptions,
) -> Result<(), Error> {
    let database = &session.database;
    let weight_config = match options.weight_config_id {
        Some(id) => id,
        None => session.active_weights().await?,
    };
    let mut after = None;
    let mut staged: u64 = 0;
    loop {
        if run.stop.is_stopped() {
            database
                .call(ReleaseJob {
                    p_job_id: job,
                    p_worker: worker,
                })
                .await?;
            return Ok(());
        }
        let stage = StagePostScores {
            p_job_id: job,
            p_worker: worker,
            p_weight_config_id: weight_config,
            p_after: after,
            p_limit: CHUNK,
        };
        let chunk = database.call(stage).await?;
        staged += chunk.staged;
        run.tally
            .selected(usize::try_from(chunk.staged).unwrap_or(usize::MAX));
        let beat = BeatJob {
            p_job_id: job,
            p_worker: worker,
            p_lease_seconds: JOB_LEASE_SECONDS,
            p_progress: Some(staged),
            p_total: None,
        };
        let status = database.call(beat).await?;
        if status != "running" {
            run.stop
                .stop(StopReason::JobGone(format!("job {job} is {status}")));
            return Ok(());
        }
        after = chunk.next_after;
        if after.is_none() {
            break;
        }
    }
    let complete = CompleteRecomputeJob {
        p_job_id: job,
        p_worker: worker,
        p_activate: options.activate,
    };
    let applied = database.call(complete).await?;
    run.tally
        .written(usize::try_from(applied.applied).unwrap_or(usize::MAX));
    session.tell_app(run).await;
    Ok(())
}

impl Session {
    /// The weight config that is in force.
    async fn active_weights(&self) -> Result<Uuid, Error> {
        let status = self.database.call(crate::db::PipelineStatus {}).await?;
        let id = status
            .pointer("/active_weights/id")
            .and_then(|id| id.as_str());
        id.and_then(|id| id.parse().ok()).ok_or_else(|| {
            Error::Usage(
                "no weight config is active: give one with --weights ID, or save weights with \
                 `sluice jobs enqueue recompute_final_scores --weights JSON --activate`"
                    .to_owned(),
            )
        })
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
