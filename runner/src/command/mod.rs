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
#[cfg(feature = "local")]
mod local;
mod look;
mod manual;
mod models;
mod monitoring;
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

use self::reported::reported;
use futures_util::TryStreamExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sluice_sdk::{Client, query::Keyset};

#[cfg(feature = "typegen")]
use crate::cli::GenArgs;
use crate::cli::{Cli, Command, GlobalArgs, SpendArgs};
use crate::config::{self, Environment, Settings};
use crate::db::DatabaseError;
use crate::error::Error;
use crate::exit::Exit;
use crate::flow::{ScoreScope, Session};
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

fn settings(global: &GlobalArgs) -> Result<Settings, Error> {
    let environment = Environment::read().allow_http(global.allow_http);
    Ok(config::load(global.config.as_deref(), &environment)?)
}

/// A session for what spends money. Its flags override the configuration.
fn spending_session(global: &GlobalArgs, flags: &SpendArgs) -> Result<Session, Error> {
    let mut settings = settings(global)?;
    if let Some(concurrency) = flags.concurrency {
        settings.limits.concurrency = concurrency;
    }
    Session::new(settings)
}

fn session(global: &GlobalArgs) -> Result<Session, Error> {
    Session::new(settings(global)?)
}

/// The first rows of a read, and whether there are more.
///
/// It reads page by page: a server returns at most 1000 rows at once, or fewer if it is set up so.
async fn up_to<T, V>(
    limit: u32,
    read: Keyset<T, V, Client>,
) -> Result<(Vec<V>, bool), DatabaseError>
where
    T: 'static,
    V: DeserializeOwned + Send + 'static,
{
    let most = limit.try_into().unwrap_or(usize::MAX);
    let mut pages = read.page_rows((u64::from(limit) + 1).min(1_000)).pages();
    let mut rows = Vec::new();
    while rows.len() <= most
        && let Some(page) = pages.try_next().await?
    {
        rows.extend(page);
    }
    let more = rows.len() > most;
    rows.truncate(most);
    Ok((rows, more))
}

/// Prints a list, and says if it is not all.
fn print_list<T: Serialize>(
    printer: Printer,
    rows: &[T],
    more: bool,
    table: impl FnOnce(&[T]) -> String,
) -> Result<(), Error> {
    printer.either(&rows, || table(rows))?;
    if more {
        let shown = rows.len();
        tracing::warn!("the list ends after {shown}, and there are more; --limit shows more");
    }
    Ok(())
}
