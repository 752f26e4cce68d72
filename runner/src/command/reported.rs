//! The report of a flow: on stdout, and as a page if a file is named.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, timeout};
use tracing::Instrument;
use tracing::field::Empty;

use crate::cli::{GlobalArgs, ReportArgs};
use crate::db::{Database, DatabaseError, Runs};
use crate::error::Error;
use crate::exit::Exit;
use crate::output::Printer;
use crate::output::page::{self, PageFile};
use crate::report::{Counts, Outcome, Report, RowCounts};

/// The most runs that the page shows.
const RUNS_SHOWN: u64 = 30;
/// How long the page waits for them. It does without them then.
const RUNS_WAIT: Duration = Duration::from_secs(4);

/// Runs a flow and writes its report. A run that fails leaves a page too. The page shows the latest runs of the
/// configured database, if `history` says how it is configured.
pub(super) async fn reported(
    printer: &Printer,
    flow: &str,
    (arguments, history): (&ReportArgs, Option<&GlobalArgs>),
    work: impl Future<Output = Result<Outcome, Error>>,
) -> Result<Exit, Error> {
    let work = traced(flow, work);
    let file = arguments.report_html.as_deref();
    let Some(file) = file.map(PageFile::prepare).transpose()? else {
        return print(*printer, work.await);
    };
    let (started, began) = (Timestamp::now(), Instant::now());
    let result = work.await;
    let failed = |error: &Error| {
        let report = Report::new(flow, Counts::Rows(RowCounts::default()));
        let report = report.finished(began.elapsed(), crate::memory::peak_bytes());
        Outcome::stopped(report, error.exit(), error.to_string())
    };
    let outcome = match &result {
        Ok(outcome) => outcome,
        Err(error) => &failed(error),
    };
    let runs = match history {
        Some(global) => latest_runs(global, outcome).await,
        None => Vec::new(),
    };
    let written = write(&file, outcome, started, &runs);
    // What the run itself came to is more important than its page.
    if let (Err(_), Err(error)) = (&result, &written) {
        tracing::error!("{error}");
    }
    let exit = print(*printer, result)?;
    written.map(|()| exit)
}

/// Runs a flow in the span that all others of the command belong to.
async fn traced(
    flow: &str,
    work: impl Future<Output = Result<Outcome, Error>>,
) -> Result<Outcome, Error> {
    let span = tracing::trace_span!(
        "command",
        "otel.name" = format!("sluice {flow}"),
        "otel.status_code" = Empty,
        "sluice.exit_code" = Empty,
        "sluice.rows.written" = Empty,
        "sluice.rows.failed" = Empty,
        "sluice.usd" = Empty,
    );
    let result = work.instrument(span.clone()).await;
    let exit = match &result {
        Ok(outcome) => outcome.exit,
        Err(error) => error.exit(),
    };
    span.record("sluice.exit_code", i64::from(exit.code()));
    if !matches!(exit, Exit::Complete | Exit::MoreRemains) {
        span.record("otel.status_code", "ERROR");
    }
    if let Ok(Outcome { report, .. }) = &result {
        let written = match &report.counts {
            Counts::Store(counts) => counts.inserted,
            Counts::Rows(counts) => counts.written,
        };
        for (name, rows) in [
            ("sluice.rows.written", written),
            ("sluice.rows.failed", report.failed()),
        ] {
            span.record(name, i64::try_from(rows).unwrap_or(i64::MAX));
        }
        span.record("sluice.usd", report.usd);
    }
    result
}

fn print(printer: Printer, result: Result<Outcome, Error>) -> Result<Exit, Error> {
    let outcome = result?;
    printer.outcome(&outcome)?;
    Ok(outcome.exit)
}

/// What is recorded of the latest runs of the same flows. A database that does not answer at once fails no run, and
/// one that just failed it is not asked. After an interrupt there is no time to ask.
async fn latest_runs(global: &GlobalArgs, outcome: &Outcome) -> Vec<Runs> {
    if matches!(
        outcome.exit,
        Exit::Database | Exit::Usage | Exit::Interrupted
    ) {
        return Vec::new();
    }
    let report = &outcome.report;
    let flows = std::iter::once(report).chain(&report.flows);
    let flows: Vec<&str> = flows.map(|report| report.flow.as_str()).collect();
    let read = async {
        let settings = super::open::settings(global)?;
        let database = Database::new(settings.database()?)?;
        let runs = database
            .client()
            .from::<Runs>()
            .filter(Runs::FLOW.in_(flows))
            .order((Runs::STARTED_AT.desc(), Runs::ID.asc()))
            .limit(RUNS_SHOWN);
        Ok::<_, Error>(runs.await.map_err(DatabaseError::from)?)
    };
    match timeout(RUNS_WAIT, read).await {
        Ok(Ok(runs)) => runs,
        Ok(Err(error)) => {
            tracing::debug!(%error, "failed to read the latest runs");
            Vec::new()
        }
        Err(_) => {
            tracing::debug!("the database does not answer, so the page has no latest runs");
            Vec::new()
        }
    }
}

fn write(
    file: &PageFile,
    outcome: &Outcome,
    started: Timestamp,
    runs: &[Runs],
) -> Result<(), Error> {
    let page = page::render(outcome, started, runs)
        .map_err(|error| Error::Unexpected(format!("failed to write the page: {error}")))?;
    file.write(&page)
}
