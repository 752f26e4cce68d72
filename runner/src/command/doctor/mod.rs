//! `sluice doctor`: what is wrong, and how to fix it.

mod budget;
mod check;
mod key;
mod model;
mod schema;
mod server;

use std::time::Duration;

use self::check::{Check, Finding};
use crate::config::Settings;
use crate::db::Database;
use crate::error::Error;
use crate::exit::Exit;
use crate::flow::{self, embed_query};
use crate::output::{Printer, checklist};

/// A service that does not answer for so long is reported. This is enough for a hiccup.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) async fn run(
    settings: Result<Settings, Error>,
    printer: &Printer,
) -> Result<Exit, Error> {
    let checks = match settings {
        Ok(settings) => check_all(impatient(settings)).await,
        Err(error) => vec![Check::of("configuration", Err(error.into()))],
    };
    if printer.is_json() {
        printer.json(&checks)?;
    } else {
        let lines = checks.iter().map(|check| {
            (
                check.ok,
                check.what,
                check.found.as_str(),
                check.cure.as_deref(),
            )
        });
        printer.styled(&checklist(lines))?;
    }
    Ok(checks
        .iter()
        .map(|check| check.exit)
        .find(|exit| *exit != Exit::Complete)
        .unwrap_or(Exit::Complete))
}

/// Says what is wrong now, so it waits for nobody.
fn impatient(mut settings: Settings) -> Settings {
    settings.openai.patience = PATIENCE;
    if let Some(database) = &mut settings.database {
        database.patience = PATIENCE;
    }
    settings
}

async fn check_all(settings: Settings) -> Vec<Check> {
    let mut checks = vec![Check::of(
        "configuration",
        Ok("complete and valid".to_owned()),
    )];
    let ((of_database, is_usable), provider) =
        tokio::join!(database(&settings), provider(&settings));
    checks.extend(of_database);
    let is_reached = !matches!(provider, Err(Error::GaveUp(_)));
    checks.push(Check::of("provider", provider.map_err(Finding::from)));
    if is_reached {
        checks.extend(model::checks(&settings, is_usable).await);
    }
    // Few people need Node, so its absence is no failure.
    #[cfg(feature = "local")]
    checks.push(Check {
        exit: Exit::Complete,
        ..Check::of(
            "node (only for the embedded Supabase)",
            node().await.map_err(Finding::from),
        )
    });
    checks
}

/// The server first, and what is behind it only if the server takes the key. Returns whether it does.
async fn database(settings: &Settings) -> (Vec<Check>, bool) {
    let connected = || {
        let configured = settings.database().map_err(Error::from)?;
        Ok::<_, Error>((configured, Database::new(configured)?))
    };
    let (configured, database) = match connected() {
        Ok(connected) => connected,
        Err(error) => return (vec![Check::of("database", Err(error.into()))], false),
    };
    let (mut checks, is_usable) = server::checks(configured).await;
    if is_usable {
        checks.extend(schema::checks(settings, &database).await);
        checks.extend(budget::check(settings.budget, &database).await);
    }
    (checks, is_usable)
}

async fn provider(settings: &Settings) -> Result<String, Error> {
    let provider = flow::provider(settings)?;
    let patience = flow::patience(settings);
    let vector = embed_query(&provider, &patience, &settings.embedding, "hello").await?;
    Ok(format!(
        "reachable, the key is accepted, {} returns {} dimensions",
        settings.embedding.model,
        vector.len()
    ))
}

#[cfg(feature = "local")]
async fn node() -> Result<String, Error> {
    crate::local::check_node().await?;
    Ok("installed and new enough".to_owned())
}
