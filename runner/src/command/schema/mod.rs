//! `sluice schema …`

mod vectors;

use self::vectors::VectorType;
use crate::bundled::MIGRATIONS;
use crate::cli::SchemaArgs;
use crate::config::RawConfig;
use crate::error::Error;
use crate::exit::Exit;
use crate::output::Printer;
use crate::report::Report;
use crate::text::count;

pub(super) fn run(arguments: &SchemaArgs, printer: Printer) -> Result<Exit, Error> {
    match arguments {
        SchemaArgs::Config => printer.json(&schemars::schema_for!(RawConfig))?,
        SchemaArgs::Report => printer.json(&schemars::schema_for!(Report))?,
        SchemaArgs::Migrations {
            directory,
            dimensions,
            halfvec,
        } => {
            let vectors = VectorType::asked_for(*dimensions, *halfvec)?;
            let failed = |source| Error::File {
                path: directory.clone(),
                source,
            };
            std::fs::create_dir_all(directory).map_err(failed)?;
            for (name, sql) in MIGRATIONS {
                std::fs::write(directory.join(name), sql).map_err(failed)?;
            }
            if let Some(vectors) = vectors {
                std::fs::write(directory.join(vectors::FILE), vectors.migration())
                    .map_err(failed)?;
            }
            let folder = directory.display();
            let files = count(
                (MIGRATIONS.len() + usize::from(vectors.is_some())) as u64,
                "migration",
            );
            printer.say(&format!("wrote {files} to {folder}"))?;
        }
    }
    Ok(Exit::Complete)
}
