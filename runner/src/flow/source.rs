//! The source of every flow over posts: it claims due posts and keeps their leases.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;
use uuid::Uuid;

use super::work::WorkKind;
use crate::config::LeaseSettings;
use crate::db::{
    Database, ExtendWork, FailWork, FailedPost, FinishWork, LeasedPost, ReleaseWork, int,
};
use crate::engine::{Claim, Item, Recorded, RowFailure, Source, StorageError, Text};

/// What one worker has leased of a kind of work.
#[derive(Debug, Clone)]
pub(super) struct Leases {
    pub(super) database: Database,
    kind: String,
    worker: Uuid,
    settings: LeaseSettings,
}

impl Leases {
    pub(super) fn new(
        database: &Database,
        kind: String,
        worker: Uuid,
        settings: LeaseSettings,
    ) -> Self {
        Self {
            database: database.clone(),
            kind,
            worker,
            settings,
        }
    }

    /// Records failures, for another attempt or as dead letters.
    pub(super) async fn fail(&self, failures: Vec<RowFailure>) -> Result<Recorded, StorageError> {
        let failed = |failure: RowFailure| FailedPost {
            post_id: failure.id,
            error: failure.reason,
            permanent: failure.permanent,
        };
        let fail = FailWork {
            p_kind: self.kind.clone(),
            p_worker: self.worker,
            p_failures: json!(failures.into_iter().map(failed).collect::<Vec<_>>()),
            p_max_attempts: int(self.settings.max_attempts),
            p_backoff_seconds: int(self.settings.backoff.as_secs()),
        };
        let work = self.database.outlasting().call_shaped(fail).await?;
        Ok(Recorded {
            retrying: work.retrying,
            dead: work.dead_ids,
        })
    }
}

/// Posts under the lease of one runner.
#[derive(Debug, Clone)]
pub(super) struct DuePosts {
    leases: Leases,
    kind: WorkKind,
    /// How many posts were in a batch at the provider at the end of the last pass.
    in_batches: Arc<AtomicU64>,
}

impl DuePosts {
    /// The due posts, for a runner with an id of its own.
    pub(super) fn new(
        database: &Database,
        kind: WorkKind,
        worker: Uuid,
        leases: LeaseSettings,
    ) -> Self {
        Self {
            leases: Leases::new(database, kind.name(), worker, leases),
            kind,
            in_batches: Arc::default(),
        }
    }

    /// How many posts were in a batch at the provider at the end of the last pass.
    pub(super) fn in_batches(&self) -> Arc<AtomicU64> {
        self.in_batches.clone()
    }
}

impl Item for LeasedPost {
    fn id(&self) -> Uuid {
        self.id
    }
}

impl Text for LeasedPost {
    fn text(&self) -> &str {
        &self.text
    }
}

impl Source for DuePosts {
    type Item = LeasedPost;

    async fn claim(
        &self,
        limit: u32,
        after: Option<Uuid>,
    ) -> Result<Claim<LeasedPost>, StorageError> {
        let Leases {
            database,
            worker,
            settings,
            ..
        } = &self.leases;
        let claim = self.kind.claim(database, *worker, settings, limit, after);
        let claimed = claim.await?;
        if claimed.next_after.is_none() {
            self.in_batches.store(claimed.in_batches, Ordering::Relaxed);
        }
        Ok(Claim {
            rows: claimed.rows,
            is_leased: true,
            next_after: claimed.next_after,
            waiting: claimed.waiting,
            next_attempt: claimed.next_attempt_ms.map(Duration::from_millis),
            // A locked row is another transaction's for now.
            leased_elsewhere: claimed.leased_elsewhere.max(claimed.locked),
            already_done: claimed.copied,
        })
    }

    async fn extend(&self, ids: Vec<Uuid>) -> Result<Vec<Uuid>, StorageError> {
        let extend = ExtendWork {
            p_kind: self.leases.kind.clone(),
            p_worker: self.leases.worker,
            p_post_ids: ids,
            p_lease_seconds: int(self.leases.settings.lease.as_secs()),
        };
        Ok(self.leases.database.call(extend).await?)
    }

    async fn finish(&self, ids: Vec<Uuid>) -> Result<(), StorageError> {
        let finish = FinishWork {
            p_kind: self.leases.kind.clone(),
            p_worker: self.leases.worker,
            p_post_ids: ids,
        };
        self.leases.database.call(finish).await?;
        Ok(())
    }

    async fn release(&self) -> Result<u64, StorageError> {
        let release = ReleaseWork {
            p_kind: self.leases.kind.clone(),
            p_worker: self.leases.worker,
            p_post_ids: None,
        };
        let released = self.leases.database.outlasting().call(release).await?;
        Ok(released.try_into().unwrap_or_default())
    }

    async fn fail(&self, failures: Vec<RowFailure>) -> Result<Recorded, StorageError> {
        self.leases.fail(failures).await
    }

    fn lease(&self) -> Duration {
        self.leases.settings.lease
    }
}
