//! `sluice schema …`

use crate::cli::Schema;
use crate::config::Raw;
use crate::error::Error;
use crate::exit::Exit;
use crate::local::MIGRATIONS;
use crate::output::Printer;
use crate::report::Report;

pub(super) fn run(arguments: &Schema, printer: Printer) -> Result<Exit, Error> {
    match arguments {
        Schema::Config => printer.json(&schemars::schema_for!(Raw)),
        Schema::Report => printer.json(&schemars::schema_for!(Report)),
        Schema::Migrations { directory } => {
            let failed = |source| Error::File {
                path: directory.clone(),
                source,
            };
            std::fs::create_dir_all(directory).map_err(failed)?;
            for (name, sql) in MIGRATIONS {
                std::fs::write(directory.join(name), sql).map_err(failed)?;
            }
            let folder = directory.display();
            printer.say(&format!("{} migrations are in {folder}", MIGRATIONS.len()));
        }
    }
    Ok(Exit::Complete)
}
