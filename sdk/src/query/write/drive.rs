//! Sending the requests of a bulk write, a few at once, and reacting to what comes back.

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde::Serialize;

use super::Job;
use super::ledger::Ledger;
use super::plan::{Piece, Plan};
use super::verdict::{Verdict, is_outcome_unknown, verdict};
use crate::error::{Error, ErrorKind, WriteReport};
use crate::query::Execute;
use crate::request::{Answer, Call};

/// What a whole write did, with the answers in the order of their rows.
pub(super) struct Outcome {
    pub(super) report: WriteReport,
    pub(super) answers: Vec<Answer>,
}

/// Runs a write to its end.
///
/// # Errors
///
/// The first failure that is not the rows' own; the report is in it.
pub(super) async fn run<R, C>(context: &C, job: &Job<'_, R>) -> Result<Outcome, Error>
where
    R: Serialize + Sync,
    C: Execute,
{
    let mut drive = Drive::new(job)?;
    let mut under_way = FuturesUnordered::new();
    loop {
        while under_way.len() < job.concurrency
            && let Some((piece, call)) = drive.next()
        {
            under_way.push(async move { (piece, context.execute(call).await) });
        }
        let Some((piece, result)) = under_way.next().await else {
            break;
        };
        drive.settle(&piece, result);
    }
    drive.finish()
}

/// The state of a write: what is left of the plan. What has become of the rest is in the ledger.
struct Drive<'a, R> {
    job: &'a Job<'a, R>,
    plan: Plan<'a, R>,
    ledger: &'a Ledger,
    /// Answers with the first row of their request.
    answers: Vec<(usize, Answer)>,
    /// How many rows this run has seen refused.
    failures: usize,
    max_rows: usize,
    stopped: Option<Error>,
}

impl<'a, R: Serialize> Drive<'a, R> {
    fn new(job: &'a Job<'a, R>) -> Result<Self, Error> {
        let may_repeat = |index| job.rows.get(index).is_some_and(|row| job.may_repeat(row));
        let settled = job.ledger.open(job.rows.len(), may_repeat)?;
        let plan = Plan::new(job, &settled)?;
        job.ledger.superseded(&plan.superseded);
        Ok(Self {
            job,
            plan,
            ledger: &job.ledger,
            answers: Vec::new(),
            failures: 0,
            max_rows: job.chunk_rows,
            stopped: None,
        })
    }

    /// The next request, as long as nothing has ended the write.
    fn next(&mut self) -> Option<(Piece, Call)> {
        if self.stopped.is_some() {
            return None;
        }
        let piece = self.plan.next(self.max_rows);
        if self.job.one_request
            && let Some(failure) = self.plan.failed.first()
        {
            self.stopped = Some(failure.error.clone());
            return None;
        }
        let piece = piece?;
        match self.job.call(&self.plan, &piece) {
            Ok(call) => {
                self.ledger.sent(self.plan.indexes(&piece));
                Some((piece, call))
            }
            Err(error) => {
                self.stop(error);
                None
            }
        }
    }

    fn settle(&mut self, piece: &Piece, result: Result<Answer, Error>) {
        match result {
            Ok(answer) => {
                let rehearsed = answer.rehearsed(&self.job.prefer);
                self.written(piece, answer);
                if let Err(error) = rehearsed {
                    self.stop(error);
                }
            }
            Err(error) => self.refused(piece, error),
        }
    }

    fn written(&mut self, piece: &Piece, answer: Answer) {
        let rows = self.plan.indexes(piece);
        let affected = answer.total().unwrap_or(rows.len() as u64);
        self.ledger.written(rows, affected);
        self.answers
            .push((rows.first().copied().unwrap_or_default(), answer));
    }

    fn refused(&mut self, piece: &Piece, error: Error) {
        let rows = self.plan.indexes(piece);
        let safety = self.job.safety(&self.plan, piece);
        let verdict = match verdict(&error, rows.len(), safety) {
            _ if self.job.one_request => Verdict::Stop,
            verdict => verdict,
        };
        match verdict {
            Verdict::Shrink => {
                self.unwritten(rows, &error);
                // What was too much once is too much for the requests to come.
                self.max_rows = self.max_rows.min(rows.len().div_ceil(2)).max(1);
                self.plan.halve(piece);
            }
            Verdict::Bisect => {
                self.unwritten(rows, &error);
                self.plan.halve(piece);
            }
            Verdict::Refuse => {
                self.ledger.refused(rows, &error);
                self.failures += rows.len();
                if self.failures > self.job.max_failures {
                    self.stop(error);
                }
            }
            Verdict::Stop => {
                self.unwritten(rows, &error);
                self.stop(error);
            }
        }
    }

    fn unwritten(&self, rows: &[usize], error: &Error) {
        if is_outcome_unknown(error) {
            self.ledger.lost(rows);
        } else {
            self.ledger.withdrawn(rows);
        }
    }

    fn stop(&mut self, error: Error) {
        self.stopped.get_or_insert(error);
    }

    fn finish(mut self) -> Result<Outcome, Error> {
        self.ledger
            .unsendable(std::mem::take(&mut self.plan.failed));
        let report = self.ledger.report();
        if let Some(error) = self.stopped {
            return Err(error.with_report(report));
        }
        if !report.uncertain.is_empty() {
            let error = Error::new(
                ErrorKind::Interrupted,
                format!(
                    "{} rows were sent and never answered, and sending them again could write them twice; look whether they are there, or upsert them",
                    report.uncertain.len()
                ),
            );
            return Err(error.with_report(report));
        }
        self.answers.sort_by_key(|(first, _)| *first);
        let answers = self.answers.into_iter().map(|(_, answer)| answer).collect();
        Ok(Outcome { report, answers })
    }
}
