//! The worker: claims background jobs by lease and runs their flows.
//!
//! A job that is cancelled, or that another worker has taken over, is left within a second. A job whose
//! parameters make no sense fails alone. A worker that dies leaves its job to the next one.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use uuid::Uuid;

use crate::db::{BeatJob, ClaimJob, ClaimedJob, DatabaseError, FailJob, FinishJob, ReleaseJob};
use crate::engine::{Stop, StopReason};
use crate::error::Error;
use crate::exit::Exit;
use crate::flow::{self, Due, FlowOptions, RecomputeOptions, Run, ScoreScope, Session};
use crate::report::{Outcome, Report};

/// The types of jobs that Sluice runs; others in the table belong to others.
pub const JOB_TYPES: [&str; 4] = [
    "recompute_final_scores",
    "backfill_dimension",
    "rescore_all",
    "embed_posts",
];

/// How long a job stays ours without a sign of life.
const LEASE_SECONDS: u64 = 60;
/// How often we give one, and hear of a cancel.
const BEAT: Duration = Duration::from_millis(500);
/// The first pause when no job is due; doubled up to the longest.
const POLL_MIN: Duration = Duration::from_secs(1);
/// The longest pause between looks.
const POLL_MAX: Duration = Duration::from_secs(15);

/// What a job asks for, checked.
#[derive(Debug, Clone, PartialEq)]
enum Job {
    Recompute(RecomputeOptions),
    Backfill(String),
    RescoreAll,
    Embed,
}

/// Runs jobs until stopped or, with `once`, until none is due; answers the reports of what it ran.
///
/// # Errors
/// Where the database cannot be reached.
pub async fn work(
    session: &Session,
    types: &[String],
    once: bool,
    stop: &Stop,
    mut on_report: impl FnMut(&Outcome),
) -> Result<Exit, Error> {
    let worker = Uuid::new_v4();
    let (mut pause, mut exit) = (POLL_MIN, Exit::Complete);
    while !stop.is_stopped() {
        let claim = ClaimJob {
            p_worker: worker,
            p_types: types.to_vec(),
            p_lease_seconds: LEASE_SECONDS,
            p_job_id: None,
        };
        let ran = match session.database.call(claim).await {
            Ok(Some(job)) => run_job(session, worker, &job, stop).await.map(Some),
            Ok(None) => Ok(None),
            Err(error) => Err(error.into()),
        };
        match ran {
            Ok(Some(outcome)) => {
                pause = POLL_MIN;
                exit = first(exit, outcome.exit);
                on_report(&outcome);
            }
            Ok(None) if once => return Ok(exit),
            Ok(None) => pause = idle(pause, stop).await,
            Err(error) if once => return Err(error),
            // A worker outlives an outage of the database; the lease of its job lapses meanwhile.
            Err(error) => {
                tracing::warn!(%error, "the database does not answer; trying again");
                pause = idle(pause, stop).await;
            }
        }
    }
    Ok(Exit::Interrupted)
}

/// The exit code after one more job: that of the first that did not complete. A job that was cancelled
/// or taken over went as somebody wanted.
fn first(so_far: Exit, next: Exit) -> Exit {
    match (so_far, next) {
        (Exit::Complete, Exit::Interrupted) => Exit::Complete,
        (Exit::Complete, next) => next,
        (so_far, _) => so_far,
    }
}

/// Waits, spread so that many workers do not ask at once; answers how long to wait next time.
async fn idle(pause: Duration, stop: &Stop) -> Duration {
    stop.sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
    (pause * 2).min(POLL_MAX)
}

/// Runs one job to its end and records how it ended.
async fn run_job(
    session: &Session,
    worker: Uuid,
    claimed: &ClaimedJob,
    stop: &Stop,
) -> Result<Outcome, Error> {
    tracing::info!(job = %claimed.id, kind = claimed.kind, "running a job");
    let run = session.begin(FlowOptions::default(), Stop::new());
    let result = match Job::read(claimed) {
        Ok(job) => {
            let work = perform(session, &run, worker, claimed.id, job);
            let watch = watch(session, &run, worker, claimed.id, stop);
            tokio::pin!(work);
            tokio::select! {
                result = &mut work => result,
                // The watch ends when the job has, or when it has stopped the run: then the work ends by itself.
                () = watch => work.await,
            }
        }
        Err(error) => Err(error),
    };
    record(session, worker, claimed, &run, result).await
}

