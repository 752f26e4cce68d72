//! What scores are stored as, and where.

use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::super::session::Session;
use super::super::sink::PostSink;
use crate::db::{DimensionRow, ScoreRow, StoreDimension, StoreScores};
use crate::engine::Item;
use crate::scoring::{PROMPT_VERSION, PostScore, Rubric};

/// Scores in one write.
const SCORES_MAX: usize = 200;

/// What is stored with each score about how it was asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Origin {
    model: String,
    prompt_version: String,
    fingerprint: String,
}

impl Origin {
    /// Of scores that are asked for now.
    pub(super) fn of(rubric: &Rubric) -> Self {
        Self {
            model: rubric.model().to_owned(),
            prompt_version: PROMPT_VERSION.to_owned(),
            fingerprint: rubric.fingerprint(),
        }
    }

    /// The row of a post whose text has this hash.
    pub(super) fn row(&self, post_id: Uuid, text_hash: String, score: PostScore) -> ScoreRow {
        ScoreRow {
            post_id,
            scores: score.scores,
            categories: score.categories,
            summary: Some(score.summary),
            why_podcast_worthy: Some(score.why_podcast_worthy),
            model_version: self.model.clone(),
            prompt_version: self.prompt_version.clone(),
            fingerprint: self.fingerprint.clone(),
            text_hash,
        }
    }
}

/// The row of one dimension of a post whose text has this hash.
pub(super) fn dimension_row(
    dimension: &str,
    post_id: Uuid,
    text_hash: String,
    score: &PostScore,
) -> DimensionRow {
    DimensionRow {
        post_id,
        // A score that was read has every dimension that was asked for.
        score: score.scores.get(dimension).copied().unwrap_or_default(),
        text_hash,
    }
}

/// Where scores go of posts that were leased by this worker.
pub(super) fn score_sink(session: &Session, worker: Uuid) -> PostSink<ScoreRow, StoreScores> {
    let store = move |rows: &[ScoreRow]| StoreScores {
        p_worker: worker,
        p_rows: json!(rows),
    };
    PostSink::new(&session.database.outlasting(), SCORES_MAX, store)
}

/// Where scores of one dimension go of posts that were leased by this worker.
pub(super) fn dimension_sink(
    session: &Session,
    worker: Uuid,
    dimension: &str,
) -> PostSink<DimensionRow, StoreDimension> {
    let dimension = dimension.to_owned();
    let store = move |rows: &[DimensionRow]| StoreDimension {
        p_worker: worker,
        p_dimension: dimension.clone(),
        p_rows: json!(rows),
    };
    PostSink::new(&session.database.outlasting(), SCORES_MAX, store)
}

impl Item for ScoreRow {
    fn id(&self) -> Uuid {
        self.post_id
    }
}

impl Item for DimensionRow {
    fn id(&self) -> Uuid {
        self.post_id
    }
}
