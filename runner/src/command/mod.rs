//! One file a command. Each connects configuration, flows and output.

mod batches;
mod compare;
#[cfg(all(feature = "local", feature = "simulator"))]
mod demo;
mod doctor;
mod failures;
mod flows;
#[cfg(feature = "typegen")]
mod gen_types;
mod jobs;
mod list;
#[cfg(feature = "local")]
mod local;
mod look;
mod manual;
mod models;
mod monitoring;
mod open;
mod plan;
mod reported;
mod run;
mod schema;
mod signal;
#[cfg(feature = "simulator")]
mod simulate;
mod store;
mod watch;
mod weights;
mod worker;

use self::open::{session, settings, spending_session};
use self::reported::reported;
#[cfg(feature = "typegen")]
use crate::cli::GenArgs;
use crate::cli::{Cli, Command};
use crate::error::Error;
use crate::exit::Exit;
use crate::flow::ScoreScope;
use crate::output::Printer;

/// Runs the command that the arguments name, and returns its exit code.
///
/// # Errors
/// Why the command failed. [`Error::exit`] is its exit code.
pub async fn run(cli: Cli, printer: &Printer) -> Result<Exit, Error> {
    let global = &cli.global;
    match cli.command {
        #[cfg(all(feature = "local", feature = "simulator"))]
        Command::Demo(arguments) => {
            let work = async { Box::pin(demo::run(&arguments, settings(global)?, printer)).await };
            reported(printer, "demo", (&arguments.report, None), work).await
        }
        Command::Store(arguments) => {
            let work = Box::pin(async { store::run(&arguments, &settings(global)?).await });
            reported(printer, "store", (&arguments.report, Some(global)), work).await
        }
        Command::Run(arguments) => {
            let spend = &arguments.spend;
            let work = Box::pin(async {
                run::run(&arguments, spending_session(global, spend)?, printer).await
            });
            reported(printer, "run", (&spend.report, Some(global)), work).await
        }
        Command::Embed(arguments) => {
            let flow = &arguments.flow;
            let work = Box::pin(async {
                flows::embed(&arguments, spending_session(global, &flow.spend)?, printer).await
            });
            reported(printer, "embed", (&flow.spend.report, Some(global)), work).await
        }
        Command::Score(flow) => {
            let scope = ScoreScope::Missing;
            let work = Box::pin(async {
                flows::score(
                    &flow,
                    scope,
                    spending_session(global, &flow.spend)?,
                    printer,
                )
                .await
            });
            reported(printer, "score", (&flow.spend.report, Some(global)), work).await
        }
        Command::Rescore(arguments) => {
            let (flow, scope) = (&arguments.flow, flows::rescore_scope(&arguments));
            if let Some(model) = &arguments.compare {
                let session = spending_session(global, &flow.spend)?;
                return compare::run(model, flows::options(flow), &session, printer).await;
            }
            let work = Box::pin(async {
                flows::score(flow, scope, spending_session(global, &flow.spend)?, printer).await
            });
            reported(printer, "rescore", (&flow.spend.report, Some(global)), work).await
        }
        Command::Backfill(arguments) => {
            let flow = &arguments.flow;
            let work = Box::pin(async {
                flows::backfill(&arguments, spending_session(global, &flow.spend)?, printer).await
            });
            reported(
                printer,
                "backfill",
                (&flow.spend.report, Some(global)),
                work,
            )
            .await
        }
        Command::Recompute(arguments) => {
            let work =
                Box::pin(async { flows::recompute(&arguments, session(global)?, printer).await });
            reported(
                printer,
                "recompute",
                (&arguments.report, Some(global)),
                work,
            )
            .await
        }
        Command::Worker(arguments) => worker::run(&arguments, session(global)?, printer).await,
        Command::Jobs(arguments) => jobs::run(&arguments, &session(global)?, printer).await,
        Command::Batches(arguments) => batches::run(&arguments, &session(global)?, printer).await,
        Command::Weights(arguments) => weights::run(&arguments, &session(global)?, printer).await,
        Command::Plan(arguments) => plan::run(&arguments, &session(global)?, printer).await,
        Command::Status(arguments) => match arguments.watch {
            Some(seconds) => watch::run(seconds, &session(global)?, printer).await,
            None => look::status(&session(global)?, printer).await,
        },
        Command::Search(arguments) => look::search(&arguments, &session(global)?, printer).await,
        Command::Rank(arguments) => look::rank(&arguments, &session(global)?, printer).await,
        Command::Failures(arguments) => failures::run(&arguments, &session(global)?, printer).await,
        #[cfg(feature = "simulator")]
        Command::Simulate(arguments) => simulate::run(&arguments, printer).await,
        #[cfg(feature = "local")]
        Command::Local(arguments) => local::run(arguments, printer).await,
        Command::Doctor => doctor::run(settings(global), printer).await,
        #[cfg(feature = "typegen")]
        Command::Gen(GenArgs::Types(arguments)) => gen_types::run(&arguments, *printer).await,
        Command::Schema(arguments) => schema::run(&arguments, *printer).await,
        Command::Completions { shell } => manual::completions(shell, *printer),
        Command::Man { out } => manual::pages(&out, *printer),
    }
}
