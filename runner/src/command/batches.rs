//! `sluice batches list|collect|cancel`

use serde_json::json;
use uuid::Uuid;

use super::flows::finish;
use crate::cli::BatchesArgs;
use crate::db::{ListBatches, ListedBatch, int};
use crate::engine::Stop;
use crate::error::Error;
use crate::exit::Exit;
use crate::flow::{FlowOptions, Session, cancel_batch, collect_batches};
use crate::output::{Printer, TextTable, dollars, one_line};
use crate::text::count;

/// How much of a note or a host a table shows, in columns.
const SAID_SHOWN: usize = 60;

pub(super) async fn run(
    arguments: &BatchesArgs,
    session: &Session,
    printer: &Printer,
) -> Result<Exit, Error> {
    match arguments {
        BatchesArgs::List { all, limit } => list(*all, *limit, session, printer).await,
        BatchesArgs::Collect => {
            let run = session.begin(FlowOptions::default(), Stop::new());
            let work = collect_batches(session, &run);
            let outcome = finish(printer, "collect", (session, &run), work).await?;
            printer.outcome(&outcome)?;
            Ok(outcome.exit)
        }
        BatchesArgs::Cancel { id } => cancel(*id, session, printer).await,
    }
}

async fn list(all: bool, limit: u32, session: &Session, printer: &Printer) -> Result<Exit, Error> {
    let list = ListBatches {
        p_all: all,
        p_limit: int(limit),
    };
    let batches = session.database.call_shaped(list).await?;
    printer.either(&batches, || match batches.as_slice() {
        [] if all => "no batch was ever made".to_owned(),
        [] => "no batch is open".to_owned(),
        batches => table(batches),
    })?;
    Ok(Exit::Complete)
}

async fn cancel(id: Uuid, session: &Session, printer: &Printer) -> Result<Exit, Error> {
    let run = session.begin(FlowOptions::default(), Stop::new());
    cancel_batch(session, &run, id).await?;
    printer.either(&json!({ "id": id }), || {
        format!("batch {id} is being cancelled; `sluice batches collect` stores what is done, and frees the other rows")
    })?;
    Ok(Exit::Complete)
}

fn table(batches: &[ListedBatch]) -> String {
    let mut table = TextTable::new(["batch", "state", "lines done", "cost"])
        .with_ids()
        .right(2)
        .right(3);
    for batch in batches {
        let at_most = batch.usd_at_most.map(|usd| format!("≤ {}", dollars(usd)));
        let mut what = format!(
            "{}\n{} of {}, {:.0}",
            batch.id,
            batch.flow,
            count(batch.rows, "row"),
            batch.created_at
        );
        for (word, said) in [(" by ", &batch.created_by), ("\n", &batch.reason)] {
            if let Some(said) = said {
                what += word;
                what += &one_line(said, SAID_SHOWN);
            }
        }
        table.row([
            what,
            state(batch),
            format!("{}/{}", batch.lines_done, batch.lines),
            batch.usd.map(dollars).or(at_most).unwrap_or_default(),
        ]);
    }
    table.to_string()
}

/// The provider's state while it has the batch, else ours.
fn state(batch: &ListedBatch) -> String {
    let ours = serde_json::to_value(batch.state).ok();
    let ours = ours.and_then(|state| state.as_str().map(str::to_owned));
    match (&batch.provider_state, ours.as_deref()) {
        (Some(state), Some("submitted")) => state.clone(),
        (_, ours) => ours.unwrap_or_default().to_owned(),
    }
}
