//! Configuration in passes: the raw file and environment, then checked settings.
//!
//! Precedence: flag, environment, file, default. Flags are applied by `command`; this module is the
//! only one that reads the environment and configuration files.

mod environment;
mod raw;
mod settings;

use std::path::{Path, PathBuf};

use crate::scoring::RubricError;
pub use environment::Environment;
pub use raw::{Overlong, Raw};

pub use settings::{
    AppHook, DatabaseSettings, EmbeddingSettings, LeaseSettings, LimitSettings, OpenAiSettings,
    Settings,
};

/// Why a configuration cannot be used. Every message names the key and the way out.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file could not be read.
    #[error("failed to read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file is not TOML, or holds keys that do not exist.
    #[error("failed to read {}: {message}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and why.
        message: String,
    },
    /// A value is out of bounds or makes no sense.
    #[error("{key}: {message}")]
    Invalid {
        /// The key of the file, or the variable.
        key: String,
        /// What is wrong and what would be right.
        message: String,
    },
    /// The rubric makes no sense; every problem is named.
    #[error(transparent)]
    Rubric(#[from] RubricError),
    /// Something that the command needs is not configured.
    #[error("{what} is not set: {way_out}")]
    Missing {
        /// What is missing.
        what: &'static str,
        /// How to set it.
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

/// Reads the configuration file (`path`, else `SLUICE_CONFIG`, else `./sluice.toml` where it exists)
/// and the environment, and checks them together.
///
/// # Errors
/// A named file that cannot be read, a malformed file, or a value that is out of bounds.
pub fn load(path: Option<&Path>, environment: &Environment) -> Result<Settings, ConfigError> {
    let named = path
        .map(Path::to_owned)
        .or_else(|| environment.get("SLUICE_CONFIG").map(PathBuf::from));
    let here = || Some(PathBuf::from("sluice.toml")).filter(|path| path.exists());
    let raw = named
        .or_else(here)
        .map(|path| Raw::read(&path))
        .transpose()?
        .unwrap_or_default();
    Settings::check(raw, environment)
}
