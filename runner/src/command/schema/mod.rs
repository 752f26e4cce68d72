//! `sluice schema …`

#[cfg(feature = "postgres")]
mod apply;
mod migrations;
mod vectors;

use std::path::Path;

use crate::cli::{MigrationArgs, SchemaArgs};
use crate::config::RawConfig;
use crate::error::Error;
use crate::exit::Exit;
use crate::output::Printer;
use crate::report::Report;
use crate::text::count;

#[cfg_attr(
    not(feature = "postgres"),
    expect(clippy::unused_async, reason = "only `apply` waits")
)]
pub(super) async fn run(arguments: &SchemaArgs, printer: Printer) -> Result<Exit, Error> {
    match arguments {
        SchemaArgs::Config => printer.json(&schemars::schema_for!(RawConfig))?,
        SchemaArgs::Report => printer.json(&schemars::schema_for!(Report))?,
        SchemaArgs::Migrations {
            directory,
            migrations,
        } => write(directory, migrations, printer)?,
        #[cfg(feature = "postgres")]
        SchemaArgs::Apply(arguments) => return apply::run(arguments, printer).await,
    }
    Ok(Exit::Complete)
}

fn write(directory: &Path, arguments: &MigrationArgs, printer: Printer) -> Result<(), Error> {
    let wanted = migrations::wanted(arguments)?;
    let failed = |source| Error::File {
        path: directory.to_owned(),
        source,
    };
    std::fs::create_dir_all(directory).map_err(failed)?;
    for migration in &wanted {
        std::fs::write(directory.join(&migration.file), &migration.sql).map_err(failed)?;
    }
    let (files, folder) = (count(wanted.len() as u64, "migration"), directory.display());
    printer.say(&format!("wrote {files} to {folder}"))
}
