//! The engine: runs any flow over leased rows, in bounded memory, to an end that is always clean.
//!
//! A flow is three answers ([`Source`], [`Work`], [`Sink`]); [`run`] does the rest: it claims rows,
//! packs them, gives them to the work, writes what comes back, sets
//! aside what fails on its own account, and gives back what was not answered.

mod bisect;
mod claimer;
mod flow;
mod held;
mod outlet;
mod pump;
mod stop;
mod tally;
mod writer;

pub use bisect::{Bisection, Step};
pub use flow::{
    Claim, Done, Item, Likeness, Plan, Recorded, Remark, RowFailure, Sink, Source, StoreError,
    Text, Work,
};
pub use pump::{Flow, Pace, run};
pub use stop::{DRAIN, Stop, StopReason};
pub use tally::{FAILURES_MAX, RowTotals, Tally};

#[cfg(test)]
mod tests;
