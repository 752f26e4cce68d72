//! The log, on stderr, and the spans of a run.

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
#[cfg(not(feature = "otel"))]
use tracing_subscriber::layer::Identity;
use tracing_subscriber::prelude::*;

use super::color::on_stderr;
use crate::cli::{GlobalArgs, LogFormat};
use crate::config::log_filter;

/// Starts the log with these options. `main` calls it once, inside its runtime.
pub fn init(options: &GlobalArgs) -> Logging {
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
    let log = fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(on_stderr());
    #[cfg(feature = "otel")]
    let (traces, layer) = super::traces::init();
    #[cfg(not(feature = "otel"))]
    let layer = Identity::new();
    let registry = tracing_subscriber::registry().with(layer);
    // In tests another log may be running already; then that one is used.
    let _started = match options.log_format {
        LogFormat::Text => registry.with(log.compact().with_filter(filter)).try_init(),
        LogFormat::Json => registry
            .with(log.json().flatten_event(true).with_filter(filter))
            .try_init(),
    };
    if let Some(error) = invalid {
        tracing::warn!(
            "SLUICE_LOG is left out: {error}; write it as `debug` or `sluice=debug,hyper=info`"
        );
    }
    Logging {
        #[cfg(feature = "otel")]
        traces: traces.unwrap_or_else(|error| {
            tracing::warn!("no traces are sent: {error}; check the variables OTEL_EXPORTER_OTLP_*");
            None
        }),
    }
}

/// The running log.
#[derive(Debug)]
pub struct Logging {
    #[cfg(feature = "otel")]
    traces: Option<super::traces::Traces>,
}

impl Logging {
    /// Sends the spans that have not been sent yet, for a moment at most.
    pub async fn finish(self) {
        #[cfg(feature = "otel")]
        if let Some(traces) = self.traces {
            traces.finish().await;
        }
    }
}
