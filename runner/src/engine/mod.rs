//! The engine: from rows that are due to rows that are written, for any flow.

mod pack;

pub use pack::{Batch, Bounds, Input, Measured, pack};
