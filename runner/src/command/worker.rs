//! `sluice worker`

use tokio::time::Instant;

use super::signal::Watch;
use crate::cli::Worker;
use crate::engine::Stop;
use crate::error::Error;
use crate::exit::Exit;
use crate::flow::Session;
use crate::output::Printer;
use crate::report::{Counts, Outcome, Report, RowCounts};
use crate::worker::{self, JOB_TYPES};

pub(super) async fn run(
    arguments: &Worker,
    session: Session,
    printer: &Printer,
) -> Result<Exit, Error> {
    let types = types(&arguments.types)?;
    let started = Instant::now();
    let stop = Stop::new();
    let _watch = Watch::new(stop.clone());
    let mut reports = Vec::new();
    let exit = worker::work(
        &session,
        &types,
        arguments.once,
        &stop,
        |outcome: &Outcome| {
            if !printer.is_json() {
                printer.outcome(outcome);
            } else if arguments.once {
                reports.push(outcome.report.clone());
            }
        },
    )
    .await?;
    if printer.is_json() {
        let mut report = Report::new("worker", Counts::Rows(RowCounts::default()));
        report.flows = reports;
        report.requests.supabase = session.database.requests().0;
        let report = report.finished(started.elapsed(), crate::memory::peak_bytes());
        let outcome = match exit {
            Exit::Complete => Outcome::ended(report),
            exit => Outcome::stopped(report, exit, "not every job completed"),
        };
        printer.outcome(&outcome);
    }
    Ok(exit)
}

fn types(asked: &[String]) -> Result<Vec<String>, Error> {
    if let Some(unknown) = asked
        .iter()
        .find(|kind| !JOB_TYPES.contains(&kind.as_str()))
    {
        let known = JOB_TYPES.join(", ");
        return Err(Error::Usage(format!(
            "no job type `{unknown}` is known; there are {known}"
        )));
    }
    let all = || JOB_TYPES.iter().map(ToString::to_string).collect();
    Ok(if asked.is_empty() {
        all()
    } else {
        asked.to_vec()
    })
}
