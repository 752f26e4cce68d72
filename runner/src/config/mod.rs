//! Configuration: the file and the environment, and the settings that are checked from both.
//!
//! A flag overrides the environment, which overrides the file, which overrides the defaults. `command`
//! applies the flags. No other module reads the environment or configuration files.

mod address;
mod bound;
mod environment;
mod model;
mod raw;
mod section;
mod settings;
mod workflow;

use std::path::{Path, PathBuf};

use crate::scoring::RubricError;
#[cfg(feature = "otel")]
pub use environment::exports_traces;
pub use environment::{Environment, log_filter};
use environment::{Source, nearest};
pub use raw::RawConfig;

pub use section::{
    BatchSettings, BudgetSettings, EmbeddingSettings, LimitSettings, OversizedPolicy,
};
pub use settings::{AppHook, DatabaseSettings, LeaseSettings, OpenAiSettings, Settings};
pub use workflow::{Step, Workflow};

/// Why a configuration cannot be used. Every message names the key and says what to do.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each message describes its fields")]
pub enum ConfigError {
    /// A file could not be read.
    #[error("failed to read {}: {source}", path.display())]
    Unreadable {
        path: PathBuf,
        source: std::io::Error,
    },
    /// A file is not TOML, or has an unknown key.
    #[error("failed to read {}: {message}", path.display())]
    Malformed { path: PathBuf, message: String },
    /// The value of a key or an environment variable is invalid.
    #[error("{key}: {message}")]
    Invalid { key: String, message: String },
    /// The rubric is invalid. The message lists every problem.
    #[error(transparent)]
    Rubric(#[from] RubricError),
    /// A setting that the command needs is missing.
    #[error("{what} is not set: {way_out}")]
    Missing {
        what: &'static str,
        way_out: &'static str,
    },
}

impl ConfigError {
    pub(crate) fn invalid(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid {
            key: key.into(),
            message: message.into(),
        }
    }
}

/// Reads and checks the configuration file and the environment.
///
/// The file is `path`, or else `SLUICE_CONFIG`, or else the nearest `sluice.toml`.
///
/// # Errors
/// If the file cannot be read or parsed, or a value is invalid.
pub fn load(path: Option<&Path>, environment: &Environment) -> Result<Settings, ConfigError> {
    let in_environment = || {
        let (path, source) = environment.find("SLUICE_CONFIG")?;
        Some((PathBuf::from(path), source))
    };
    let named = path.map(|path| (path.to_owned(), Source::User));
    let named = named.or_else(in_environment);
    let found = || Some((nearest("sluice.toml")?, Source::Folder));
    let raw = match named.or_else(found) {
        Some((path, source)) => {
            tracing::info!("the configuration is {}", path.display());
            RawConfig {
                source,
                ..RawConfig::read(&path)?
            }
        }
        None => RawConfig::default(),
    };
    let settings = Settings::check(raw, environment)?;
    for notice in &settings.notices {
        tracing::warn!("{notice}");
    }
    Ok(settings)
}
