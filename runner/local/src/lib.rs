//! A Supabase on this machine: `@supabase/lite` over `PGlite`, carried inside the binary.
//!
//! The files of `supabase/local` are unpacked into a cache folder and installed once with `npm ci`.
//! The server runs as a child process, which ends when this process ends, even if this one is killed.

mod child;
mod install;
mod node;
mod server;

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

pub use node::check as check_node;
pub use server::{LocalOptions, Server};

/// Why the embedded Supabase does not run. Every message says what to do.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each message describes its fields")]
pub enum LocalError {
    /// Node is not on the PATH.
    #[error(
        "node is not installed: the embedded Supabase needs Node.js 20 or newer, best 22 \
         (https://nodejs.org, or your system's package manager)"
    )]
    NodeMissing,
    /// Node is installed, but too old.
    #[error("node {found} is too old: the embedded Supabase needs Node.js 20 or newer")]
    NodeTooOld { found: String },
    /// npm is not on the PATH.
    #[error("npm is not installed: it comes with Node.js (on Debian as the package `npm`)")]
    NpmMissing,
    /// `npm ci` failed.
    #[error(
        "failed to install the embedded Supabase with npm in {}: {message}\n\
         is registry.npmjs.org (or the registry of your .npmrc) reachable? \
         running the same command again starts over",
        folder.display()
    )]
    Install { folder: PathBuf, message: String },
    /// The cache folder cannot be written.
    #[error("failed to write {}: {source}", path.display())]
    Cache { path: PathBuf, source: io::Error },
    /// The port is in use.
    #[error(
        "port {port} is taken: stop the program that listens there, or choose another port with \
         --port (0 takes a free one)"
    )]
    PortTaken { port: u16 },
    /// The server ended or did not come up.
    #[error("failed to start the embedded Supabase: {message}")]
    Start { message: String },
    /// A migration failed.
    #[error("failed to apply {file}: {message}")]
    Migration { file: String, message: String },
    /// The server refused SQL statements, or could not be asked.
    #[error("failed to run SQL on the embedded Supabase: {message}")]
    Sql { message: String },
}

impl LocalError {
    fn start(message: impl Display) -> Self {
        let message = message.to_string();
        Self::Start { message }
    }

    fn sql(message: impl Display) -> Self {
        let message = message.to_string();
        Self::Sql { message }
    }

    fn cache(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Cache { path, source }
    }
}
