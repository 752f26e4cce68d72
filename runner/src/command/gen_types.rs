//! `sluice gen types`: writes types from the database, or checks a file of them against it.

use std::path::Path;

use serde::Serialize;

use crate::cli::{FeatureArg, GenTypesArgs, TimeArg};
use crate::error::Error;
use crate::exit::Exit;
use crate::output::Printer;
use crate::typegen::{self, Catalog, Drift, SdkFeature, TimeCrate, TypegenOptions};

/// The JSON of `--file`.
#[derive(Serialize)]
struct Generated<'a> {
    file: &'a Path,
    bytes: usize,
}

/// The JSON if no file is named.
#[derive(Serialize)]
struct Printed<'a> {
    types: &'a str,
}

/// The JSON of `--check`.
#[derive(Serialize)]
struct Checked<'a> {
    file: &'a Path,
    drifted: bool,
    drifts: &'a [Drift],
}

pub(super) async fn run(arguments: &GenTypesArgs, printer: Printer) -> Result<Exit, Error> {
    // An unreadable file is reported before a database is started for nothing.
    let checked = match &arguments.check {
        Some(file) => Some((file, std::fs::read_to_string(file).map_err(at(file))?)),
        None => None,
    };
    let options = TypegenOptions {
        schemas: arguments.schemas.clone(),
        only: arguments.only.iter().cloned().collect(),
        exclude: arguments.exclude.iter().cloned().collect(),
        nullable: arguments.nullable.iter().cloned().collect(),
        not_null: arguments.not_null.iter().cloned().collect(),
        time: match arguments.time {
            TimeArg::Jiff => TimeCrate::Jiff,
            TimeArg::Chrono => TimeCrate::Chrono,
        },
        features: arguments.features.iter().map(|&it| it.into()).collect(),
    };
    let catalog = read_catalog(arguments, &options).await?;
    if let Some(file) = &arguments.snapshot {
        std::fs::write(file, catalog.to_snapshot()).map_err(at(file))?;
    }
    let text = typegen::generate(&catalog, &options)?;
    if let Some((file, stored)) = checked {
        return report(file, &typegen::compare(&stored, &text), printer);
    }
    match &arguments.file {
        Some(file) => {
            std::fs::write(file, &text).map_err(at(file))?;
            let bytes = text.len();
            printer.either(&Generated { file, bytes }, || {
                format!("the types are in {}", file.display())
            })?;
        }
        None if printer.is_json() => printer.json(&Printed { types: &text })?,
        None => printer.text(&text)?,
    }
    Ok(Exit::Complete)
}

impl From<FeatureArg> for SdkFeature {
    fn from(feature: FeatureArg) -> Self {
        match feature {
            FeatureArg::Bytes => Self::Bytes,
            FeatureArg::Pgvector => Self::Pgvector,
        }
    }
}

/// Reads the database that the arguments name.
async fn read_catalog(
    arguments: &GenTypesArgs,
    options: &TypegenOptions,
) -> Result<Catalog, Error> {
    if let Some(file) = &arguments.source.from {
        let text = std::fs::read_to_string(file).map_err(at(file))?;
        return Ok(Catalog::from_snapshot(&text)?);
    }
    #[cfg(feature = "local")]
    if arguments.source.local {
        return read_local(options).await;
    }
    let url = arguments.source.db_url.clone().unwrap_or_default();
    let authority = arguments.db_ca.as_deref();
    Ok(Catalog::read(&url, authority, &options.schemas).await?)
}

/// Reads an embedded Supabase with the built-in migrations, started for this.
#[cfg(feature = "local")]
async fn read_local(options: &TypegenOptions) -> Result<Catalog, Error> {
    let server = crate::local::Server::start(&crate::local::LocalOptions {
        migrations: crate::bundled::MIGRATIONS,
        ..Default::default()
    })
    .await?;
    let rows = server.sql(Catalog::query(&options.schemas)).await;
    server.stop().await;
    Ok(Catalog::from_rows(&rows?)?)
}

fn report(file: &Path, drifts: &[Drift], printer: Printer) -> Result<Exit, Error> {
    let checked = Checked {
        file,
        drifted: !drifts.is_empty(),
        drifts,
    };
    printer.either(&checked, || {
        let shown = file.display();
        if drifts.is_empty() {
            return format!("{shown} matches the database");
        }
        let drifts = drifts.iter().map(|drift| format!("\n\n{drift}"));
        let drifts: String = drifts.collect();
        format!("{shown} does not match the database (- file, + database):{drifts}")
    })?;
    Ok(if drifts.is_empty() {
        Exit::Complete
    } else {
        Exit::Unexpected
    })
}

fn at(file: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = file.to_owned();
    move |source| Error::File { path, source }
}
