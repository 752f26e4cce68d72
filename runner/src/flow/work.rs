//! The kinds of work on posts: which posts each is about, and how the database is asked for them.

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::config::{EmbeddingSettings, LeaseSettings};
use crate::db::{
    ClaimWork, ClaimedPosts, CountWork, CountedPosts, Database, DatabaseError, PeekWork,
    PeekedPosts, int,
};

/// Posts that one claim looks at: some tens of milliseconds if nothing is due.
const CLAIM_SCAN: u32 = 5_000;
/// Posts that one peek looks at: their texts must fit in one response.
const PEEK_SCAN: i32 = 1_000;
/// Posts that one count looks at: some hundred milliseconds.
const COUNT_SCAN: i32 = 20_000;

/// Which scores a run makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScoreScope {
    /// Scores of posts that have none.
    Missing,
    /// Also of posts whose score is from another rubric or model.
    Stale,
    /// Scores of every post. A pass over all posts that was interrupted is continued.
    All,
    /// Scores of every post, from the beginning.
    AllAnew,
}

/// A kind of work: which posts a flow is about.
#[derive(Debug, Clone, PartialEq)]
pub enum WorkKind {
    /// Posts without a current embedding.
    Embed {
        /// The model of current embeddings.
        model: String,
        /// The dimensions of current embeddings.
        dimensions: u32,
        /// Also embeddings from before text hashes existed.
        refresh: bool,
    },
    /// Posts without a current score.
    Score {
        /// Which scores are current.
        scope: ScoreScope,
        /// The fingerprint of current scores.
        fingerprint: String,
        /// In a scope of every post: scores from before this time are due.
        before: Option<Timestamp>,
    },
    /// Scored posts without this dimension.
    Backfill(String),
}

impl WorkKind {
    /// Posts without a current embedding under these settings.
    pub fn embed(settings: &EmbeddingSettings, refresh: bool) -> Self {
        Self::Embed {
            model: settings.model.clone(),
            dimensions: settings.dimensions,
            refresh,
        }
    }

    /// The name of the kind in the lease table.
    pub fn name(&self) -> String {
        match self {
            Self::Embed { .. } => "embed".to_owned(),
            Self::Score { .. } => "score".to_owned(),
            Self::Backfill(dimension) => format!("backfill:{dimension}"),
        }
    }

    /// What is due, as the database reads it.
    pub(super) fn rule(&self) -> Value {
        match self {
            Self::Embed {
                model,
                dimensions,
                refresh,
            } => json!({ "model": model, "dimensions": dimensions, "refresh": refresh }),
            Self::Score {
                scope,
                fingerprint,
                before,
            } => {
                let mode = match scope {
                    ScoreScope::Missing => "missing",
                    ScoreScope::Stale => "stale",
                    ScoreScope::All | ScoreScope::AllAnew => "all",
                };
                json!({ "mode": mode, "fingerprint": fingerprint, "before": before })
            }
            Self::Backfill(_) => json!({}),
        }
    }

    /// Leases the next due posts for a worker.
    pub(super) async fn claim(
        &self,
        database: &Database,
        worker: Uuid,
        leases: &LeaseSettings,
        limit: u32,
        after: Option<Uuid>,
    ) -> Result<ClaimedPosts, DatabaseError> {
        let claim = ClaimWork {
            p_kind: self.name(),
            p_worker: worker,
            p_limit: int(limit),
            p_lease_seconds: int(leases.lease.as_secs()),
            p_after: after,
            p_scan: int(CLAIM_SCAN.max(limit)),
            p_rule: self.rule(),
        };
        database.call_shaped(claim).await
    }

    /// The next due posts, without leasing them.
    pub(super) async fn peek(
        &self,
        database: &Database,
        after: Option<Uuid>,
    ) -> Result<PeekedPosts, DatabaseError> {
        let peek = PeekWork {
            p_kind: self.name(),
            p_after: after,
            p_scan: PEEK_SCAN,
            p_rule: self.rule(),
        };
        database.call_shaped(peek).await
    }

    /// How many of the next posts are due.
    pub(super) async fn count(
        &self,
        database: &Database,
        after: Option<Uuid>,
    ) -> Result<CountedPosts, DatabaseError> {
        let count = CountWork {
            p_kind: self.name(),
            p_after: after,
            p_scan: COUNT_SCAN,
            p_rule: self.rule(),
        };
        database.call_shaped(count).await
    }
}
