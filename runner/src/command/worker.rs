//! `sluice worker`

use tokio::time::Instant;

use super::monitoring;
use super::signal::Watch;
use crate::cli::WorkerArgs;
use crate::engine::Stop;
use crate::error::Error;
use crate::exit::Exit;
use crate::flow::Session;
use crate::job::JobKind;
use crate::output::Printer;
use crate::report::{Counts, Outcome, Report, RowCounts};
use crate::worker::{self, Hearing, Monitor};

pub(super) async fn run(
    arguments: &WorkerArgs,
    session: Session,
    printer: &Printer,
) -> Result<Exit, Error> {
    let kinds = match arguments.types.as_slice() {
        [] => JobKind::all(),
        kinds => kinds,
    };
    let started = Instant::now();
    let stop = Stop::new();
    let _watch = Watch::new(stop.clone());
    let monitor = Monitor::default();
    let _serving = match arguments.listen {
        Some(address) => Some(monitoring::serve(address, &monitor).await?),
        None => None,
    };
    let hearing = hearing(arguments).await?;
    let mut reports = Vec::new();
    // A worker whose output cannot be written still runs its jobs.
    let mut unwritten = None;
    let mut cut_short = false;
    let exit = worker::work(
        &session,
        (kinds, arguments.once),
        hearing,
        &stop,
        &monitor,
        |outcome: &Outcome| {
            cut_short = stop.is_stopped() && outcome.exit == Exit::Interrupted;
            if !printer.is_json() {
                if let Err(error) = printer.outcome(outcome) {
                    tracing::error!("{error}");
                    unwritten = Some(error);
                }
            } else if arguments.once {
                reports.push(outcome.report.clone());
            }
        },
    )
    .await?;
    if let Some(error) = unwritten {
        return Err(error);
    }
    let reason = match exit {
        Exit::Interrupted if cut_short => {
            "stopped by a signal; the job that was running is due again"
        }
        Exit::Interrupted => "stopped by a signal; no job was running",
        _ => "not every job completed",
    };
    if exit == Exit::Interrupted {
        printer.say(reason)?;
    }
    if printer.is_json() {
        let mut report = Report::new("worker", Counts::Rows(RowCounts::default()));
        report.flows = reports;
        report.requests.supabase = session.database.requests().0;
        let report = report.finished(started.elapsed(), crate::memory::peak_bytes());
        let outcome = match exit {
            Exit::Complete => Outcome::ended(report),
            exit => Outcome::stopped(report, exit, reason),
        };
        printer.outcome(&outcome)?;
    }
    Ok(exit)
}

/// How the worker hears of jobs. A connection that cannot be made is said at once.
#[cfg(feature = "postgres")]
async fn hearing(arguments: &WorkerArgs) -> Result<Hearing, Error> {
    let Some(url) = arguments.db_url.clone() else {
        return Ok(Hearing::Asks);
    };
    let bell = worker::Bell::hang(url, arguments.db_ca.clone()).await?;
    Ok(Hearing::Hears(Box::new(bell)))
}

#[cfg(not(feature = "postgres"))]
#[expect(clippy::unused_async, reason = "with the feature it connects")]
async fn hearing(_: &WorkerArgs) -> Result<Hearing, Error> {
    Ok(Hearing::Asks)
}
