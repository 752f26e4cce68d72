//! The log, on stderr.

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

use super::color::on_stderr;
use crate::cli::{GlobalArgs, LogFormat};
use crate::config::log_filter;

/// Starts the log with these options. `main` calls it once.
pub fn init(options: &GlobalArgs) {
    let ours = match (options.quiet, options.verbose) {
        (true, _) => LevelFilter::ERROR,
        (false, 0) => LevelFilter::WARN,
        (false, 1) => LevelFilter::INFO,
        (false, 2) => LevelFilter::DEBUG,
        (false, _) => LevelFilter::TRACE,
    };
    // The names of all our crates begin with `sluice`. Other crates log at most warnings.
    let by_options = Targets::new()
        .with_default(ours.min(LevelFilter::WARN))
        .with_target("sluice", ours);
    let wanted = log_filter();
    let by_variable = wanted.as_deref().map(str::parse::<Targets>);
    let (filter, invalid) = match by_variable {
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (by_options, Some(error)),
        None => (by_options, None),
    };
    let registry = tracing_subscriber::registry().with(filter);
    let log = fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(on_stderr());
    // In tests another log may be running already; then that one is used.
    let _started = match options.log_format {
        LogFormat::Text => registry.with(log.compact()).try_init(),
        LogFormat::Json => registry.with(log.json().flatten_event(true)).try_init(),
    };
    if let Some(error) = invalid {
        tracing::warn!(
            "SLUICE_LOG is left out: {error}; write it as `debug` or `sluice=debug,hyper=info`"
        );
    }
}
