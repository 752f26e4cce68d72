//! `sluice weights list|prune`

use std::collections::BTreeSet;

use serde_json::json;

use crate::cli::WeightsArgs;
use crate::db::{ListWeightConfigs, PruneWeightScores, WeightScores};
use crate::error::Error;
use crate::exit::Exit;
use crate::flow::Session;
use crate::output::{Printer, TextTable, one_line};
use crate::text::count;

/// Scores that one call deletes: a fraction of a second.
const CHUNK: i32 = 50_000;

/// How much of a name a table shows, in columns.
const NAME_SHOWN: usize = 60;

pub(super) async fn run(
    arguments: &WeightsArgs,
    session: &Session,
    printer: &Printer,
) -> Result<Exit, Error> {
    match arguments {
        WeightsArgs::List => {
            let configs = session.database.call_shaped(ListWeightConfigs {}).await?;
            printer.either(&configs, || table(&configs))?;
        }
        WeightsArgs::Prune { keep } => prune(*keep, session, printer).await?,
    }
    Ok(Exit::Complete)
}

fn table(configs: &[WeightScores]) -> String {
    let mut table = TextTable::new(["weights", "created", "scores", ""])
        .with_ids()
        .right(2);
    for config in configs {
        let created = config
            .created_at
            .map(|at| at.strftime("%F %H:%M").to_string());
        let name = one_line(config.name.as_deref().unwrap_or_default(), NAME_SHOWN);
        table.row([
            format!("{}\n{name}", config.id).trim_end().to_owned(),
            created.unwrap_or_default(),
            config.scores.to_string(),
            if config.active { "in force" } else { "" }.to_owned(),
        ]);
    }
    table.to_string()
}

async fn prune(keep: u32, session: &Session, printer: &Printer) -> Result<(), Error> {
    let (mut deleted, mut configs) = (0, BTreeSet::new());
    loop {
        let prune = PruneWeightScores {
            p_keep: i32::try_from(keep).unwrap_or(i32::MAX),
            p_limit: CHUNK,
        };
        let pruned = session.database.call_shaped(prune).await?;
        deleted += pruned.deleted;
        configs.extend(pruned.weight_config_ids);
        // If others hold locks on the rest, the next run deletes it.
        if !pruned.more || pruned.deleted == 0 {
            break;
        }
    }
    let report = json!({ "deleted": deleted, "weight_config_ids": configs });
    printer.either(&report, || {
        let configs = count(configs.len() as u64, "weight config");
        format!("deleted {} of {configs}", count(deleted, "score"))
    })
}
