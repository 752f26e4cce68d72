//! Batches of posts, and a row for each score.

use uuid::Uuid;

use super::super::requester::Requester;
use super::scorer::Scorer;
use crate::db::LeasedPost;
use crate::engine::{BatchResult, Item, Packing, RowFailure, Work};
use crate::scoring::PostScore;

/// Scores the posts of one run.
pub(super) struct ScoreWork<F> {
    pub(super) scorer: Scorer,
    pub(super) requester: Requester,
    /// Makes the row that is stored for a score.
    pub(super) to_row: F,
}

impl<R, F> Work for ScoreWork<F>
where
    R: Item,
    F: Fn(&LeasedPost, PostScore) -> R + Send + Sync + 'static,
{
    type Item = LeasedPost;
    type Batch = Vec<LeasedPost>;
    type Output = R;

    fn pack(
        &self,
        open: Option<Vec<LeasedPost>>,
        rows: Vec<LeasedPost>,
    ) -> Packing<Vec<LeasedPost>> {
        self.scorer.pack(open, rows)
    }

    fn ids(&self, batch: &Vec<LeasedPost>) -> Vec<Uuid> {
        batch.iter().map(Item::id).collect()
    }

    async fn run(&self, batch: Vec<LeasedPost>) -> BatchResult<R> {
        let scores = self.scorer.score(&self.requester, batch).await;
        let mut result = BatchResult {
            deferred: scores.deferred,
            halt: scores.halt,
            ..BatchResult::default()
        };
        for (post, score) in scores.posts {
            match score {
                Ok(score) => result.outputs.push((self.to_row)(&post, score)),
                Err(error) => result.failures.push(RowFailure {
                    id: post.id,
                    reason: error.to_string(),
                    permanent: true,
                }),
            }
        }
        result
    }
}
