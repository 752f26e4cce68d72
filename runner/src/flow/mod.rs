//! The flows: store, embed, score, rescore, backfill and recompute. A flow over posts says what is due, what
//! to do with it and where the results go. The [engine](crate::engine) does the rest.

mod batch;
mod batches;
mod count;
mod drive;
mod embed;
mod invalidate_cache;
mod job;
mod ledger;
mod outcome;
mod preview;
mod price;
mod recompute;
mod record;
mod requester;
mod run;
mod score;
mod session;
mod sink;
mod source;
pub mod store;
mod work;

pub use batches::{cancel_batch, collect_batches};
pub(crate) use count::count;
pub use count::expect_scores;
pub use embed::{Embedded, embed, embed_query, embed_rows, plan_embed};
pub use job::LeasedJob;
pub use preview::{Preview, TierCosts, preview};
pub(crate) use recompute::{RECOMPUTE_JOB, recompute_as};
pub use recompute::{RecomputeOptions, recompute};
pub use requester::RequestMetrics;
pub use run::{Batching, FlowOptions, Run};
pub(crate) use score::score_work;
pub use score::{
    Comparison, Tried, backfill, compare, plan_backfill, plan_score, score, try_scoring,
};
pub use session::{Session, patience, provider};
pub use work::{ScoreScope, WorkKind};
