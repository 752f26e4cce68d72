//! Decisions about files and batches: their steps, and their lines.

use std::time::Duration;

use super::{AdmittedRequest, SimulatorState};
use crate::{
    answer::SimulatedResponse,
    batch::{BatchConfig, BatchStep, BatchStore, BatchUsage, StepFault},
    error_response::ErrorResponse,
    fault::Faults,
    ledger::Tier,
    request::{ParsedRequest, Route},
};

/// The result of a step.
#[derive(Debug)]
pub(crate) struct StepDone<T> {
    pub(crate) value: T,
    /// Whether the response does not arrive.
    pub(crate) lost: bool,
}

impl SimulatorState {
    pub(crate) fn batches(&mut self) -> &mut BatchStore {
        &mut self.batches
    }

    pub(crate) fn batch_config(&self) -> &BatchConfig {
        &self.config.batches
    }

    /// Does a step, unless its key or a fault is against it, and counts it.
    pub(crate) fn step<T>(
        &mut self,
        step: BatchStep,
        key: Option<&str>,
        act: impl FnOnce(&mut BatchStore, &BatchConfig, &Faults) -> Result<T, ErrorResponse>,
    ) -> Result<StepDone<T>, ErrorResponse> {
        *self.stats.batches.steps.entry(step).or_default() += 1;
        let done = self.check_key(key).and_then(|()| {
            let (config, luck) = (&self.config.batches, &self.config.faults);
            let fault = self.batches.step_fault(step, config, luck);
            match fault {
                Some(StepFault::ServerError) => return Err(ErrorResponse::server_error()),
                Some(StepFault::QueueFull) => {
                    let message = "Enqueued token limit reached. Try again once some batches have \
                                   ended.";
                    return Err(ErrorResponse::queue_full(message.to_owned()));
                }
                Some(StepFault::Lost) | None => {}
            }
            let value = act(&mut self.batches, config, luck)?;
            Ok(StepDone {
                value,
                lost: fault == Some(StepFault::Lost),
            })
        });
        let counted = &mut self.stats.batches;
        match &done {
            Ok(done) => {
                counted.lost += u64::from(done.lost);
                counted.created += u64::from(step == BatchStep::Create);
            }
            Err(_) => counted.refused += 1,
        }
        done
    }

    /// Decides whether a line of a batch is answered. Batches do not use up the limits of a minute.
    pub(crate) fn admit_line(
        &mut self,
        route: Route,
        request: Result<ParsedRequest, ErrorResponse>,
        now: Duration,
    ) -> Result<AdmittedRequest, ErrorResponse> {
        let counted = &self.stats.batches;
        let number = counted.lines_answered + counted.lines_refused;
        let admitted = request.and_then(|request| {
            self.config.models.check(request.model())?;
            self.check_poison(&request)?;
            let rates = &self.config.batches.faults.lines;
            let fault = self
                .config
                .faults
                .choose(rates, number, (route, Tier::Batch));
            if let Some(fault) = fault {
                *self.stats.faults.entry(fault).or_default() += 1;
                self.refuse_for(fault, request.model(), None)?;
            }
            Ok(self.admitted(route, request, (number, fault, Tier::Batch), now))
        });
        self.stats.batches.lines_refused += u64::from(admitted.is_err());
        admitted
    }

    /// Bills a line of a batch, and returns what it used.
    pub(crate) fn bill_line(
        &mut self,
        admitted: &AdmittedRequest,
        response: &SimulatedResponse,
        now: Duration,
    ) -> BatchUsage {
        self.stats.batches.lines_answered += 1;
        self.sent(admitted, now);
        self.count_usage(admitted, response);
        BatchUsage {
            input_tokens: response.usage.input,
            output_tokens: response.usage.output,
        }
    }
}
