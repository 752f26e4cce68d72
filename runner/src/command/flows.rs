//! `sluice embed`, `score`, `rescore`, `backfill` and `recompute`.

use std::future::Future;

use tracing::Instrument;

use super::signal::Watch;
use crate::cli::{BackfillArgs, EmbedArgs, FlowArgs, RecomputeArgs, RescoreArgs};
use crate::engine::Stop;
use crate::error::Error;
use crate::flow::{
    self, Batching, FlowOptions, RecomputeOptions, Run, ScoreScope, Session, WorkKind,
};
use crate::output::{Printer, Sample};
use crate::report::Outcome;

pub(super) async fn embed(
    arguments: &EmbedArgs,
    session: Session,
    printer: &Printer,
) -> Result<Outcome, Error> {
    let run = session.begin(options(&arguments.flow), Stop::new());
    let work = Box::pin(flow::embed(&session, &run, arguments.refresh));
    finish(printer, "embed", (&session, &run), work).await
}

/// Which scores `sluice rescore` writes.
pub(super) fn rescore_scope(arguments: &RescoreArgs) -> ScoreScope {
    match (arguments.all, arguments.restart) {
        (true, true) => ScoreScope::AllAnew,
        (true, false) => ScoreScope::All,
        (false, _) => ScoreScope::Stale,
    }
}

pub(super) async fn score(
    arguments: &FlowArgs,
    scope: ScoreScope,
    session: Session,
    printer: &Printer,
) -> Result<Outcome, Error> {
    let label = match scope {
        ScoreScope::Missing => "score",
        _ => "rescore",
    };
    let run = session.begin(options(arguments), Stop::new());
    let work = Box::pin(async {
        if printer.shows_progress() {
            flow::expect_scores(&session, &run, scope).await;
        }
        flow::score(&session, &run, scope).await
    });
    finish(printer, label, (&session, &run), work).await
}

pub(super) async fn backfill(
    arguments: &BackfillArgs,
    session: Session,
    printer: &Printer,
) -> Result<Outcome, Error> {
    let run = session.begin(options(&arguments.flow), Stop::new());
    let work = Box::pin(async {
        if printer.shows_progress() {
            let kind = WorkKind::Backfill(arguments.dimension.clone());
            flow::count(&session, &run, &kind).await;
        }
        flow::backfill(&session, &run, &arguments.dimension).await
    });
    finish(printer, "backfill", (&session, &run), work).await
}

pub(super) async fn recompute(
    arguments: &RecomputeArgs,
    session: Session,
    printer: &Printer,
) -> Result<Outcome, Error> {
    let run = session.begin(FlowOptions::default(), Stop::new());
    let options = RecomputeOptions {
        weight_config_id: arguments.weights,
        activate: arguments.activate,
    };
    let work = Box::pin(flow::recompute(&session, &run, options));
    finish(printer, "recompute", (&session, &run), work).await
}

/// The options of a flow, from the arguments.
pub(super) fn options(arguments: &FlowArgs) -> FlowOptions {
    let spend = &arguments.spend;
    FlowOptions {
        limit: arguments.limit,
        deadline: spend.deadline,
        max_usd: spend.max_usd,
        dry_run: spend.dry_run,
        batch: spend.batch.then_some(Batching::Wait),
    }
}

/// Runs a flow with signal handling and progress.
pub(super) async fn finish(
    printer: &Printer,
    label: &'static str,
    (session, run): (&Session, &Run),
    work: impl Future<Output = Result<Outcome, Error>>,
) -> Result<Outcome, Error> {
    let result = watched(printer, label, run, work).await;
    session.or_stopped(label, run, result)
}

/// Runs a flow with signal handling and progress.
pub(super) async fn watched<T>(
    printer: &Printer,
    label: &'static str,
    run: &Run,
    work: impl Future<Output = T>,
) -> T {
    let _watch = Watch::new(run.stop.clone());
    let span = tracing::error_span!("run", run = %run.id, flow = label);
    let shown = printer.progress(label).during(|| sample(run), work);
    shown.instrument(span).await
}

fn sample(run: &Run) -> Sample {
    Sample {
        rows: run.progress(),
        total: run.total(),
        tokens: run.requests.usage().total(),
        tokens_per_minute: run.tokens_per_minute(),
        usd: run.usd(),
    }
}
