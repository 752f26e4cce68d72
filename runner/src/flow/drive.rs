//! Driving a flow on the engine.

use uuid::Uuid;

use super::run::Run;
use super::session::Session;
use super::source::DuePosts;
use super::work::WorkKind;
use crate::db::LeasedPost;
use crate::engine::{self, Flow, Pace, Sink, Source, Work};

impl Session {
    /// Runs a flow until nothing is due or it is stopped.
    pub(super) async fn drive<S, W, K>(&self, run: &Run, chunk: u32, flow: Flow<S, W, K>)
    where
        S: Source,
        W: Work<Item = S::Item>,
        K: Sink<Output = W::Output>,
    {
        let concurrency = self.settings.limits.concurrency as usize;
        let pace = Pace {
            chunk,
            concurrency: concurrency.min(flow.work.batches_max()),
            limit: run.options.limit,
            patience: self.database.patience().clone(),
        };
        Box::pin(engine::run(
            flow,
            pace,
            run.stop.clone(),
            run.metrics.clone(),
        ))
        .await;
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
        let source = DuePosts::new(
            self.database.clone(),
            kind.clone(),
            worker,
            self.settings.leases,
        );
        Box::pin(self.drive(run, chunk, Flow { source, work, sink })).await;
    }
}
