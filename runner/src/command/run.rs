//! `sluice run`: what is due, in one process with one deadline, one budget and one report.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::flows::watched;
use super::signal::Watch;
use crate::cli::RunArgs;
use crate::config::Step;
use crate::db::{ListWeightConfigs, PipelineStatus};
use crate::engine::{Stop, StopReason};
use crate::error::Error;
use crate::exit::Exit;
use crate::flow::store::{self, StoreOptions};
use crate::flow::{self, Batching, FlowOptions, RecomputeOptions, Run, ScoreScope, Session};
use crate::output::Printer;
use crate::report::{Counts, Outcome, Report, RowCounts, StoreCounts};

pub(super) async fn run(
    arguments: &RunArgs,
    session: Session,
    printer: &Printer,
) -> Result<Outcome, Error> {
    let steps = session.settings.workflow.steps.clone();
    if arguments.file.is_some() && !steps.contains(&Step::Store) {
        return Err(Error::Usage(
            "a file is given, but workflow.steps has no `store`; add it, or leave the file out"
                .to_owned(),
        ));
    }
    if steps.iter().any(|step| step.spends()) {
        // Nothing is stored by a run that cannot do the rest.
        session.provider()?;
    }
    let mut workflow = WorkflowRun {
        session: &session,
        printer,
        arguments,
        started: Instant::now(),
        usd: 0.0,
        outcomes: Vec::new(),
    };
    for step in steps {
        if !workflow.step(step).await {
            break;
        }
    }
    let elapsed = workflow.started.elapsed();
    let peak = crate::memory::peak_bytes();
    Ok(Outcome::of_flows("run", workflow.outcomes, elapsed, peak))
}

/// The steps so far.
struct WorkflowRun<'a> {
    session: &'a Session,
    printer: &'a Printer,
    arguments: &'a RunArgs,
    started: Instant,
    usd: f64,
    outcomes: Vec<Outcome>,
}

impl WorkflowRun<'_> {
    /// Does one step. Returns whether the next one makes sense.
    async fn step(&mut self, step: Step) -> bool {
        let mut outcome = match self.bounds() {
            Err(reason) => {
                let report = Report::new(step.name(), Counts::Rows(RowCounts::default()));
                Outcome::stopped(report, (&reason).into(), reason.to_string())
            }
            Ok(options) => match self.outcome(step, options).await {
                Ok(Some(outcome)) => outcome,
                Ok(None) => return true,
                Err(error) => failed(step, &error),
            },
        };
        if let Some(reached) = self
            .reached_deadline()
            .filter(|_| outcome.exit == Exit::MoreRemains)
        {
            // The step knows only what was left of it.
            outcome.report.reason = Some(StopReason::Deadline(reached).to_string());
        }
        self.usd += outcome.report.usd.unwrap_or_default();
        let exit = outcome.exit;
        self.outcomes.push(outcome);
        matches!(
            exit,
            Exit::Complete | Exit::MoreRemains | Exit::SomeFailed | Exit::ProviderRefuses
        )
    }

    /// What is left of the deadline and the budget, or which of them is reached.
    fn bounds(&self) -> Result<FlowOptions, StopReason> {
        let spend = &self.arguments.spend;
        let deadline = spend.deadline;
        let left = deadline.map(|deadline| deadline.saturating_sub(self.started.elapsed()));
        if let (Some(deadline), Some(Duration::ZERO)) = (deadline, left) {
            return Err(StopReason::Deadline(deadline));
        }
        Ok(FlowOptions {
            limit: None,
            deadline: left,
            // Not zero: a step with nothing to do needs no money, and one with something to do says why it stops.
            max_usd: spend
                .max_usd
                .map(|usd| (usd - self.usd).max(f64::MIN_POSITIVE)),
            dry_run: spend.dry_run,
            batch: spend.batch.then_some(Batching::HandOver),
        })
    }

    /// The deadline of the run, if it is reached.
    fn reached_deadline(&self) -> Option<Duration> {
        let deadline = self.arguments.spend.deadline;
        deadline.filter(|deadline| self.started.elapsed() >= *deadline)
    }

    /// Runs a step, unless there is nothing to do.
    async fn outcome(&self, step: Step, options: FlowOptions) -> Result<Option<Outcome>, Error> {
        let session = self.session;
        if step == Step::Store {
            let Some(file) = &self.arguments.file else {
                return Ok(None);
            };
            return self.store(file, options).await.map(Some);
        }
        if step == Step::Recompute && !self.needs_recompute().await? {
            return Ok(None);
        }
        let run = session.begin(options, Stop::new());
        let work = async {
            match step {
                Step::Score => self.score(&run, ScoreScope::Missing).await,
                Step::Rescore => self.score(&run, ScoreScope::Stale).await,
                Step::Recompute => {
                    let recompute = flow::recompute(session, &run, RecomputeOptions::default());
                    self.bounded(&run.stop, options, recompute).await
                }
                Step::Embed | Step::Store => flow::embed(session, &run, false).await,
            }
        };
        watched(self.printer, step.name(), &run, work)
            .await
            .map(Some)
    }

    async fn score(&self, run: &Run, scope: ScoreScope) -> Result<Outcome, Error> {
        if self.printer.shows_progress() {
            flow::expect_scores(self.session, run, scope).await;
        }
        flow::score(self.session, run, scope).await
    }

    async fn store(&self, file: &Path, options: FlowOptions) -> Result<Outcome, Error> {
        let stop = Stop::new();
        let _watch = Watch::new(stop.clone());
        let store = StoreOptions {
            now: Timestamp::now(),
            limit: None,
            dry_run: options.dry_run,
        };
        let store = store::store_file(&self.session.database, file, None, store, &stop);
        self.bounded(&stop, options, store).await
    }

    /// Stops work that knows no deadline when it is reached.
    async fn bounded<T>(
        &self,
        stop: &Stop,
        options: FlowOptions,
        work: impl Future<Output = T>,
    ) -> T {
        tokio::pin!(work);
        let (Some(left), Some(deadline)) = (options.deadline, self.arguments.spend.deadline) else {
            return work.await;
        };
        tokio::select! {
            result = &mut work => return result,
            () = tokio::time::sleep(left) => {}
        }
        stop.stop(StopReason::Deadline(deadline));
        work.await
    }

    /// Whether this run wrote scores, or a scored post has no final score under the active weights.
    async fn needs_recompute(&self) -> Result<bool, Error> {
        if self.arguments.spend.dry_run {
            return Ok(false);
        }
        let wrote = |outcome: &Outcome| match &outcome.report.counts {
            Counts::Rows(rows) => rows.written > 0 && outcome.report.flow.ends_with("score"),
            Counts::Store(StoreCounts { .. }) => false,
        };
        if self.outcomes.iter().any(wrote) {
            return Ok(true);
        }
        let database = &self.session.database;
        let status = database.call(PipelineStatus {}).await?;
        let scored = status.get("scored").and_then(serde_json::Value::as_u64);
        let weights = database.call_shaped(ListWeightConfigs {}).await?;
        let active = weights.iter().find(|weights| weights.active);
        Ok(active.is_some_and(|active| Some(active.scores) < scored))
    }
}

fn failed(step: Step, error: &Error) -> Outcome {
    let counts = match step {
        Step::Store => Counts::Store(StoreCounts::default()),
        _ => Counts::Rows(RowCounts::default()),
    };
    Outcome::stopped(
        Report::new(step.name(), counts),
        error.exit(),
        error.to_string(),
    )
}