async fn perform(
    session: &Session,
    run: &Run,
    worker: Uuid,
    id: Uuid,
    job: Job,
) -> Result<Outcome, Error> {
    if let Some(due) = job.due(session) {
        flow::count(session, run, &due).await;
    }
    match job {
        Job::Recompute(options) => {
            flow::stage_and_apply(session, run, id, worker, options).await?;
            Ok(session.outcome("recompute", run, false))
        }
        Job::Backfill(dimension) => flow::backfill(session, run, &dimension).await,
        Job::RescoreAll => flow::score(session, run, ScoreScope::Stale).await,
        Job::Embed => flow::embed(session, run, false).await,
    }
}

/// Gives signs of life until the job is not ours any more or the worker is stopped, then stops the run.
async fn watch(session: &Session, run: &Run, worker: Uuid, job: Uuid, stop: &Stop) {
    let mut heard = Instant::now();
    loop {
        if !stop.sleep(BEAT).await {
            return run.stop.interrupt(StopReason::Interrupted).await;
        }
        match session.database.call(beat(run, worker, job)).await {
            Ok(status) if status == "running" => heard = Instant::now(),
            // The cut-over completes its job itself, and this beat came after it.
            Ok(status) if status == "completed" => return,
            Ok(status) => {
                return run
                    .stop
                    .interrupt(StopReason::JobGone(format!("job {job} is {status}")))
                    .await;
            }
            // Once the lease has lapsed, another worker may run the job.
            Err(error) if heard.elapsed() > Duration::from_secs(LEASE_SECONDS) => {
                let reason = format!("job {job} is out of touch: {error}");
                return run.stop.interrupt(StopReason::JobGone(reason)).await;
            }
            Err(error) => tracing::warn!(%error, "failed to renew the job's lease"),
        }
    }
}

/// A sign of life, with how far the run has come.
fn beat(run: &Run, worker: Uuid, job: Uuid) -> BeatJob {
    BeatJob {
        p_job_id: job,
        p_worker: worker,
        p_lease_seconds: LEASE_SECONDS,
        p_progress: Some(run.progress()),
        p_total: run.total(),
    }
}

/// Records how a job ended; of a cut-over, which has completed its job already, this says the same again.
async fn record(
    session: &Session,
    worker: Uuid,
    claimed: &ClaimedJob,
    run: &Run,
    result: Result<Outcome, Error>,
) -> Result<Outcome, Error> {
    let id = claimed.id;
    match (result, run.stop.reason()) {
        (Ok(outcome), Some(StopReason::JobGone(_))) => Ok(outcome),
        (Ok(outcome), Some(StopReason::Interrupted)) => {
            let release = ReleaseJob {
                p_job_id: id,
                p_worker: worker,
            };
            session.database.call(release).await?;
            Ok(outcome)
        }
        (Ok(outcome), _) if matches!(outcome.exit, Exit::Complete | Exit::SomeFailed) => {
            let last = beat(run, worker, id);
            let last = BeatJob {
                p_total: last.p_progress,
                ..last
            };
            session.database.call(last).await?;
            let finish = FinishJob {
                p_job_id: id,
                p_worker: worker,
            };
            session.database.call(finish).await?;
            Ok(outcome)
        }
        (Ok(outcome), _) => {
            let reason = outcome.report.reason.as_deref().unwrap_or_default();
            fail(session, worker, id, reason, false).await?;
            Ok(outcome)
        }
        (Err(Error::Database(error)), _) if error.is_job_lost() => Ok(failed_outcome(
            claimed,
            &error.to_string(),
            Exit::Interrupted,
        )),
        (Err(error), _) => {
            tracing::warn!(job = %id, %error, "the job failed");
            let permanent = error.exit() == Exit::Usage;
            fail(session, worker, id, &error.to_string(), permanent).await?;
            Ok(failed_outcome(
                claimed,
                &error.to_string(),
                Exit::SomeFailed,
            ))
        }
    }
}

