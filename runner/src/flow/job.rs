//! A background job that this process has leased: heartbeats while it runs, and afterwards how it ended.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use uuid::Uuid;

use super::run::Run;
use crate::db::{
    BeginJob, ClaimJob, ClaimedJob, Database, DatabaseError, FailJob, FinishJob, HeartbeatJob,
    ReleaseJob, int,
};
use crate::engine::{Stop, StopReason};
use crate::error::Error;
use crate::exit::Exit;
use crate::report::Outcome;

/// How long a job stays leased without a heartbeat.
const LEASE: Duration = Duration::from_secs(60);
/// Between the heartbeats of a worker's job. A cancel is noticed within a second.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// Between the heartbeats of a job that this process began itself. They only keep the lease.
const OWN_HEARTBEAT: Duration = Duration::from_secs(2);

/// A job under the lease of this process.
#[derive(Debug)]
pub struct LeasedJob {
    database: Database,
    id: Uuid,
    worker: Uuid,
    /// Begun by this process. No worker may run it later, because its caller sees how it ends.
    is_own: bool,
    /// Set by the work: a cut-over completes its job in the same transaction.
    is_completed: AtomicBool,
}

impl LeasedJob {
    /// Leases the oldest due job of these types, if there is one.
    pub(crate) async fn claim(
        database: &Database,
        types: Vec<String>,
    ) -> Result<Option<(Self, ClaimedJob)>, DatabaseError> {
        // New for each claim, so that a repeated claim finds the job of the first.
        let worker = Uuid::new_v4();
        let claim = ClaimJob {
            p_worker: worker,
            p_types: types,
            p_lease_seconds: int(LEASE.as_secs()),
            p_job_id: None,
        };
        let claimed = database.call_shaped(claim).await?;
        Ok(claimed.map(|claimed| (Self::new(database, claimed.id, worker, false), claimed)))
    }

    /// Enqueues a job and leases it in one step.
    pub(super) async fn begin(
        database: &Database,
        job_type: &str,
        params: Value,
        created_by: &str,
    ) -> Result<Self, DatabaseError> {
        let worker = Uuid::new_v4();
        let begin = BeginJob {
            p_type: job_type.to_owned(),
            p_params: params,
            p_worker: worker,
            p_lease_seconds: int(LEASE.as_secs()),
            p_created_by: Some(created_by.to_owned()),
        };
        let id = database.call(begin).await?;
        Ok(Self::new(database, id, worker, true))
    }

    fn new(database: &Database, id: Uuid, worker: Uuid, is_own: bool) -> Self {
        Self {
            database: database.clone(),
            id,
            worker,
            is_own,
            is_completed: AtomicBool::new(false),
        }
    }

    pub(crate) fn id(&self) -> Uuid {
        self.id
    }

    pub(crate) fn worker(&self) -> Uuid {
        self.worker
    }

    /// Notes that the work has completed the job in the database.
    pub(super) fn set_completed(&self) {
        self.is_completed.store(true, Ordering::Relaxed);
    }

    /// Runs the work with heartbeats beside it. The run stops if the job is lost or `stop` is stopped.
    pub(crate) async fn watch<T>(
        &self,
        run: &Run,
        stop: &Stop,
        work: impl Future<Output = T>,
    ) -> T {
        tokio::pin!(work);
        tokio::select! {
            result = &mut work => result,
            // After a stop, the work ends soon.
            () = self.heartbeats(run, stop) => work.await,
        }
    }

    /// Sends heartbeats until the job ends, is lost or is to stop. Then it stops the run.
    async fn heartbeats(&self, run: &Run, stop: &Stop) {
        let every = if self.is_own {
            OWN_HEARTBEAT
        } else {
            HEARTBEAT
        };
        let mut last = Instant::now();
        loop {
            if !stop.sleep(every).await {
                return run.stop.interrupt(StopReason::Interrupted).await;
            }
            let reason = match self.heartbeat(run, run.total()).await {
                Ok(status) if status == "running" => {
                    last = Instant::now();
                    continue;
                }
                // The cut-over completed the job before this heartbeat.
                Ok(status) if status == "completed" => return,
                Ok(status) => format!("job {} is {status}", self.id),
                Err(error) if error.gave_up().is_some() => {
                    return run.stop.stop(error.into_reason());
                }
                // When the lease has lapsed, another worker may run the job.
                Err(error) if last.elapsed() > LEASE => {
                    format!("the lease of job {} has lapsed: {error}", self.id)
                }
                Err(error) => {
                    tracing::warn!(job = %self.id, %error, "failed to renew the job's lease");
                    continue;
                }
            };
            return run.stop.interrupt(StopReason::JobGone(reason)).await;
        }
    }

    /// Extends the lease and writes the progress. Returns the job's status.
    async fn heartbeat(&self, run: &Run, total: Option<u64>) -> Result<String, DatabaseError> {
        let heartbeat = HeartbeatJob {
            p_job_id: self.id,
            p_worker: self.worker,
            p_lease_seconds: int(LEASE.as_secs()),
            p_progress: Some(int(run.progress())),
            p_total: total.map(int),
        };
        self.database.call(heartbeat).await
    }

    /// Records how the job ended.
    pub(crate) async fn end(
        &self,
        run: &Run,
        result: &Result<Outcome, Error>,
    ) -> Result<(), DatabaseError> {
        if self.is_completed.load(Ordering::Relaxed) {
            return Ok(());
        }
        let database = &self.database.outlasting();
        match (result, run.stop.reason()) {
            (Ok(_), Some(StopReason::JobGone(_))) => Ok(()),
            (Ok(_), Some(StopReason::Interrupted)) if !self.is_own => self.release(database).await,
            (Ok(outcome), _) if matches!(outcome.exit, Exit::Complete | Exit::SomeFailed) => {
                self.heartbeat(run, Some(run.progress())).await?;
                self.finish(database).await
            }
            (Ok(outcome), _) => {
                let reason = outcome.report.reason.as_deref().unwrap_or_default();
                self.fail(database, reason, false).await
            }
            (Err(error), _) => {
                let is_permanent = error.exit() == Exit::Usage;
                self.fail(database, &error.to_string(), is_permanent).await
            }
        }
    }

    async fn release(&self, database: &Database) -> Result<(), DatabaseError> {
        let release = ReleaseJob {
            p_job_id: self.id,
            p_worker: self.worker,
        };
        database.call(release).await.map(drop)
    }

    async fn finish(&self, database: &Database) -> Result<(), DatabaseError> {
        let finish = FinishJob {
            p_job_id: self.id,
            p_worker: self.worker,
        };
        database.call(finish).await.map(drop)
    }

    async fn fail(
        &self,
        database: &Database,
        error: &str,
        is_permanent: bool,
    ) -> Result<(), DatabaseError> {
        let fail = FailJob {
            p_job_id: self.id,
            p_worker: self.worker,
            p_error: error.to_owned(),
            p_permanent: Some(is_permanent),
        };
        database.call(fail).await.map(drop)
    }
}
