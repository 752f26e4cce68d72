//! The worker: claims background jobs by lease and runs their flows.
//!
//! It leaves a job within a second after the job is cancelled or another worker has taken it over. A job
//! with wrong parameters fails alone. If a worker dies, the next one takes over its job.

#[cfg(feature = "postgres")]
mod bell;
mod monitor;

use std::time::Duration;

use serde_json::Value;
use tracing::Instrument;

#[cfg(feature = "postgres")]
pub use self::bell::Bell;
pub use self::monitor::Monitor;

use crate::db::ClaimedJob;
use crate::engine::{Stop, backoff};
use crate::error::Error;
use crate::exit::Exit;
use crate::flow::{FlowOptions, LeasedJob, Session};
use crate::job::JobKind;
use crate::report::{Counts, Outcome, Report, RowCounts};

/// The first pause when no job is due. It doubles up to the longest.
const POLL_MIN: Duration = Duration::from_secs(1);
/// The longest pause between claims.
const POLL_MAX: Duration = Duration::from_secs(15);
/// The same if jobs are announced. A job that is to be retried is not, and neither is one whose worker has died.
#[cfg(feature = "postgres")]
const ANNOUNCED_POLL_MAX: Duration = Duration::from_secs(150);

/// How a worker hears of jobs.
#[derive(Debug)]
pub enum Hearing {
    /// It asks.
    Asks,
    /// They are announced.
    #[cfg(feature = "postgres")]
    Hears(Box<Bell>),
}

impl Hearing {
    /// Waits until there may be a job, or the worker is stopped. `quiet` says how often in a row there was none since
    /// one may have been left for later.
    async fn wait(&mut self, quiet: u32, stop: &Stop) {
        match self {
            #[cfg(feature = "postgres")]
            Self::Hears(bell) => {
                let longest = if bell.is_connected() {
                    ANNOUNCED_POLL_MAX
                } else {
                    POLL_MAX
                };
                tokio::select! {
                    _ = stop.sleep(backoff(quiet, POLL_MIN, longest)) => {}
                    () = bell.rung() => {}
                }
            }
            Self::Asks => {
                stop.sleep(backoff(quiet, POLL_MIN, POLL_MAX)).await;
            }
        }
    }
}

/// Runs jobs of these kinds until stopped or, with `once`, until none is due. Reports what it ran.
///
/// # Errors
/// With `once`, if the database cannot be reached.
pub async fn work(
    session: &Session,
    (kinds, once): (&[JobKind], bool),
    mut hearing: Hearing,
    stop: &Stop,
    monitor: &Monitor,
    mut on_report: impl FnMut(&Outcome),
) -> Result<Exit, Error> {
    let types: Vec<String> = kinds.iter().map(|kind| kind.name()).collect();
    let (mut idle, mut exit) = (0, Exit::Complete);
    while !stop.is_stopped() {
        match next_job(session, &types, stop, monitor).await {
            Ok(Some(outcome)) => {
                idle = 0;
                exit = first(exit, outcome.exit);
                monitor.end(&outcome);
                on_report(&outcome);
                continue;
            }
            Ok(None) if once => return Ok(exit),
            Err(_) if stop.is_stopped() => break,
            Err(error) if once => return Err(error),
            Ok(None) => monitor.answered(),
            // A worker survives even an outage that is longer than the patience.
            Err(error) => {
                monitor.lost();
                tracing::warn!(%error, "no job can be claimed; trying again");
            }
        }
        hearing.wait(idle, stop).await;
        idle = idle.saturating_add(1);
    }
    Ok(Exit::Interrupted)
}

/// The exit code after one more job: that of the first job that did not complete. A job that was
/// cancelled or taken over does not count.
fn first(so_far: Exit, next: Exit) -> Exit {
    match (so_far, next) {
        (Exit::Complete, Exit::Interrupted) => Exit::Complete,
        (Exit::Complete, next) => next,
        (so_far, _) => so_far,
    }
}

/// Claims a job, runs it to its end and records how it ended.
async fn next_job(
    session: &Session,
    types: &[String],
    stop: &Stop,
    monitor: &Monitor,
) -> Result<Option<Outcome>, Error> {
    let database = session.database.until_stopped(stop);
    let Some((job, claimed)) = LeasedJob::claim(&database, types.to_vec()).await? else {
        return Ok(None);
    };
    tracing::info!(job = %claimed.id, kind = claimed.kind, "running a job");
    let run = session.begin(FlowOptions::default(), Stop::new());
    monitor.begin(&claimed.kind, &run);
    let params = claimed.params.as_ref().unwrap_or(&Value::Null);
    let work = async {
        let kind = JobKind::of(&claimed.kind)?;
        kind.run(session, &run, &job, params).await
    };
    let span = tracing::error_span!("job", job = %claimed.id, kind = claimed.kind, run = %run.id);
    let result = job.watch(&run, stop, work).instrument(span).await;
    let result = session.or_stopped(&claimed.kind, &run, result);
    job.end(&run, &result).await?;
    Ok(Some(
        result.unwrap_or_else(|error| failed(&claimed, &error)),
    ))
}

fn failed(claimed: &ClaimedJob, error: &Error) -> Outcome {
    tracing::warn!(job = %claimed.id, %error, "the job failed");
    let report = Report::new(&claimed.kind, Counts::Rows(RowCounts::default()));
    let reason = format!("job {} ({}): {error}", claimed.id, claimed.kind);
    Outcome::stopped(report, Exit::SomeFailed, reason)
}
