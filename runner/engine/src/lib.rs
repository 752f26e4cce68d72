//! The engine: runs a flow over leased rows, in bounded memory, and always ends cleanly.
//!
//! A flow answers three questions: what is due ([`Source`]), what to do with it ([`Work`]) and where the
//! results go ([`Sink`]). [`run`] does the rest: it claims rows, packs them into batches, gives the batches
//! to the work, writes the results, moves failed rows to the dead letters and releases what is left.

mod backoff;
mod batcher;
mod bisect;
mod blame;
mod completer;
mod dispatcher;
mod fetcher;
mod flow;
mod in_flight;
mod metrics;
mod patience;
mod run;
mod shared;
mod stop;
mod words;
mod writer;

pub use backoff::backoff;
pub use bisect::{Bisection, Step};
pub use blame::{Blame, Fault};
pub use flow::{
    BatchResult, Claim, Deferred, Item, Packing, Recorded, RowFailure, RowWarning, Sink, Source,
    StorageError, Text, Work,
};
pub use metrics::{FAILURES_MAX, Metrics, RowTotals};
pub use patience::{GaveUp, Patience, Setback, Wait};
pub use run::run;
pub use shared::{Flow, Pace};
pub use stop::{DRAIN, Stop, StopReason};
pub use words::count;
pub use writer::{Storage, Writer, Writing};

#[cfg(test)]
mod tests;
