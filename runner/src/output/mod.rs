//! What the program prints: results on stdout, progress and errors on stderr.
//!
//! No other module prints. stdout carries either tables or exactly one JSON object.

mod color;
mod human;
mod logging;
pub mod page;
mod progress;
mod table;
#[cfg(feature = "otel")]
mod traces;

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

pub use color::choose as choose_colors;
pub use human::checklist;
pub(crate) use human::dollars;
pub use logging::{Logging, init as init_logging};
pub use progress::{Progress, Sample, duration};
pub use table::{TextTable, one_line, room_beside, widest};

use self::color::{BAD, paint};
use crate::cli::GlobalArgs;
use crate::error::Error;
use crate::exit::Exit;
use crate::report::Outcome;

/// Prints results in the requested form.
#[derive(Debug, Clone, Copy)]
pub struct Printer {
    json: bool,
    bars: bool,
    quiet: bool,
}

impl Printer {
    /// A printer with these options. It draws bars only if stderr is a terminal.
    pub fn new(options: &GlobalArgs) -> Self {
        Self {
            json: options.wants_json(),
            bars: io::stderr().is_terminal() && !options.no_progress && !options.quiet,
            quiet: options.quiet,
        }
    }

    /// Whether stdout carries JSON.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Prints a report, as JSON or in a few lines.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub fn outcome(&self, outcome: &Outcome) -> Result<(), Error> {
        if self.is_json() {
            self.json(&outcome.report)
        } else {
            self.styled(&human::report(&outcome.report))
        }
    }

    /// Prints one JSON object.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub fn json<T: Serialize>(&self, value: &T) -> Result<(), Error> {
        let text = serde_json::to_string_pretty(value)
            .map_err(|error| Error::Unexpected(format!("failed to write the JSON: {error}")))?;
        self.text(&(text + "\n"))
    }

    /// Prints a value as JSON, or else its text.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub fn either<T: Serialize>(
        &self,
        value: &T,
        text: impl FnOnce() -> String,
    ) -> Result<(), Error> {
        if self.is_json() {
            self.json(value)
        } else {
            self.text(&(text() + "\n"))
        }
    }

    /// Prints a text, unless stdout carries JSON.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub fn say(&self, text: &str) -> Result<(), Error> {
        if self.is_json() {
            return Ok(());
        }
        self.text(&format!("{text}\n"))
    }

    /// Prints a text with colors, if stdout shows them.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub fn styled(&self, text: &str) -> Result<(), Error> {
        let mut stdout = anstream::stdout().lock();
        let written = stdout.write_all(text.as_bytes());
        written.and_then(|()| stdout.flush()).map_err(Error::Stdout)
    }

    /// Shows a text that replaces the one before it: on a terminal in its place, elsewhere below it.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub fn replace(&self, text: &str) -> Result<(), Error> {
        // Moves to the first column of the first line, and clears the screen below.
        const HOME: &str = "\u{1b}[H\u{1b}[J";
        let start = if io::stdout().is_terminal() { HOME } else { "" };
        self.text(&format!("{start}{text}\n"))
    }

    /// Prints one JSON object on one line.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub fn json_line<T: Serialize>(&self, value: &T) -> Result<(), Error> {
        let text = serde_json::to_string(value)
            .map_err(|error| Error::Unexpected(format!("failed to write the JSON: {error}")))?;
        self.text(&(text + "\n"))
    }

    /// Prints a text in either form, for commands whose result is a text, such as completions.
    ///
    /// # Errors
    /// [`Error::Stdout`] if stdout cannot be written, for example because the disk is full.
    pub fn text(&self, text: &str) -> Result<(), Error> {
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(text.as_bytes());
        written.and_then(|()| stdout.flush()).map_err(Error::Stdout)
    }

    /// Whether progress is shown.
    pub fn shows_progress(&self) -> bool {
        !self.quiet
    }

    /// The progress display of a flow. With `--quiet` it shows nothing.
    pub fn progress(&self, label: &'static str) -> Progress {
        Progress::new(label, self.bars, self.quiet)
    }
}

/// Prints an error on stderr, followed by its sources. A closed pipe (`sluice rank | head -1`) is no error
/// to speak of: its reader has all it wants.
pub fn error(error: &Error) {
    if error.exit() == Exit::ClosedPipe {
        return;
    }
    let error: &dyn std::error::Error = error;
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Many errors repeat their source in their own message.
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    let text = table::harmless(&text);
    let _closed = writeln!(anstream::stderr(), "{} {text}", paint(BAD, "error:"));
}
