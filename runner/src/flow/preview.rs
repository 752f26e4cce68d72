//! What a flow would do, without leasing, spending or writing anything.

use super::price::Tariff;
use super::requester::RequestCost;
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
    /// Dollars at most, at the configured tier.
    pub usd: f64,
    /// Dollars at most, at each tier.
    pub costs: TierCosts,
    /// Whether the model has a price. If it has none, there are no dollars.
    pub price_known: bool,
    /// Whether rows are due beyond the limit.
    pub more_due: bool,
}

/// The same requests in dollars, at each tier.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct TierCosts {
    /// At once, at the usual price.
    pub standard: f64,
    /// One by one, when there is capacity.
    pub flex: f64,
    /// As batches.
    pub batch: f64,
}

impl Preview {
    /// Adds so many requests, each of which costs this much at most. `tier` is the configured one.
    pub(super) fn add(&mut self, cost: RequestCost, requests: u64, tariff: &Tariff, tier: Tier) {
        let usage = cost.usage();
        let usd = |tier| tariff.usd_at_most(&usage, tier) * requests as f64;
        self.requests += requests;
        self.input_tokens += usage.input_tokens * requests;
        self.output_tokens += usage.output_tokens * requests;
        self.usd += usd(tier);
        self.costs.standard += usd(Tier::Standard);
        self.costs.flex += usd(Tier::Flex);
        self.costs.batch += usd(Tier::Batch);
        self.price_known = tariff.is_known();
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
