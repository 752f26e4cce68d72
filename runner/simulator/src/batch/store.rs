//! All files and batches, and what goes wrong with them.

use std::{collections::BTreeMap, time::Duration};

use axum::body::Bytes;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{
    config::{BatchConfig, BatchStep},
    files::{FilePurpose, Files, StoredFile},
    input::{BatchInput, InputProblem},
    job::{Batch, BatchState, BatchUsage, Enqueued},
    output::{LineOutput, write},
    page::{PageQuery, page},
    request::BatchRequest,
};
use crate::{error_response::ErrorResponse, fault::Faults, hash::hash, request::Route};

/// All files and batches. Times are in seconds of the Unix epoch.
#[derive(Debug, Default)]
pub(crate) struct BatchStore {
    pub(crate) files: Files,
    batches: Vec<Batch>,
    /// How many ids were given out.
    ids: u64,
    /// How many steps came so far.
    steps: u64,
    /// How many faults happened so far, except those of single lines.
    faults: u64,
}

/// What goes wrong with a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StepFault {
    /// It is done, but the response does not arrive.
    Lost,
    ServerError,
    QueueFull,
}

/// What will become of a batch.
#[derive(Debug)]
pub(crate) struct BatchPlan {
    pub(crate) id: String,
    pub(crate) route: Route,
    pub(crate) life: Duration,
    pub(crate) input: Result<BatchInput, Vec<InputProblem>>,
    pub(crate) expires: bool,
    /// Cancelled to stop the work on the batch.
    pub(crate) stop: CancellationToken,
}

impl BatchStore {
    /// Nothing, but with ids that differ from those given out so far.
    pub(crate) fn emptied(&self) -> Self {
        Self {
            ids: self.ids,
            ..Self::default()
        }
    }

    /// The fault of the next step, if it has one.
    pub(crate) fn step_fault(
        &mut self,
        step: BatchStep,
        config: &BatchConfig,
        luck: &Faults,
    ) -> Option<StepFault> {
        let number = self.steps;
        self.steps += 1;
        let faults = &config.faults;
        let rate = |rates: &BTreeMap<BatchStep, f64>| rates.get(&step).copied().unwrap_or_default();
        let queue_full = match step {
            BatchStep::Create => faults.queue_full,
            _ => 0.0,
        };
        let candidates = [
            (StepFault::ServerError, rate(&faults.server_error)),
            (StepFault::QueueFull, queue_full),
            (StepFault::Lost, rate(&faults.lost)),
        ];
        let happens =
            |(fault, rate): &(StepFault, f64)| luck.happens(number, &[b's', *fault as u8], *rate);
        let chosen = candidates.into_iter().find(happens).map(|(fault, _)| fault);
        chosen.filter(|_| self.may_fail(config))
    }

    /// Counts a fault, if there may be one more.
    fn may_fail(&mut self, config: &BatchConfig) -> bool {
        let may = config.faults.at_most.is_none_or(|most| self.faults < most);
        self.faults += u64::from(may);
        may
    }

    /// An id that nothing had before. It shows no order.
    fn new_id(&mut self, prefix: &str) -> String {
        self.ids += 1;
        format!("{prefix}{:016x}", hash([&self.ids.to_le_bytes()[..]]))
    }

    /// Keeps a file and returns it as JSON.
    pub(crate) fn upload(
        &mut self,
        name: String,
        content: Bytes,
        expires_after: Option<u64>,
        now: u64,
    ) -> Value {
        let file = StoredFile {
            id: self.new_id("file-"),
            name,
            purpose: FilePurpose::Batch,
            created_at: now,
            expires_at: expires_after.map(|seconds| now + seconds),
            content,
        };
        let json = file.to_json();
        self.files.add(file);
        json
    }

    /// Creates a batch, unless the queue is full. Returns it as JSON beside what will become of it.
    pub(crate) fn create(
        &mut self,
        request: BatchRequest,
        input: Result<BatchInput, Vec<InputProblem>>,
        tokens: u64,
        config: &BatchConfig,
        luck: &Faults,
        now: u64,
    ) -> Result<(Value, BatchPlan), ErrorResponse> {
        let enqueued = match &input {
            Ok(input) => Enqueued {
                model: Some(input.model.clone()),
                requests: input.lines.len() as u64,
                tokens,
            },
            Err(_) => Enqueued::default(),
        };
        self.check_queue(&enqueued, request.route, config)?;
        let id = self.new_id("batch_");
        let fails = luck.happens(self.ids, b"validation", config.faults.validation)
            && self.may_fail(config);
        let expires =
            luck.happens(self.ids, b"expired", config.faults.expired) && self.may_fail(config);
        let stop = CancellationToken::new();
        let plan = BatchPlan {
            id: id.clone(),
            route: request.route,
            life: Duration::from_millis(config.life_ms),
            input: if fails {
                Err(vec![InputProblem::simulated()])
            } else {
                input
            },
            expires,
            stop: stop.clone(),
        };
        let batch = Batch::new(id, request, enqueued, stop.drop_guard(), now);
        let json = batch.to_json();
        self.batches.push(batch);
        Ok((json, plan))
    }

