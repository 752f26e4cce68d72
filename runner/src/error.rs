//! The error of every command, and its exit code.

use std::io::ErrorKind;
use std::path::PathBuf;

use crate::config::ConfigError;
use crate::db::DatabaseError;
use crate::exit::Exit;
#[cfg(feature = "local")]
use crate::local::LocalError;
#[cfg(feature = "postgres")]
use crate::postgres::PostgresError;
use crate::provider;
#[cfg(feature = "typegen")]
use crate::typegen::TypegenError;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is wrong or incomplete.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The arguments contradict each other or the database.
    #[error("{0}")]
    Usage(String),
    /// A request to the database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A request to the provider failed.
    #[error("{0}")]
    Provider(#[from] provider::Error),
    /// The provider was waited for as long as it may be.
    #[error("{0}")]
    GaveUp(String),
    /// The embedded Supabase does not run.
    #[cfg(feature = "local")]
    #[error(transparent)]
    Local(#[from] LocalError),
    /// Types could not be made from a database.
    #[cfg(feature = "typegen")]
    #[error(transparent)]
    Typegen(#[from] TypegenError),
    /// A connection to Postgres failed, or a statement was refused.
    #[cfg(feature = "postgres")]
    #[error("{0}")]
    Postgres(#[from] PostgresError),
    /// A migration was refused.
    #[error("{0}")]
    Migration(String),
    /// A file could not be read or written.
    #[error("failed to open {}: {source}", path.display())]
    #[allow(missing_docs, reason = "the message describes the fields")]
    File {
        path: PathBuf,
        source: std::io::Error,
    },
    /// stdout cannot be written.
    #[error("failed to write to stdout: {0}")]
    Stdout(std::io::Error),
    /// Anything that should not happen.
    #[error("{0}")]
    Unexpected(String),
}

impl Error {
    /// The exit code of this error.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::Usage(_) | Self::File { .. } => Exit::Usage,
            #[cfg(feature = "typegen")]
            Self::Typegen(TypegenError::Database(_)) => Exit::Database,
            #[cfg(feature = "typegen")]
            Self::Typegen(_) => Exit::Usage,
            #[cfg(feature = "postgres")]
            Self::Postgres(PostgresError::Settings(_)) => Exit::Usage,
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => Exit::Database,
            Self::Database(error) if error.is_refused() => Exit::Usage,
            Self::Database(error) if error.is_to_come_back() => Exit::MoreRemains,
            Self::Database(_) | Self::Migration(_) => Exit::Database,
            Self::GaveUp(_) => Exit::MoreRemains,
            Self::Provider(error) if matches!(error.kind(), provider::ErrorKind::Refused(_)) => {
                Exit::ProviderRefuses
            }
            #[cfg(feature = "local")]
            Self::Local(LocalError::PortTaken { .. }) => Exit::Usage,
            #[cfg(feature = "local")]
            Self::Local(_) => Exit::Unexpected,
            Self::Stdout(error) if error.kind() == ErrorKind::BrokenPipe => Exit::ClosedPipe,
            Self::Stdout(_) | Self::Provider(_) | Self::Unexpected(_) => Exit::Unexpected,
        }
    }
}
