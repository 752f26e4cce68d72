//! Sends the requests of a bulk write, a few at once, and reacts to the responses.

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde::Serialize;

use super::checkpoint::Checkpoint;
use super::failure::{FailureAction, action_for};
use super::plan::{Batch, WritePlan};
use super::spec::WriteSpec;
use crate::error::{Error, ErrorKind, WriteReport};
use crate::query::{Execute, rollback};
use crate::request::{Call, Outcome, Response};

/// What a write did, with the responses in the order of their rows.
pub(super) struct WriteResult {
    pub(super) report: WriteReport,
    pub(super) responses: Vec<Response>,
}

/// Runs a write to its end.
///
/// # Errors
///
/// The first failure that is not due to a row. It holds the report.
pub(super) async fn run<R, C>(context: &C, spec: &WriteSpec<'_, R>) -> Result<WriteResult, Error>
where
    R: Serialize + Sync,
    C: Execute,
{
    let prefer = &spec.options.prefer;
    rollback::check(context, prefer, &spec.endpoint).await?;
    let mut driver = Driver::new(spec)?;
    let mut under_way = FuturesUnordered::new();
    loop {
        while under_way.len() < spec.concurrency
            && let Some((batch, call)) = driver.next(under_way.len())
        {
            under_way.push(async move { (batch, context.execute(call).await) });
        }
        let Some((batch, result)) = under_way.next().await else {
            break;
        };
        driver.settle(&batch, result);
        if let Some(progress) = &spec.progress {
            progress(spec.checkpoint.progress());
        }
    }
    driver.finish()
}

/// The state of a write. The plan has the rows that are left, and the checkpoint what happened to
/// the rest.
struct Driver<'a, R> {
    spec: &'a WriteSpec<'a, R>,
    plan: WritePlan<'a, R>,
    checkpoint: &'a Checkpoint,
    /// Responses with the first row of their request.
    responses: Vec<(usize, Response)>,
    /// How many rows were refused in this run.
    failures: usize,
    max_rows: usize,
    /// Whether the database has accepted a request of this write.
    proven: bool,
    /// Single rows that a policy refused before that, with the error of each.
    suspects: Vec<(Batch, Error)>,
    /// Whether single rows are being tried.
    probing: bool,
    stopped: Option<Error>,
}

impl<'a, R: Serialize> Driver<'a, R> {
    fn new(spec: &'a WriteSpec<'a, R>) -> Result<Self, Error> {
        let may_repeat = |index| spec.rows.get(index).is_some_and(|row| spec.may_repeat(row));
        let settled = spec.checkpoint.open(spec.rows.len(), may_repeat)?;
        let plan = WritePlan::new(spec, &settled)?;
        spec.checkpoint.superseded(&plan.superseded);
        Ok(Self {
            spec,
            plan,
            checkpoint: &spec.checkpoint,
            responses: Vec::new(),
            failures: 0,
            max_rows: spec.chunk_rows,
            proven: spec.checkpoint.has_written(),
            suspects: Vec::new(),
            probing: false,
            stopped: None,
        })
    }

    /// The next request, unless the write has ended or a response must come first.
    fn next(&mut self, under_way: usize) -> Option<(Batch, Call)> {
        let waits = (self.probing && !self.proven) || self.plan.in_order;
        if self.stopped.is_some() || (waits && under_way > 0) {
            return None;
        }
        let batch = self.plan.next(self.max_rows);
        if self.spec.one_request
            && let Some(failure) = self.plan.failed.first()
        {
            self.stopped = Some(failure.error.clone());
            return None;
        }
        let mut batch = batch?;
        match self.spec.call(&mut batch) {
            Ok(call) => {
                self.checkpoint.sent(&batch.rows);
                Some((batch, call))
            }
            Err(error) => {
                self.stop(error);
                None
            }
        }
    }

    fn settle(&mut self, batch: &Batch, result: Result<Response, Error>) {
        match result {
            Ok(response) => {
                let dry_run = response.check_dry_run(&self.spec.options.prefer);
                self.written(batch, response);
                if let Err(error) = dry_run {
                    self.stop(error);
                }
            }
            Err(error) => self.refused(batch, error),
        }
    }