    /// Refuses a batch for which the queue of its model has no place.
    fn check_queue(
        &self,
        new: &Enqueued,
        route: Route,
        config: &BatchConfig,
    ) -> Result<(), ErrorResponse> {
        let Some(model) = &new.model else {
            return Ok(());
        };
        let unfinished = self.batches.iter().filter(|batch| batch.is_unfinished());
        let waiting = unfinished
            .map(|batch| &batch.enqueued)
            .filter(|enqueued| enqueued.model.as_ref() == Some(model));
        let (requests, tokens) = waiting.fold((0, 0), |(requests, tokens), enqueued| {
            (requests + enqueued.requests, tokens + enqueued.tokens)
        });
        let most_requests = (route == Route::Embeddings).then_some(config.max_enqueued_requests);
        for (what, most, waiting, new) in [
            ("tokens", config.max_enqueued_tokens, tokens, new.tokens),
            ("requests", most_requests, requests, new.requests),
        ] {
            if most.is_some_and(|most| waiting + new > most) {
                return Err(ErrorResponse::queue_full(format!(
                    "Enqueued limit reached for {model}: Limit {} enqueued {what}, {waiting} are \
                     waiting, Requested {new}. Try again once some batches have ended.",
                    most.unwrap_or_default(),
                )));
            }
        }
        Ok(())
    }

    pub(crate) fn get(&self, id: &str) -> Result<&Batch, ErrorResponse> {
        let found = self.batches.iter().find(|batch| batch.id == id);
        found.ok_or_else(|| ErrorResponse::no_such("Batch", id))
    }

    fn get_mut(&mut self, id: &str) -> Option<&mut Batch> {
        self.batches.iter_mut().find(|batch| batch.id == id)
    }

    /// A page of the list, newest first.
    pub(crate) fn list(&self, query: &PageQuery) -> Result<Value, ErrorResponse> {
        let batches = self.batches.iter().rev();
        let batches = batches.map(|batch| (batch.id.as_str(), batch.to_json()));
        page(batches, query, 20, 100)
    }

    pub(crate) fn cancel(&mut self, id: &str, now: u64) -> Result<Value, ErrorResponse> {
        let batch = self.get_mut(id);
        let batch = batch.ok_or_else(|| ErrorResponse::no_such("Batch", id))?;
        batch.cancel(now)?;
        Ok(batch.to_json())
    }

    /// Ends the validation. A cancelled batch stays so.
    pub(crate) fn validated(
        &mut self,
        id: &str,
        input: &Result<BatchInput, Vec<InputProblem>>,
        now: u64,
    ) {
        let Some(batch) = self.get_mut(id).filter(|batch| !batch.is_cancelled()) else {
            return;
        };
        match input {
            Ok(input) => {
                batch.counts.total = input.lines.len();
                batch.enter(BatchState::InProgress, now);
            }
            Err(problems) => batch.fail(problems.clone(), now),
        }
    }

    /// Counts a line that is done.
    pub(crate) fn count_line(&mut self, id: &str, output: &LineOutput, usage: BatchUsage) {
        let Some(batch) = self.get_mut(id) else {
            return;
        };
        if output.is_answered() {
            batch.counts.completed += 1;
        } else {
            batch.counts.failed += 1;
        }
        batch.usage.input_tokens += usage.input_tokens;
        batch.usage.output_tokens += usage.output_tokens;
    }

    /// All lines are done, and their files come next.
    pub(crate) fn finalize(&mut self, id: &str, now: u64) {
        if let Some(batch) = self.get_mut(id).filter(|batch| batch.is_in_progress()) {
            batch.enter(BatchState::Finalizing, now);
        }
    }

    /// Writes the files of a batch and ends it. A batch that failed has ended already.
    pub(crate) fn end(
        &mut self,
        id: &str,
        lines: &[(String, LineOutput)],
        expires: bool,
        now: u64,
    ) {
        let Some(batch) = self.get_mut(id).filter(|batch| batch.is_unfinished()) else {
            return;
        };
        let expiry = batch.request.output_expires_after;
        let state = match (batch.is_cancelled(), expires) {
            (true, _) => BatchState::Cancelled,
            (false, true) => BatchState::Expired,
            (false, false) => BatchState::Completed,
        };
        let mut keep = |answered: bool, kind: &str| {
            let lines = lines
                .iter()
                .filter(|(_, line)| line.is_answered() == answered);
            let mut lines = lines.map(|(id, line)| (id.as_str(), line)).peekable();
            lines.peek()?;
            let content = write(lines).into();
            let file = StoredFile {
                id: self.new_id("file-"),
                name: format!("{id}_{kind}.jsonl"),
                purpose: FilePurpose::BatchOutput,
                created_at: now,
                expires_at: expiry.map(|seconds| now + seconds),
                content,
            };
            let id = file.id.clone();
            self.files.add(file);
            Some(id)
        };
        let (output, errors) = (keep(true, "output"), keep(false, "error"));
        if let Some(batch) = self.get_mut(id) {
            batch.output_file_id = output;
            batch.error_file_id = errors;
            batch.enter(state, now);
        }
    }
}
