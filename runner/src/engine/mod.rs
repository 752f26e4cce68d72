//! The engine: runs any flow over leased rows, in bounded memory, to an end that is always clean.
//!
//! A flow is three answers ([`Source`], [`Work`], [`Sink`]); [`run`] does the rest: it claims rows,
//! packs them, sends them through a [`Lane`] (budget, limiter, retries), writes what comes back, sets
//! aside what fails on its own account, and gives back what was not answered.

mod bisect;
mod budget;
mod claimer;
mod flow;
mod held;
mod lane;
mod outlet;
mod pack;
mod pump;
mod stop;
mod tally;
mod writer;

pub use bisect::{Bisection, Step};
pub use budget::{Budget, Exhausted, Reservation};
pub use flow::{
    Claim, Done, Item, Likeness, Plan, Recorded, Remark, RowFailure, Sink, Source, StoreError,
    Text, Work,
};
pub use lane::{Ask, Lane, Undone};
pub use pack::{Batch, Bounds, Input, Measured, pack, pack_onto};
pub use pump::{Flow, Pace, run};
pub use stop::{DRAIN, Stop, StopReason};
pub use tally::Tally;

#[cfg(test)]
mod tests;
