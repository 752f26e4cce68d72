//! Batches at the provider: rows that are processed within a day at half the price.
//!
//! ```text
//! claim → line → file ──► upload ──► create ──► poll ──► download ──► read ──► sink
//!         (packing)     (uploading) (creating)  (submitted)           ──► delete the files (stored)
//! ```
//!
//! The words below are the states in the database. Each is recorded before its step, so a run that finds a batch knows
//! what may be at the provider:
//!
//! - [`drive`]: what a run does next: take up a batch, make another one, or wait.
//! - [`pack`]: due rows become lines of a file. A [`Lines`] says how.
//! - [`submit`]: the file becomes a batch. A batch is made once or never.
//! - [`take`]: goes on with a batch that any run has left.
//! - [`files`]: what a batch leaves at the provider is deleted.
//! - [`collect`]: responses become results, in the sinks of the flow that sends requests one by one.

mod book;
mod collect;
mod drive;
mod files;
mod line;
mod output;
mod pack;
mod reader;
mod submit;
mod take;

use serde::de::DeserializeOwned;

pub(super) use self::collect::{Collector, store};
pub(super) use self::drive::{BatchFlow, batches_are, cancel, collect_open};
pub(super) use self::line::{Line, Lines, Request, note};
pub(super) use self::output::BatchOutput;
pub(super) use self::reader::{Reader, Verdict};
use crate::db::BatchRecord;
use crate::error::Error;

/// What a batch's record says about how to read its responses.
pub(super) fn settings<T: DeserializeOwned>(record: &BatchRecord) -> Result<T, Error> {
    serde_json::from_value(record.settings.clone()).map_err(|error| {
        let id = record.id;
        Error::Usage(format!(
            "batch {id} was made by another version of sluice: {error}"
        ))
    })
}
