//! Vectors, on their way into the database.

use serde_json::json;
use uuid::Uuid;

use super::super::session::Session;
use super::super::sink::PostSink;
use super::work::Embedded;
use crate::db::{EmbeddingRow, StoreEmbeddings};

/// Embeddings in one write: about 2 MB of text at 1536 dimensions.
const EMBEDDINGS_MAX: usize = 100;

/// Where vectors go that were leased by this worker.
pub(super) fn sink(
    session: &Session,
    worker: Uuid,
    model: &str,
) -> PostSink<Embedded, StoreEmbeddings> {
    let model = model.to_owned();
    let store = move |outputs: &[Embedded]| {
        let rows = outputs.iter().map(|output| row(output, &model));
        StoreEmbeddings {
            p_worker: worker,
            p_rows: json!(rows.collect::<Vec<_>>()),
        }
    };
    PostSink::new(&session.database.outlasting(), EMBEDDINGS_MAX, store)
}

fn row(output: &Embedded, model: &str) -> EmbeddingRow {
    EmbeddingRow {
        post_id: output.id,
        embedding: output.vector.clone(),
        model: model.to_owned(),
        dimensions: output.vector.len(),
        text_hash: output.text_hash.to_string(),
    }
}
