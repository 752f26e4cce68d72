//! The one error of the program's commands, and the exit code that each stands for.

use std::path::PathBuf;

use crate::config::ConfigError;
use crate::db::DatabaseError;
use crate::exit::Exit;
use crate::local::LocalError;
use crate::provider::{self, ErrorKind};

/// Why a command could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is wrong or incomplete.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The arguments make no sense together, or with what is in the database.
    #[error("{0}")]
    Usage(String),
    /// The database did not do what was asked.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The provider did not do what was asked.
    #[error("{0}")]
    Provider(#[from] provider::Error),
    /// The embedded Supabase is not there.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// A file could not be read or written.
    #[error("failed to open {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Something that should not happen.
    #[error("{0}")]
    Unexpected(String),
}

impl Error {
    /// The exit code that this error stands for.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::Usage(_) | Self::File { .. } => Exit::Usage,
            Self::Database(error) if error.is_refused() => Exit::Usage,
            Self::Database(_) => Exit::Database,
            Self::Provider(error) if matches!(error.kind(), ErrorKind::Refused(_)) => {
                Exit::ProviderRefuses
            }
            Self::Provider(_) | Self::Local(_) | Self::Unexpected(_) => Exit::Unexpected,
        }
    }
}
