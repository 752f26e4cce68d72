//! What is due, for every flow over posts: one lease table, three questions.

use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use crate::config::LeaseSettings;
use crate::db::{
    ClaimBackfillWork, ClaimEmbedWork, ClaimScoreWork, ClaimedPosts, Database, DatabaseError,
    ExtendWork, FailWork, FailedPost, FinishWork, LeasedPost, ReleaseWork, ScoreMode,
};
use crate::engine::{Claim, Item, Recorded, RowFailure, Source, StoreError, Text};

/// Posts looked at by one claim, at most: some tens of milliseconds where nothing is due.
const SCAN: u32 = 5_000;

/// Which posts a flow is about.
#[derive(Debug, Clone, PartialEq)]
pub enum Due {
    /// Posts without a current embedding.
    Embedding {
        /// The model whose embeddings are current.
        model: String,
        /// Their dimensions.
        dimensions: u32,
        /// Also rows from before text hashes existed.
        refresh: bool,
    },
    /// Posts without a current score.
    Score {
        /// Which scores are due.
        mode: ScoreMode,
        /// The fingerprint of current scores.
        fingerprint: String,
        /// With [`ScoreMode::All`]: scores from before this are due.
        before: Option<Timestamp>,
    },
    /// Scored posts that lack a dimension.
    Dimension(String),
}

impl Due {
    /// The kind of work, as the lease table names it.
    pub fn kind(&self) -> String {
        match self {
            Self::Embedding { .. } => "embed".to_owned(),
            Self::Score { .. } => "score".to_owned(),
            Self::Dimension(dimension) => format!("backfill:{dimension}"),
        }
    }
}

/// Posts under the lease of one runner.
#[derive(Debug, Clone)]
pub struct DuePosts {
    database: Database,
    due: Due,
    worker: Uuid,
    leases: LeaseSettings,
}

impl DuePosts {
    /// The due posts, for a runner with an id of its own.
    pub fn new(database: Database, due: Due, worker: Uuid, leases: LeaseSettings) -> Self {
        Self {
            database,
            due,
            worker,
            leases,
        }
    }

    async fn lease(&self, limit: u32, after: Option<Uuid>) -> Result<ClaimedPosts, DatabaseError> {
        let (p_worker, p_lease_seconds) = (self.worker, self.leases.lease.as_secs());
        let (p_limit, p_after, p_scan) = (limit, after, SCAN.max(limit));
        match self.due.clone() {
            Due::Embedding {
                model,
                dimensions,
                refresh,
            } => {
                let claim = ClaimEmbedWork {
                    p_worker,
                    p_limit,
                    p_lease_seconds,
                    p_after,
                    p_scan,
                    p_model: model,
                    p_dimensions: dimensions,
                    p_refresh: refresh,
                };
                self.database.call(claim).await
            }
            Due::Score {
                mode,
                fingerprint,
                before,
            } => {
                let claim = ClaimScoreWork {
                    p_worker,
                    p_limit,
                    p_lease_seconds,
                    p_after,
                    p_scan,
                    p_mode: mode,
                    p_fingerprint: fingerprint,
                    p_before: before,
                };
                self.database.call(claim).await
            }
            Due::Dimension(p_dimension) => {
                let claim = ClaimBackfillWork {
                    p_worker,
                    p_limit,
                    p_lease_seconds,
                    p_after,
                    p_scan,
                    p_dimension,
                };
                self.database.call(claim).await
            }
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
    ) -> Result<Claim<LeasedPost>, StoreError> {
        let claimed = self.lease(limit, after).await?;
        Ok(Claim {
            rows: claimed.rows,
            next_after: claimed.next_after,
            waiting: claimed.waiting,
            next_attempt: claimed.next_attempt_ms.map(Duration::from_millis),
            leased_elsewhere: claimed.leased_elsewhere,
            already_done: claimed.adopted,
        })
    }

    async fn extend(&self, ids: Vec<Uuid>) -> Result<Vec<Uuid>, StoreError> {
        let extend = ExtendWork {
            p_kind: self.due.kind(),
            p_worker: self.worker,
            p_post_ids: ids,
            p_lease_seconds: self.leases.lease.as_secs(),
        };
        Ok(self.database.call(extend).await?)
    }

    async fn finish(&self, ids: Vec<Uuid>) -> Result<(), StoreError> {
        let finish = FinishWork {
            p_kind: self.due.kind(),
            p_worker: self.worker,
            p_post_ids: ids,
        };
        self.database.call(finish).await?;
        Ok(())
    }

    async fn release(&self, ids: Option<Vec<Uuid>>) -> Result<u64, StoreError> {
        let release = ReleaseWork {
            p_kind: self.due.kind(),
            p_worker: self.worker,
            p_post_ids: ids,
        };
        Ok(self.database.call(release).await?)
    }

    async fn fail(&self, failures: Vec<RowFailure>) -> Result<Recorded, StoreError> {
        let failed = |failure: RowFailure| FailedPost {
            post_id: failure.id,
            error: failure.reason,
            permanent: failure.permanent,
        };
        let fail = FailWork {
            p_kind: self.due.kind(),
            p_worker: self.worker,
            p_failures: failures.into_iter().map(failed).collect(),
            p_max_attempts: self.leases.max_attempts,
            p_backoff_seconds: self.leases.backoff.as_secs(),
        };
        let work = self.database.call(fail).await?;
        Ok(Recorded {
            retrying: work.retrying,
            dead: work.dead_ids,
        })
    }

    fn lease(&self) -> Duration {
        self.leases.lease
    }
}