async fn fail(
    session: &Session,
    worker: Uuid,
    job: Uuid,
    error: &str,
    permanent: bool,
) -> Result<(), DatabaseError> {
    let fail = FailJob {
        p_job_id: job,
        p_worker: worker,
        p_error: error.chars().take(1_000).collect(),
        p_permanent: permanent,
    };
    session.database.call(fail).await?;
    Ok(())
}

fn failed_outcome(claimed: &ClaimedJob, reason: &str, exit: Exit) -> Outcome {
    let counts = crate::report::Counts::Rows(crate::report::RowCounts::default());
    let reason = format!("job {} ({}): {reason}", claimed.id, claimed.kind);
    Outcome::stopped(Report::new(&claimed.kind, counts), exit, reason)
}

impl Job {
    /// The posts that it is about; none of a recompute, which asks nobody about them.
    fn due(&self, session: &Session) -> Option<Due> {
        match self {
            Self::Recompute(_) => None,
            Self::Backfill(dimension) => Some(Due::Dimension(dimension.clone())),
            Self::RescoreAll => Some(flow::score_due(session, ScoreScope::Stale, None)),
            Self::Embed => {
                let settings = &session.settings.embedding;
                Some(Due::Embedding {
                    model: settings.model.clone(),
                    dimensions: settings.dimensions,
                    refresh: false,
                })
            }
        }
    }

    /// Reads what a job asks for.
    fn read(claimed: &ClaimedJob) -> Result<Self, Error> {
        let param = |name: &str| claimed.params.as_ref().and_then(|params| params.get(name));
        match claimed.kind.as_str() {
            "recompute_final_scores" => Ok(Self::Recompute(RecomputeOptions {
                weight_config_id: param("weight_config_id").map(uuid).transpose()?.flatten(),
                activate: param("activate_on_completion") == Some(&Value::Bool(true)),
            })),
            "backfill_dimension" => match param("dimension").and_then(Value::as_str) {
                Some(dimension) if !dimension.trim().is_empty() => {
                    Ok(Self::Backfill(dimension.to_owned()))
                }
                _ => Err(Error::Usage(
                    "params.dimension must name a dimension".to_owned(),
                )),
            },
            "rescore_all" => Ok(Self::RescoreAll),
            "embed_posts" => Ok(Self::Embed),
            other => Err(Error::Usage(format!("no job type `{other}` is known here"))),
        }
    }
}

fn uuid(value: &Value) -> Result<Option<Uuid>, Error> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => text.parse().map(Some).map_err(|_| not_an_id(value)),
        _ => Err(not_an_id(value)),
    }
}

fn not_an_id(value: &Value) -> Error {
    Error::Usage(format!(
        "params.weight_config_id is {value}, which is no id of a weight config"
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(kind: &str, params: Value) -> Result<Job, String> {
        let claimed = ClaimedJob {
            id: Uuid::nil(),
            kind: kind.to_owned(),
            params: Some(params),
        };
        Job::read(&claimed).map_err(|error| error.to_string())
    }

    #[test]
    fn a_recompute_without_weights_is_one_for_the_active_ones() {
        let job = read(
            "recompute_final_scores",
            json!({ "weight_config_id": null }),
        )
        .unwrap();
        assert_eq!(job, Job::Recompute(RecomputeOptions::default()));
    }

    #[test]
    fn parameters_that_make_no_sense_are_named() {
        let error = read("recompute_final_scores", json!({ "weight_config_id": 7 })).unwrap_err();
        assert!(error.contains("params.weight_config_id is 7"), "{error}");
        let error = read("backfill_dimension", json!({ "dimension": " " })).unwrap_err();
        assert!(error.contains("params.dimension"), "{error}");
        assert!(read("run_scraper", json!({})).is_err());
    }
}
