//! `sluice failures list|replay`

use super::list::{print_list, up_to};
use crate::cli::FailuresArgs;
use crate::db::{ReplayWork, WorkItem, WorkItems};
use crate::error::Error;
use crate::exit::Exit;
use crate::flow::Session;
use crate::output::{Printer, TextTable, one_line};
use crate::text::count;

pub(super) async fn run(
    arguments: &FailuresArgs,
    session: &Session,
    printer: &Printer,
) -> Result<Exit, Error> {
    match arguments {
        FailuresArgs::List { kind, limit } => list(kind.as_deref(), *limit, session, printer).await,
        FailuresArgs::Replay { kind, posts } => {
            let replayed = session
                .database
                .call(ReplayWork {
                    p_kind: kind.clone(),
                    p_post_ids: (!posts.is_empty()).then(|| posts.clone()),
                })
                .await?;
            let replayed = u64::try_from(replayed).unwrap_or_default();
            printer.either(&serde_json::json!({ "replayed": replayed }), || {
                replayed_text(replayed)
            })?;
            Ok(Exit::Complete)
        }
    }
}

async fn list(
    kind: Option<&str>,
    limit: u32,
    session: &Session,
    printer: &Printer,
) -> Result<Exit, Error> {
    let waiting = WorkItems::DEAD.eq(false).and(WorkItems::ATTEMPTS.gt(0));
    let client = session.database.client();
    let (mut items, mut more) = (Vec::new(), false);
    for mut failing in [WorkItems::DEAD.eq(true), waiting] {
        if let Some(kind) = kind {
            failing = failing.and(WorkItems::KIND.eq(kind));
        }
        let read = client.from::<WorkItems>().keyset(WorkItems::KIND.asc());
        let read = read.select::<WorkItem>().filter(failing);
        let room = limit.saturating_sub(u32::try_from(items.len()).unwrap_or(u32::MAX));
        let (rows, follow) = up_to(room, read).await?;
        items.extend(rows);
        more = follow;
        if more {
            break;
        }
    }
    print_list(*printer, &items, more, table)?;
    Ok(Exit::Complete)
}

/// What `replay` did, and what to do next.
fn replayed_text(rows: u64) -> String {
    let verb = if rows == 1 { "is" } else { "are" };
    format!(
        "{} {verb} due again; run the flow to retry",
        count(rows, "row")
    )
}

fn table(items: &[WorkItem]) -> String {
    if items.is_empty() {
        return "nothing has failed".to_owned();
    }
    let mut table = TextTable::new(["post", "state", "attempts"])
        .with_ids()
        .right(2);
    for item in items {
        let state = if item.dead { "dead letter" } else { "waiting" };
        let reason = one_line(item.last_error.as_deref().unwrap_or_default(), 100);
        table.row([
            format!("{}\n{}: {reason}", item.post_id, item.kind),
            state.to_owned(),
            item.attempts.to_string(),
        ]);
    }
    table.to_string()
}
