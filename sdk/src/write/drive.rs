//! Sending the requests of a bulk write, a few at once, and reacting to what comes back.

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde::Serialize;

use super::Job;
use super::plan::{Piece, Plan};
use super::verdict::{Verdict, is_outcome_unknown, verdict};
use crate::error::{Chunk, Error, ErrorKind, RowFailure, WriteReport};
use crate::execute::Execute;
use crate::request::Call;
use crate::response::Answer;

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
            && let Some((piece, call)) = drive.next()?
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

/// The state of a write: what is left of the plan, and what has become of the rest.
struct Drive<'a, R> {
    job: &'a Job<'a, R>,
    plan: Plan<'a, R>,
    report: WriteReport,
    /// Answers with the first row of their request.
    answers: Vec<(usize, Answer)>,
    max_rows: usize,
    stopped: Option<Error>,
}

impl<'a, R: Serialize> Drive<'a, R> {
    fn new(job: &'a Job<'a, R>) -> Result<Self, Error> {
        let plan = Plan::new(job)?;
        let report = WriteReport {
            rows: job.rows.len() as u64,
            ..WriteReport::default()
        };
        let max_rows = job.chunk_rows;
        Ok(Self {
            job,
            plan,
            report,
            answers: Vec::new(),
            max_rows,
            stopped: None,
        })
    }

    /// The next request, as long as nothing has ended the write.
    fn next(&mut self) -> Result<Option<(Piece, Call)>, Error> {
        if self.stopped.is_some() {
            return Ok(None);
        }
        let piece = self.plan.next(self.max_rows);
        if self.job.one_request
            && let Some(failure) = self.plan.failed.first()
        {
            return Err(failure.error.clone());
        }
        let Some(piece) = piece else { return Ok(None) };
        let call = self.job.call(&self.plan, &piece)?;
        Ok(Some((piece, call)))
    }

    fn settle(&mut self, piece: &Piece, result: Result<Answer, Error>) {
        self.report.requests += 1;
        match result.and_then(|answer| self.accepted(answer)) {
            Ok(answer) => self.written(piece, answer),
            Err(error) => self.refused(piece, error),
        }
    }

    /// Checks that a rehearsal was one.
    fn accepted(&self, answer: Answer) -> Result<Answer, Error> {
        if self.job.prefer.rollback && !answer.has_applied("tx=rollback") {
            return Err(Error::new(
                ErrorKind::Invalid,
                "the server does not allow `tx=rollback`: the rows of this request were written",
            ));
        }
        Ok(answer)
    }

    fn written(&mut self, piece: &Piece, answer: Answer) {
        let rows = self.plan.indexes(piece).to_vec();
        let affected = answer.total().unwrap_or(rows.len() as u64);
        self.report.affected += affected;
        self.answers
            .push((rows.first().copied().unwrap_or_default(), answer));
        self.report.chunks.push(Chunk { rows, affected });
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
                // What was too much once is too much for the requests to come.
                self.max_rows = self.max_rows.min(rows.len().div_ceil(2)).max(1);
                self.plan.halve(piece);
            }
            Verdict::Bisect => self.plan.halve(piece),
            Verdict::Refuse => {
                let failures = rows.iter().map(|&index| RowFailure {
                    index,
                    error: error.clone(),
                });
                self.report.failed.extend(failures);
                if self.report.failed.len() > self.job.max_failures {
                    self.stop(error);
                }
            }
            Verdict::Stop => {
                self.report.pending.extend(rows);
                self.report.outcome_unknown |= is_outcome_unknown(&error);
                self.stop(error);
            }
        }
    }

    fn stop(&mut self, error: Error) {
        self.stopped.get_or_insert(error);
    }

    fn finish(mut self) -> Result<Outcome, Error> {
        self.report.failed.append(&mut self.plan.failed);
        self.report.superseded.append(&mut self.plan.superseded);
        self.report.failed.sort_by_key(|failure| failure.index);
        if let Some(error) = self.stopped {
            self.report.pending.extend(self.plan.left());
            self.report.pending.sort_unstable();
            return Err(error.with_report(self.report));
        }
        self.answers.sort_by_key(|(first, _)| *first);
        let answers = self.answers.into_iter().map(|(_, answer)| answer).collect();
        Ok(Outcome {
            report: self.report,
            answers,
        })
    }
}
