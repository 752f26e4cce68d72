//! `sluice completions` and `sluice man`

use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;
use clap_complete::env::Shells;

use crate::cli::Cli;
use crate::error::Error;
use crate::exit::Exit;
use crate::output::Printer;

/// The variable by which a script asks the program for candidates. clap reads it.
const VARIABLE: &str = "COMPLETE";

/// Prints the script that makes a shell ask the program for completions.
pub(super) fn completions(shell: Shell, printer: Printer) -> Result<Exit, Error> {
    let failed =
        |why: &dyn std::fmt::Display| Error::Unexpected(format!("no script for {shell}: {why}"));
    let shells = Shells::builtins();
    let shell_name = shell.to_string();
    let completer = shells
        .completer(&shell_name)
        .ok_or_else(|| failed(&"unknown"))?;
    let mut script = Vec::new();
    let name = "sluice";
    completer
        .write_registration(VARIABLE, name, name, name, &mut script)
        .map_err(|error| failed(&error))?;
    printer.text(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Complete)
}

/// Writes a page for the program and one for each command into a folder.
pub(super) fn pages(folder: &Path, printer: Printer) -> Result<Exit, Error> {
    let failed = |source| Error::File {
        path: folder.to_owned(),
        source,
    };
    std::fs::create_dir_all(folder).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), folder).map_err(failed)?;
    printer.say(&format!("the manual pages are in {}", folder.display()))?;
    Ok(Exit::Complete)
}
