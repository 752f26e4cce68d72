//! The flows over posts: embed, score, rescore, backfill, recompute. Each says what is due, what to do
//! with it and where it goes; the [engine](crate::engine) does the rest.

mod app;
mod count;
mod embed;
mod embedder;
mod job;
mod overlong;
pub mod pack;
mod pass;
mod preview;
mod price;
mod recompute;
mod requester;
mod score;
mod scorer;
mod session;
mod sink;
mod source;
mod work;

pub(crate) use count::count;
pub use count::expect_scores;
pub use embed::{embed, embed_query, embed_rows, plan_embed};
pub use embedder::{EmbedWork, Embedded, Embedder, Parcel, Prepared};
pub use job::LeasedJob;
pub use overlong::Parted;
pub use preview::{Preview, preview};
pub(crate) use recompute::{RECOMPUTE_JOB, recompute_as};
pub use recompute::{RecomputeOptions, recompute};
pub use requester::{Ask, RequestMetrics, Requester, Undone};
pub(crate) use score::score_work;
pub use score::{backfill, plan_score, score};
pub use session::{FlowOptions, Run, Session, provider};
pub use sink::{DimensionSink, EmbeddingSink, ScoreSink};
pub use source::DuePosts;
pub use work::{ScoreScope, WorkKind};
