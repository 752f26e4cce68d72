//! What a flow would do, without leasing, spending or writing anything.

use super::session::Session;
use super::work::WorkKind;
use crate::db::LeasedPost;
use crate::error::Error;
use crate::provider::Tier;

/// What a flow would take up, and what that would cost at most.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Preview {
    /// Posts that are due.
    pub rows: u64,
    /// Requests to the provider.
    pub requests: u64,
    /// Tokens that the model would read.
    pub input_tokens: u64,
    /// Tokens that it would write at most.
    pub output_tokens: u64,
    /// Dollars at most.
    pub usd: f64,
    /// Dollars at most in the flex tier, if the model and the flow have it. Only plans know it.
    pub usd_flex: Option<f64>,
    /// Dollars at most by batches, if the model takes part in them. Only plans know it.
    pub usd_batch: Option<f64>,
    /// Whether the model has a price. If it has none, `usd` is meaningless.
    pub price_known: bool,
    /// Whether rows are due beyond the limit.
    pub more_due: bool,
}

impl Preview {
    /// Adds what the same requests would cost at these cheaper tiers. `tier` is the one of `usd`.
    pub(super) fn beside(self, tier: Tier, flex: bool, batch: bool) -> Self {
        let standard = self.usd / tier.part();
        Self {
            usd_flex: flex.then(|| standard * Tier::Flex.part()),
            usd_batch: batch.then(|| standard * Tier::Batch.part()),
            ..self
        }
    }
}

/// Goes over the due posts once, adding up what `measure` says of each chunk.
///
/// # Errors
/// If a request to the database fails.
pub async fn preview(
    session: &Session,
    kind: &WorkKind,
    limit: Option<u64>,
    measure: impl Fn(&[LeasedPost], &mut Preview),
) -> Result<Preview, Error> {
    let mut sum = Preview {
        price_known: true,
        ..Preview::default()
    };
    let mut after = None;
    loop {
        let peeked = kind.peek(&session.database, after).await?;
        let room = limit.map_or(u64::MAX, |limit| limit - sum.rows);
        let take = usize::try_from(room)
            .unwrap_or(usize::MAX)
            .min(peeked.rows.len());
        let (rows, beyond) = peeked.rows.split_at(take);
        measure(rows, &mut sum);
        sum.more_due = !beyond.is_empty();
        after = peeked.next_after;
        if after.is_none() || sum.more_due {
            return Ok(sum);
        }
    }
}

/// Whether anything is due that nobody works on.
pub(super) async fn any_due(session: &Session, kind: &WorkKind) -> Result<bool, Error> {
    Ok(preview(session, kind, Some(0), |_, _| {}).await?.more_due)
}
