//! The source of every flow over posts: it claims due posts and keeps their leases.

use std::time::Duration;

use serde_json::json;
use uuid::Uuid;

use super::work::WorkKind;
use crate::config::LeaseSettings;
use crate::db::{
    Database, ExtendWork, FailWork, FailedPost, FinishWork, LeasedPost, ReleaseWork, int,
};
use crate::engine::{Claim, Item, Recorded, RowFailure, Source, StorageError, Text};

/// Posts under the lease of one runner.
#[derive(Debug, Clone)]
pub(super) struct DuePosts {
    database: Database,
    kind: WorkKind,
    worker: Uuid,
    leases: LeaseSettings,
}

impl DuePosts {
    /// The due posts, for a runner with an id of its own.
    pub(super) fn new(
        database: Database,
        kind: WorkKind,
        worker: Uuid,
        leases: LeaseSettings,
    ) -> Self {
        Self {
            database,
            kind,
            worker,
            leases,
        }
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
        let (database, leases) = (&self.database, &self.leases);
        let claim = self.kind.claim(database, self.worker, leases, limit, after);
        let claimed = claim.await?;
        Ok(Claim {
            rows: claimed.rows,
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
            p_kind: self.kind.name(),
            p_worker: self.worker,
            p_post_ids: ids,
            p_lease_seconds: int(self.leases.lease.as_secs()),
        };
        Ok(self.database.call(extend).await?)
    }

    async fn finish(&self, ids: Vec<Uuid>) -> Result<(), StorageError> {
        let finish = FinishWork {
            p_kind: self.kind.name(),
            p_worker: self.worker,
            p_post_ids: ids,
        };
        self.database.call(finish).await?;
        Ok(())
    }

    async fn release(&self) -> Result<u64, StorageError> {
        let release = ReleaseWork {
            p_kind: self.kind.name(),
            p_worker: self.worker,
            p_post_ids: None,
        };
        let released = self.database.outlasting().call(release).await?;
        Ok(released.try_into().unwrap_or_default())
    }

    async fn fail(&self, failures: Vec<RowFailure>) -> Result<Recorded, StorageError> {
        let failed = |failure: RowFailure| FailedPost {
            post_id: failure.id,
            error: failure.reason,
            permanent: failure.permanent,
        };
        let fail = FailWork {
            p_kind: self.kind.name(),
            p_worker: self.worker,
            p_failures: json!(failures.into_iter().map(failed).collect::<Vec<_>>()),
            p_max_attempts: int(self.leases.max_attempts),
            p_backoff_seconds: int(self.leases.backoff.as_secs()),
        };
        let work = self.database.outlasting().call_shaped(fail).await?;
        Ok(Recorded {
            retrying: work.retrying,
            dead: work.dead_ids,
        })
    }

    fn lease(&self) -> Duration {
        self.leases.lease
    }
}
