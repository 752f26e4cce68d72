//! `sluice doctor`: what is wrong, and how to fix it.

use std::time::Duration;

use serde::Serialize;

use crate::config::Settings;
use crate::db::{Database, EstimateWork};
use crate::error::Error;
use crate::exit::Exit;
use crate::flow::{self, embed_query};
use crate::output::{Printer, TextTable};
use crate::text::count;

/// A service that does not answer for so long is reported. This is enough for a hiccup.
const PATIENCE: Duration = Duration::from_secs(3);

/// The result of one check.
#[derive(Debug, Serialize)]
struct Check {
    what: &'static str,
    ok: bool,
    found: String,
    #[serde(skip)]
    exit: Exit,
}

pub(super) async fn run(
    settings: Result<Settings, Error>,
    printer: &Printer,
) -> Result<Exit, Error> {
    let checks = match settings {
        Ok(settings) => check_all(impatient(settings)).await,
        Err(error) => vec![check("configuration", Err(error))],
    };
    printer.either(&checks, || table(&checks))?;
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
    vec![
        check("configuration", Ok("complete and valid".to_owned())),
        check("database", database(&settings).await),
        check("provider", provider(&settings).await),
        // Few people need Node, so its absence is no failure.
        #[cfg(feature = "local")]
        Check {
            exit: Exit::Complete,
            ..check("node (only for the embedded Supabase)", node().await)
        },
    ]
}

fn check(what: &'static str, found: Result<String, Error>) -> Check {
    Check {
        what,
        ok: found.is_ok(),
        exit: found.as_ref().map_or_else(Error::exit, |_| Exit::Complete),
        found: found.unwrap_or_else(|error| error.to_string()),
    }
}

async fn database(settings: &Settings) -> Result<String, Error> {
    let database = Database::new(settings.database()?)?;
    let status = database.call(EstimateWork {}).await?;
    let posts = status
        .get("posts")
        .and_then(serde_json::Value::as_u64)
        .unwrap_or_default();
    let posts = count(posts, "post");
    Ok(format!("reachable, migrations applied, {posts}"))
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

fn table(checks: &[Check]) -> String {
    let mut table = TextTable::new(["", "check", "found"]);
    for check in checks {
        let mark = if check.ok { "ok" } else { "!!" };
        table.row([mark.to_owned(), check.what.to_owned(), check.found.clone()]);
    }
    table.to_string()
}