    fn written(&mut self, batch: &Batch, response: Response) {
        let rows = &batch.rows;
        let affected = response.total().unwrap_or(rows.len() as u64);
        self.checkpoint.written(rows, affected);
        self.proven = true;
        // The key may write, so these rows were refused for what they are.
        for (batch, error) in std::mem::take(&mut self.suspects) {
            self.reject(&batch.rows, error);
        }
        self.responses
            .push((rows.first().copied().unwrap_or_default(), response));
    }

    fn refused(&mut self, batch: &Batch, error: Error) {
        let rows = &batch.rows;
        let safety = self.spec.safety(batch);
        let action = match action_for(&error, rows.len(), safety) {
            _ if self.spec.one_request => FailureAction::Stop,
            // A key that may write nothing is no row's fault.
            FailureAction::Bisect | FailureAction::Refuse
                if error.is_permission_denied() && !self.proven =>
            {
                return self.probe(batch, error);
            }
            action => action,
        };
        match action {
            FailureAction::Shrink => {
                self.unwritten(rows, &error);
                // A size that was too much once is too much for later requests.
                self.max_rows = self.max_rows.min(rows.len().div_ceil(2)).max(1);
                self.plan.halve(batch);
            }
            FailureAction::Bisect => {
                self.unwritten(rows, &error);
                // Two rows are one to the database, though their values are written differently. The
                // later half is sent after the earlier one.
                self.plan.in_order |= error.code() == Some("21000");
                self.plan.halve(batch);
            }
            FailureAction::Refuse => self.reject(rows, error),
            FailureAction::Stop => {
                self.unwritten(rows, &error);
                self.stop(error);
            }
        }
    }

    fn reject(&mut self, rows: &[usize], error: Error) {
        self.checkpoint.refused(rows, &error);
        self.failures += rows.len();
        if self.failures > self.spec.max_failures {
            self.stop(error);
        }
    }

    /// Tries the first and the last row of the first refused request alone. If both are refused too,
    /// the key is at fault, and the write ends.
    fn probe(&mut self, batch: &Batch, error: Error) {
        if batch.rows.len() > 1 {
            self.checkpoint.withdrawn(&batch.rows);
            self.plan.put_back(batch, !self.probing);
            self.probing = true;
            return;
        }
        self.probing = true;
        self.suspects.push((batch.clone(), error.clone()));
        if self.suspects.len() > 1 {
            for (batch, _) in std::mem::take(&mut self.suspects) {
                self.checkpoint.withdrawn(&batch.rows);
            }
            self.stop(error);
        }
    }

    fn unwritten(&self, rows: &[usize], error: &Error) {
        if error.outcome() == Outcome::Unknown {
            self.checkpoint.lost(rows);
        } else {
            self.checkpoint.withdrawn(rows);
        }
    }

    fn stop(&mut self, error: Error) {
        self.stopped.get_or_insert(error);
    }

    fn finish(mut self) -> Result<WriteResult, Error> {
        // Without another row, there is nothing to compare with.
        for (batch, error) in std::mem::take(&mut self.suspects) {
            match self.stopped {
                None => self.checkpoint.refused(&batch.rows, &error),
                Some(_) => self.checkpoint.withdrawn(&batch.rows),
            }
        }
        self.checkpoint
            .unsendable(std::mem::take(&mut self.plan.failed));
        let report = self.checkpoint.report();
        if let Some(error) = self.stopped {
            return Err(error.with_report(report));
        }
        if !report.uncertain.is_empty() {
            let error = Error::new(
                ErrorKind::Interrupted,
                format!(
                    "rows without a response: {}; sending them again could write them twice, so check whether they exist, or upsert them",
                    report.uncertain.len()
                ),
            );
            return Err(error.with_report(report));
        }
        self.responses.sort_by_key(|(first, _)| *first);
        let responses = self
            .responses
            .into_iter()
            .map(|(_, response)| response)
            .collect();
        Ok(WriteResult { report, responses })
    }
}
