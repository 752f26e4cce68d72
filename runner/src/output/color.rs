//! Colors: only on a terminal, unless `--color` or `NO_COLOR` says otherwise.
//!
//! Texts are written with escapes, and the stream of `anstream` removes those that its reader does not want. clap uses
//! the same streams for the help.

use std::ffi::OsString;
use std::io;

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use clap::ValueEnum;

pub(super) const GOOD: Style = AnsiColor::Green.on_default();
pub(super) const WARNING: Style = AnsiColor::Yellow.on_default();
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();

/// Keeps to the `--color` of these arguments. They are not parsed yet, because the help and the errors of parsing have
/// colors, too.
pub fn choose(mut arguments: impl Iterator<Item = OsString>) {
    while let Some(argument) = arguments.next().filter(|argument| argument != "--") {
        let value = match argument.to_str() {
            Some("--color") => arguments.next().and_then(|value| value.into_string().ok()),
            Some(argument) => argument.strip_prefix("--color=").map(str::to_owned),
            None => None,
        };
        let Some(Ok(choice)) = value.map(|value| clap::ColorChoice::from_str(&value, false)) else {
            continue;
        };
        match choice {
            clap::ColorChoice::Auto => ColorChoice::Auto,
            clap::ColorChoice::Always => ColorChoice::Always,
            clap::ColorChoice::Never => ColorChoice::Never,
        }
        .write_global();
    }
}

/// Whether stderr gets colors.
pub(super) fn on_stderr() -> bool {
    AutoStream::choice(&io::stderr()) != ColorChoice::Never
}

/// A text in a style.
pub(super) fn paint(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}
