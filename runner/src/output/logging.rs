//! The log, on stderr.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::cli::{GlobalArgs, LogFormat};

/// Starts the log as the options ask for. Called once, by `main`.
pub fn init(options: &GlobalArgs) {
    let ours = match (options.quiet, options.verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "info",
        (false, 2) => "debug",
        (false, _) => "trace",
    };
    let filter = EnvFilter::new(format!(
        "warn,sluice_runner={ours},sluice_sdk={ours},sluice={ours}"
    ));
    let builder = fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false);
    // A second start (in tests) finds a log already there, which serves as well.
    let _started = match options.log_format {
        LogFormat::Text => builder.compact().try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}
