//! Where results go: one function call a write, which also ends the leases.

use std::sync::Arc;

use serde_json::json;
use uuid::Uuid;

use super::embed::Embedded;
use crate::db::{
    Database, DimensionRow, EmbeddingRow, ScoreRow, StoreDimension, StoreEmbeddings, StoreScores,
};
use crate::engine::{Sink, StorageError};

/// Embeddings in one write: about 2 MB of text at 1536 dimensions.
const EMBEDDINGS_MAX: usize = 100;
/// Scores in one write.
const SCORES_MAX: usize = 200;

/// Into `post_embeddings`.
#[derive(Debug, Clone)]
pub struct EmbeddingSink {
    /// The database.
    pub database: Database,
    /// This runner.
    pub worker: Uuid,
    /// The model that makes the embeddings.
    pub model: Arc<str>,
}

impl Sink for EmbeddingSink {
    type Output = Embedded;

    fn id(output: &Embedded) -> Uuid {
        output.id
    }

    fn rows_max(&self) -> usize {
        EMBEDDINGS_MAX
    }

    async fn write(&self, outputs: &[Embedded]) -> Result<(), StorageError> {
        let row = |output: &Embedded| EmbeddingRow {
            post_id: output.id,
            embedding: output.vector.clone(),
            model: self.model.to_string(),
            dimensions: output.vector.len(),
            text_hash: output.text_hash.to_string(),
        };
        let rows: Vec<EmbeddingRow> = outputs.iter().map(row).collect();
        let store = StoreEmbeddings {
            p_worker: self.worker,
            p_rows: json!(rows),
        };
        self.database.call(store).await?;
        Ok(())
    }
}

/// Into `llm_scores`, with the final score under the active weights.
#[derive(Debug, Clone)]
pub struct ScoreSink {
    /// The database.
    pub database: Database,
    /// This runner.
    pub worker: Uuid,
}

impl Sink for ScoreSink {
    type Output = ScoreRow;

    fn id(output: &ScoreRow) -> Uuid {
        output.post_id
    }

    fn rows_max(&self) -> usize {
        SCORES_MAX
    }

    async fn write(&self, outputs: &[ScoreRow]) -> Result<(), StorageError> {
        let store = StoreScores {
            p_worker: self.worker,
            p_rows: json!(outputs),
        };
        self.database.call(store).await?;
        Ok(())
    }
}

/// One key into `llm_scores.scores`.
#[derive(Debug, Clone)]
pub struct DimensionSink {
    /// The database.
    pub database: Database,
    /// This runner.
    pub worker: Uuid,
    /// The dimension.
    pub dimension: String,
}

impl Sink for DimensionSink {
    type Output = DimensionRow;

    fn id(output: &DimensionRow) -> Uuid {
        output.post_id
    }

    fn rows_max(&self) -> usize {
        SCORES_MAX
    }

    async fn write(&self, outputs: &[DimensionRow]) -> Result<(), StorageError> {
        let store = StoreDimension {
            p_worker: self.worker,
            p_dimension: self.dimension.clone(),
            p_rows: json!(outputs),
        };
        self.database.call(store).await?;
        Ok(())
    }
}
