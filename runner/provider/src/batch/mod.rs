//! Batches: many requests in one file, done within a day at half the price.
//!
//! A batch is a file of [`BatchLine`]s that is uploaded, a job over it that is watched until it has ended, and files
//! with a line for each response. No call here is sent twice: the caller decides what a lost response means.
//!
//! Source: "Batch" and "Files".

mod client;
mod line;

use std::collections::BTreeMap;

use serde::Deserialize;

pub use line::{BatchLine, LineError, LineManner, OutputLine};

/// The most requests in a file.
pub const MAX_BATCH_REQUESTS: usize = 50_000;
/// The most inputs in a file of requests for embeddings.
pub const MAX_BATCH_INPUTS: usize = 50_000;
/// The most bytes in a file.
pub const MAX_BATCH_BYTES: u64 = 200_000_000;

/// What the requests of a batch are sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchEndpoint {
    /// Embeddings.
    Embeddings,
    /// Chat completions.
    ChatCompletions,
    /// Responses.
    Responses,
}

impl BatchEndpoint {
    /// The path, as a batch and its lines name it.
    pub fn url(self) -> &'static str {
        match self {
            Self::Embeddings => "/v1/embeddings",
            Self::ChatCompletions => "/v1/chat/completions",
            Self::Responses => "/v1/responses",
        }
    }
}

/// A batch as the provider describes it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ProviderBatch {
    /// The provider's name for it.
    pub id: String,
    /// Where it is in its life.
    pub status: BatchStatus,
    /// What is wrong with its file, if it has failed.
    #[serde(default)]
    pub errors: Option<BatchErrors>,
    /// The file with its requests.
    #[serde(default)]
    pub input_file_id: Option<String>,
    /// The file with a line for each response.
    #[serde(default)]
    pub output_file_id: Option<String>,
    /// The file with a line for each request without one.
    #[serde(default)]
    pub error_file_id: Option<String>,
    /// When it was made, in seconds since 1970.
    #[serde(default)]
    pub created_at: i64,
    /// How many of its lines are done.
    #[serde(default)]
    pub request_counts: Option<LineCounts>,
    /// What its maker noted.
    #[serde(default)]
    pub metadata: Option<BTreeMap<String, String>>,
}

/// Where a batch is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchStatus {
    /// Its file is being read.
    Validating,
    /// Its file was refused. Nothing was billed.
    Failed,
    /// Its requests are being done.
    InProgress,
    /// Its responses are being written.
    Finalizing,
    /// Every line has a response or an error.
    Completed,
    /// Time ran out. The lines that were done have their responses, and are billed.
    Expired,
    /// It will be cancelled.
    Cancelling,
    /// It was cancelled. The lines that were done have their responses, and are billed.
    Cancelled,
    /// A state of a later version of the provider.
    #[serde(other)]
    Unknown,
}

impl BatchStatus {
    /// Whether nothing more happens.
    pub fn has_ended(self) -> bool {
        matches!(
            self,
            Self::Failed | Self::Completed | Self::Expired | Self::Cancelled
        )
    }

    /// The provider's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Validating => "validating",
            Self::Failed => "failed",
            Self::InProgress => "in_progress",
            Self::Finalizing => "finalizing",
            Self::Completed => "completed",
            Self::Expired => "expired",
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
            Self::Unknown => "unknown",
        }
    }
}

/// What is wrong with a batch's file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct BatchErrors {
    /// One problem each.
    #[serde(default)]
    pub data: Vec<BatchProblem>,
}

/// Something that is wrong with a batch's file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct BatchProblem {
    /// Its name.
    #[serde(default)]
    pub code: Option<String>,
    /// What it is, for people.
    #[serde(default)]
    pub message: Option<String>,
    /// The line, counted from 1, if it is about one.
    #[serde(default)]
    pub line: Option<u64>,
}

/// How many lines of a batch are done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct LineCounts {
    /// Lines in the file.
    #[serde(default)]
    pub total: u64,
    /// Lines with a response.
    #[serde(default)]
    pub completed: u64,
    /// Lines with an error.
    #[serde(default)]
    pub failed: u64,
}

/// A file at the provider.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ProviderFile {
    /// The provider's name for it.
    pub id: String,
    /// The name that it was uploaded with.
    #[serde(default)]
    pub filename: String,
    /// Its size.
    #[serde(default)]
    pub bytes: u64,
    /// When it was made, in seconds since 1970.
    #[serde(default)]
    pub created_at: i64,
}

/// A page of a list, the newest first.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Page<T> {
    /// The entries.
    pub data: Vec<T>,
    /// Whether there are older ones.
    #[serde(default)]
    pub has_more: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_read_with_what_is_known_about_it() {
        let batch: ProviderBatch = serde_json::from_str(
            r#"{"id":"batch_1","object":"batch","endpoint":"/v1/embeddings","errors":{"object":"list","data":[
                {"code":"invalid_json_line","message":"Line 3 is no JSON.","param":null,"line":3}]},
                "input_file_id":"file_1","completion_window":"24h","status":"failed","output_file_id":null,
                "created_at":1764060000,"request_counts":{"total":0,"completed":0,"failed":0},
                "metadata":{"sluice":"a"}}"#,
        )
        .unwrap();
        assert!(batch.status.has_ended());
        assert_eq!(batch.errors.unwrap().data[0].line, Some(3));
        assert_eq!(batch.metadata.unwrap()["sluice"], "a");
        let later: BatchStatus = serde_json::from_str(r#""paused""#).unwrap();
        assert_eq!(later, BatchStatus::Unknown);
        assert!(!later.has_ended());
    }
}
