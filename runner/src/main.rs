//! The program: arguments, log, command, exit code.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use clap_complete::CompleteEnv;
use sluice_runner::Error;
use sluice_runner::cli::Cli;
use sluice_runner::command;
use sluice_runner::exit::Exit;
use sluice_runner::output::{self, Printer};
use tokio::runtime::Builder;

fn main() -> ExitCode {
    // A completion script calls the program with COMPLETE set. Then this prints the candidates and exits.
    CompleteEnv::with_factory(Cli::command).complete();
    output::choose_colors(std::env::args_os());
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return explain(&error),
    };
    let printer = Printer::new(&cli.global);
    let exit = match run(cli, printer) {
        Ok(exit) => exit,
        Err(error) => {
            output::error(&error);
            error.exit()
        }
    };
    exit.into()
}

/// Prints the help that was asked for, or what is wrong with the arguments.
fn explain(error: &clap::Error) -> ExitCode {
    let printed = error.print().and_then(|()| io::stdout().flush());
    match printed.map_err(Error::Stdout) {
        Err(error) => {
            output::error(&error);
            error.exit().into()
        }
        Ok(()) if error.use_stderr() => Exit::Usage.into(),
        Ok(()) => Exit::Complete.into(),
    }
}

fn run(cli: Cli, printer: Printer) -> Result<Exit, Error> {
    let failed = |error| Error::Unexpected(format!("failed to start the runtime: {error}"));
    // One thread is faster than any database here, and needs less memory than several.
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let result = runtime.block_on(async {
        let log = output::init_logging(&cli.global);
        let result = command::run(cli, &printer).await;
        log.finish().await;
        result
    });
    // A read of stdin cannot be cancelled. Waiting for it would block an interrupted `sluice store -`.
    runtime.shutdown_background();
    result
}
