//! A batch and its states. Source: "Batch", "Checking the status of a batch".

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio_util::sync::DropGuard;

use super::{input::InputProblem, request::BatchRequest};
use crate::error_response::ErrorResponse;

/// Where a batch is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum BatchState {
    Validating,
    Failed,
    InProgress,
    Finalizing,
    Completed,
    Expired,
    Cancelling,
    Cancelled,
}

impl BatchState {
    fn name(self) -> &'static str {
        match self {
            Self::Validating => "validating",
            Self::Failed => "failed",
            Self::InProgress => "in_progress",
            Self::Finalizing => "finalizing",
            Self::Completed => "completed",
            Self::Expired => "expired",
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing will happen any more.
    fn is_final(self) -> bool {
        matches!(
            self,
            Self::Failed | Self::Completed | Self::Expired | Self::Cancelled
        )
    }
}

/// How many lines there are, and what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LineCounts {
    pub(crate) total: usize,
    pub(crate) completed: usize,
    pub(crate) failed: usize,
}

/// What a batch used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BatchUsage {
    pub(crate) input_tokens: u64,
    pub(crate) output_tokens: u64,
}

/// What waits in the queue for a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Enqueued {
    pub(crate) model: Option<String>,
    pub(crate) requests: u64,
    /// Counted only if there is a limit.
    pub(crate) tokens: u64,
}

/// A batch. Times are in seconds of the Unix epoch.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) id: String,
    pub(crate) request: BatchRequest,
    pub(crate) enqueued: Enqueued,
    pub(crate) counts: LineCounts,
    pub(crate) usage: BatchUsage,
    pub(crate) output_file_id: Option<String>,
    pub(crate) error_file_id: Option<String>,
    state: BatchState,
    since: BTreeMap<BatchState, u64>,
    problems: Vec<InputProblem>,
    /// Dropped to stop the work on the batch.
    work: Option<DropGuard>,
}

impl Batch {
    pub(super) fn new(
        id: String,
        request: BatchRequest,
        enqueued: Enqueued,
        work: DropGuard,
        now: u64,
    ) -> Self {
        Self {
            id,
            request,
            enqueued,
            counts: LineCounts::default(),
            usage: BatchUsage::default(),
            output_file_id: None,
            error_file_id: None,
            state: BatchState::Validating,
            since: BTreeMap::from([(BatchState::Validating, now)]),
            problems: Vec::new(),
            work: Some(work),
        }
    }

    pub(super) fn is_unfinished(&self) -> bool {
        !self.state.is_final()
    }

    pub(super) fn is_in_progress(&self) -> bool {
        self.state == BatchState::InProgress
    }

    /// Whether somebody asked to cancel it.
    pub(super) fn is_cancelled(&self) -> bool {
        self.state == BatchState::Cancelling
    }

    pub(super) fn fail(&mut self, problems: Vec<InputProblem>, now: u64) {
        self.problems = problems;
        self.enter(BatchState::Failed, now);
    }

    pub(super) fn enter(&mut self, state: BatchState, now: u64) {
        self.state = state;
        self.since.insert(state, now);
    }

    pub(super) fn cancel(&mut self, now: u64) -> Result<(), ErrorResponse> {
        match self.state {
            BatchState::Validating | BatchState::InProgress | BatchState::Finalizing => {
                self.enter(BatchState::Cancelling, now);
                self.work = None;
                Ok(())
            }
            BatchState::Cancelling => Ok(()),
            state => {
                let state = state.name();
                let message = format!("Cannot cancel a batch with status '{state}'.");
                Err(ErrorResponse::conflict(message))
            }
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        let at = |state| self.since.get(&state);
        let problems = self.problems.iter().map(InputProblem::to_json);
        let errors = (!self.problems.is_empty())
            .then(|| json!({"object": "list", "data": problems.collect::<Vec<_>>()}));
        let created_at = at(BatchState::Validating).copied().unwrap_or_default();
        let (counts, usage) = (self.counts, self.usage);
        json!({
            "id": self.id,
            "object": "batch",
            "endpoint": self.request.route.url(),
            "model": self.enqueued.model,
            "errors": errors,
            "input_file_id": self.request.input_file_id,
            "completion_window": "24h",
            "status": self.state.name(),
            "output_file_id": self.output_file_id,
            "error_file_id": self.error_file_id,
            "created_at": created_at,
            "in_progress_at": at(BatchState::InProgress),
            "expires_at": created_at + 24 * 60 * 60,
            "finalizing_at": at(BatchState::Finalizing),
            "completed_at": at(BatchState::Completed),
            "failed_at": at(BatchState::Failed),
            "expired_at": at(BatchState::Expired),
            "cancelling_at": at(BatchState::Cancelling),
            "cancelled_at": at(BatchState::Cancelled),
            "request_counts": {
                "total": counts.total, "completed": counts.completed, "failed": counts.failed,
            },
            "usage": {
                "input_tokens": usage.input_tokens,
                "output_tokens": usage.output_tokens,
                "total_tokens": usage.input_tokens + usage.output_tokens,
            },
            "metadata": self.request.metadata,
        })
    }
}
