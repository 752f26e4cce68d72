//! The flows over posts: embed, score, rescore, backfill, recompute. Each says what is due, what to do
//! with it and where it goes; the [engine](crate::engine) does the rest.

mod app;
mod count;
mod embed;
mod pass;
mod preview;
mod price;
mod recompute;
mod score;
mod scorer;
mod session;
mod sink;
mod source;

pub(crate) use count::count;
pub use embed::{Embedded, Embedder, Prepared, embed, embed_query, plan_embed};
pub use preview::{Preview, preview};
pub(crate) use recompute::stage_and_apply;
pub use recompute::{RecomputeOptions, recompute};
pub use score::{ScoreScope, backfill, plan_score, score};
pub use session::{FlowOptions, Run, Session};
pub use sink::{DimensionSink, EmbeddingSink, ScoreSink};
pub use source::{Due, DuePosts};
