//! `sluice store`

use jiff::Timestamp;

use super::signal::Watch;
use crate::cli::StoreArgs;
use crate::config::Settings;
use crate::db::Database;
use crate::engine::Stop;
use crate::error::Error;
use crate::flow::store::{self, StoreOptions};
use crate::report::Outcome;

pub(super) async fn run(arguments: &StoreArgs, settings: &Settings) -> Result<Outcome, Error> {
    let database = Database::new(settings.database()?)?;
    let options = StoreOptions {
        now: Timestamp::now(),
        limit: arguments.limit,
        dry_run: arguments.dry_run,
    };
    let stop = Stop::new();
    let _watch = Watch::new(stop.clone());
    let (file, format) = (&arguments.file, arguments.format);
    store::store_file(&database, file, format, options, &stop).await
}
