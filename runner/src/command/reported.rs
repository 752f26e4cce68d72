//! The report of a flow: on stdout, and as a page if a file is named.

use jiff::Timestamp;
use tokio::time::Instant;

use crate::cli::ReportArgs;
use crate::error::Error;
use crate::exit::Exit;
use crate::output::Printer;
use crate::output::page::{self, PageFile};
use crate::report::{Counts, Outcome, Report, RowCounts};

/// Runs a flow and writes its report. A run that fails leaves a page too.
pub(super) async fn reported(
    printer: &Printer,
    flow: &str,
    arguments: &ReportArgs,
    work: impl Future<Output = Result<Outcome, Error>>,
) -> Result<Exit, Error> {
    let file = arguments.report_html.as_deref();
    let Some(file) = file.map(PageFile::prepare).transpose()? else {
        return print(*printer, work.await);
    };
    let (started, began) = (Timestamp::now(), Instant::now());
    let result = work.await;
    let written = match &result {
        Ok(outcome) => write(&file, outcome, started),
        Err(error) => {
            let report = Report::new(flow, Counts::Rows(RowCounts::default()));
            let report = report.finished(began.elapsed(), crate::memory::peak_bytes());
            let outcome = Outcome::stopped(report, error.exit(), error.to_string());
            write(&file, &outcome, started)
        }
    };
    // What the run itself came to is more important than its page.
    if let (Err(_), Err(error)) = (&result, &written) {
        tracing::error!("{error}");
    }
    let exit = print(*printer, result)?;
    written.map(|()| exit)
}

fn print(printer: Printer, result: Result<Outcome, Error>) -> Result<Exit, Error> {
    let outcome = result?;
    printer.outcome(&outcome)?;
    Ok(outcome.exit)
}

fn write(file: &PageFile, outcome: &Outcome, started: Timestamp) -> Result<(), Error> {
    let page = page::render(outcome, started, &[])
        .map_err(|error| Error::Unexpected(format!("failed to write the page: {error}")))?;
    file.write(&page)
}
