//! The options of every command.

use std::path::PathBuf;

use clap::{Args, ColorChoice, ValueEnum};

/// The options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "these flags of the command line are independent"
)]
pub struct GlobalArgs {
    /// Configuration file (otherwise `SLUICE_CONFIG`, then the nearest sluice.toml up to the root of the repository)
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The form of stdout: tables, or one JSON object
    #[arg(long, global = true, value_enum, default_value_t = OutputFormat::Human)]
    pub output: OutputFormat,
    /// The same as --output json
    #[arg(long, global = true, conflicts_with = "output")]
    pub json: bool,
    /// Colors: by default on a terminal, unless `NO_COLOR` is set
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t = ColorChoice::Auto)]
    pub color: ColorChoice,
    /// The form of the log on stderr
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// Log more: -v shows decisions, -vv every request
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Print only errors on stderr
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Never draw progress bars
    #[arg(long, global = true)]
    pub no_progress: bool,
    /// Send keys over plain http:// to hosts outside this machine and private networks
    #[arg(long, global = true)]
    pub allow_http: bool,
}

/// The form of stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// Tables and sentences
    Human,
    /// One JSON object, and nothing else
    Json,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Plain text
    Text,
    /// One JSON object a line
    Json,
}

impl GlobalArgs {
    /// Whether stdout carries JSON.
    pub fn wants_json(&self) -> bool {
        self.json || self.output == OutputFormat::Json
    }
}
