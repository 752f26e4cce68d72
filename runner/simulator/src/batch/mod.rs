//! Files and batches: what the Batch API keeps, checks and does. Nothing here waits or sends: `http`
//! does, and passes the time.

mod config;
mod files;
mod input;
mod job;
mod output;
mod page;
mod request;
mod store;

pub use config::{BatchConfig, BatchFaults, BatchStep};
pub(crate) use files::StoredFile;
pub(crate) use input::{BatchInput, BatchLine};
pub(crate) use job::{Batch, BatchUsage};
pub(crate) use output::LineOutput;
pub(crate) use page::PageQuery;
pub(crate) use request::BatchRequest;
pub(crate) use store::{BatchPlan, BatchStore, StepFault};
