//! The map of the program: arguments, log, configuration, command, exit code.

use std::process::ExitCode;

use clap::Parser;
use sluice_runner::cli::Cli;
use sluice_runner::command;
use sluice_runner::output::{self, Printer};

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    output::init_logging(&cli.global);
    let printer = Printer::new(&cli.global);
    let exit = match command::run(cli, &printer).await {
        Ok(exit) => exit,
        Err(error) => {
            printer.error(&error);
            error.exit()
        }
    };
    exit.into()
}
