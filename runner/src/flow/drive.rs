//! Driving a flow on the engine.

use std::sync::atomic::Ordering;

use uuid::Uuid;

use super::run::Run;
use super::session::Session;
use super::source::DuePosts;
use super::work::WorkKind;
use crate::db::LeasedPost;
use crate::engine::{self, Flow, Pace, Sink, Source, StopReason, Work};

impl Session {
    /// Runs a flow until nothing is due or it is stopped.
    pub(super) async fn drive<S, W, K>(&self, run: &Run, chunk: u32, flow: Flow<S, W, K>)
    where
        S: Source,
        W: Work<Item = S::Item>,
        K: Sink<Output = W::Output>,
    {
        let concurrency = self.settings.limits.concurrency as usize;
        let concurrency = concurrency.min(flow.work.batches_max());
        let pace = self.pace(chunk, concurrency, run.options.limit);
        let stop = run.stop.clone();
        Box::pin(engine::run(flow, pace, stop, run.metrics.clone())).await;
    }

    /// How a flow runs.
    pub(super) fn pace(&self, chunk: u32, concurrency: usize, limit: Option<u64>) -> Pace {
        Pace {
            chunk,
            concurrency,
            limit,
            patience: self.database.patience().clone(),
        }
    }

    /// Runs a flow over the posts that `worker` leases.
    pub(super) async fn drive_posts<W, K>(
        &self,
        run: &Run,
        kind: &WorkKind,
        worker: Uuid,
        chunk: u32,
        (work, sink): (W, K),
    ) where
        W: Work<Item = LeasedPost>,
        K: Sink<Output = W::Output>,
    {
        let leases = self.settings.leases;
        let source = DuePosts::new(&self.database, kind.clone(), worker, leases);
        let in_batches = source.in_batches();
        Box::pin(self.drive(run, chunk, Flow { source, work, sink })).await;
        let rows = in_batches.load(Ordering::Relaxed);
        if rows > 0 {
            let verb = if rows == 1 { "is" } else { "are" };
            let rows = engine::count(rows, "row");
            run.stop.leave(StopReason::Deferred(format!(
                "{rows} {verb} in a batch at the provider; `sluice batches collect` stores their results"
            )));
        }
    }
}
