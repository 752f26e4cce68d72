//! `sluice gen types`: types from the database, or whether a file of them still fits it.

use std::fmt::Write;
use std::path::Path;

use serde::Serialize;

use crate::cli::GenTypes;
use crate::error::Error;
use crate::exit::Exit;
use crate::output::Printer;
use crate::typegen::source::Source;
use crate::typegen::{Drift, Options, TypegenError, compare, generate};

/// What a program reads after `--file`.
#[derive(Serialize)]
struct Generated<'a> {
    file: &'a Path,
    bytes: usize,
}

/// What a program reads where no file is named.
#[derive(Serialize)]
struct Printed<'a> {
    types: &'a str,
}

/// What a program reads after `--check`.
#[derive(Serialize)]
struct Checked<'a> {
    file: &'a Path,
    drifted: bool,
    drifts: &'a [Drift],
}

pub(super) async fn run(arguments: &GenTypes, printer: Printer) -> Result<Exit, Error> {
    // A file that cannot be read is said before a database is started for it.
    let checked = match &arguments.check {
        Some(file) => Some((file, std::fs::read_to_string(file).map_err(at(file))?)),
        None => None,
    };
    let text = match written(arguments).await {
        Ok(text) => text,
        Err(error) => return refused(error, printer),
    };
    if let Some((file, stored)) = checked {
        return Ok(report(file, &compare(&stored, &text), printer));
    }
    match &arguments.file {
        Some(file) => {
            std::fs::write(file, &text).map_err(at(file))?;
            let bytes = text.len();
            printer.either(&Generated { file, bytes }, || {
                format!("the types are in {}", file.display())
            });
        }
        None if printer.is_json() => printer.json(&Printed { types: &text }),
        None => printer.text(&text),
    }
    Ok(Exit::Complete)
}

async fn written(arguments: &GenTypes) -> Result<String, TypegenError> {
    let options = Options {
        schemas: arguments.schemas.clone(),
        exclude: arguments.exclude.iter().cloned().collect(),
        nullable: arguments.nullable.iter().cloned().collect(),
        not_null: arguments.not_null.iter().cloned().collect(),
    };
    let source = match &arguments.source.db_url {
        Some(url) => Source::Database {
            url: url.clone(),
            authority: arguments.db_ca.clone(),
        },
        None => Source::Local,
    };
    generate(&source.read(&options).await?, &options)
}

fn report(file: &Path, drifts: &[Drift], printer: Printer) -> Exit {
    let drifted = !drifts.is_empty();
    let checked = Checked {
        file,
        drifted,
        drifts,
    };
    printer.either(&checked, || {
        let shown = file.display();
        if !drifted {
            return format!("{shown} is what the database gives");
        }
        let mut text = format!("{shown} is not what the database gives (- file, + database):");
        for drift in drifts {
            let _ = write!(text, "\n\n{drift}");
        }
        text
    });
    if drifted {
        Exit::Unexpected
    } else {
        Exit::Complete
    }
}

fn refused(error: TypegenError, printer: Printer) -> Result<Exit, Error> {
    match error {
        TypegenError::Local(error) => Err(error.into()),
        TypegenError::Database(_) => {
            printer.error(&error);
            Ok(Exit::Database)
        }
        TypegenError::Settings(_)
        | TypegenError::UnknownSchema(_)
        | TypegenError::UnknownName(_) => Err(Error::Usage(error.to_string())),
    }
}

fn at(file: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = file.to_owned();
    move |source| Error::File { path, source }
}
