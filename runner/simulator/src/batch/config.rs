//! How batches behave.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::fault::Fault;

/// How batches behave. By default they are done at once, and nothing goes wrong.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BatchConfig {
    /// How long a batch takes, in milliseconds: a tenth for its validation, eight tenths for its
    /// lines, a tenth for its files.
    pub life_ms: u64,
    /// The most tokens of input in all unfinished batches of one model. No limit if absent.
    pub max_enqueued_tokens: Option<u64>,
    /// The most requests in all unfinished batches of one model for embeddings.
    pub max_enqueued_requests: u64,
    /// What goes wrong, and how often.
    pub faults: BatchFaults,
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self {
            life_ms: 0,
            max_enqueued_tokens: None,
            max_enqueued_requests: 1_000_000,
            faults: BatchFaults::default(),
        }
    }
}

/// What goes wrong with batches, and how often: shares from 0 to 1. The seed is that of the other
/// faults.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BatchFaults {
    /// Steps that are done, though the connection closes in the middle of the response.
    pub lost: BTreeMap<BatchStep, f64>,
    /// Steps that are not done: 500.
    pub server_error: BTreeMap<BatchStep, f64>,
    /// Creations that find the queue full: 429 `token_limit_exceeded`.
    pub queue_full: f64,
    /// Batches that fail their validation.
    pub validation: f64,
    /// Batches that expire after half of their lines.
    pub expired: f64,
    /// After this many of the faults above, all goes well. No limit if absent.
    pub at_most: Option<u64>,
    /// The share of lines with each fault.
    pub lines: BTreeMap<Fault, f64>,
}

/// A request about files or batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchStep {
    /// `POST /v1/files`
    Upload,
    /// `GET /v1/files` and `GET /v1/files/{id}`
    ReadFiles,
    /// `GET /v1/files/{id}/content`
    Download,
    /// `DELETE /v1/files/{id}`
    Delete,
    /// `POST /v1/batches`
    Create,
    /// `GET /v1/batches/{id}`
    Poll,
    /// `GET /v1/batches`
    List,
    /// `POST /v1/batches/{id}/cancel`
    Cancel,
}

impl BatchConfig {
    /// Returns what is wrong, if anything is.
    pub(crate) fn check(&self) -> Result<(), String> {
        let faults = &self.faults;
        let steps = faults.lost.values().chain(faults.server_error.values());
        let others = [&faults.queue_full, &faults.validation, &faults.expired];
        let mut rates = steps.chain(others).chain(faults.lines.values());
        if let Some(rate) = rates.find(|rate| !(0.0..=1.0).contains(*rate)) {
            return Err(format!("a rate of batches is {rate}, not from 0 to 1"));
        }
        match faults.lines.keys().find(|fault| !fault.is_of_lines()) {
            Some(fault) => Err(format!("{fault:?} is no fault of a batch's line")),
            None => Ok(()),
        }
    }
}
