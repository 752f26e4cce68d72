//! The embedded Supabase: `@supabase/lite` over `PGlite`, carried inside the binary.
//!
//! The files of `supabase/local` and the migrations are unpacked into a cache folder, installed once
//! with `npm ci`, and started as a child that ends with this process, however this process ends.

mod carried;
mod install;
mod node;
mod server;

use std::path::PathBuf;

pub use carried::{MIGRATIONS, SAMPLE_POSTS};
pub use node::check as check_node;
pub use server::{Options, Server};

/// Why the embedded Supabase is not there. Every message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// Node is not on the PATH.
    #[error(
        "node is not installed: the embedded Supabase needs Node.js 20 or newer \
         (https://nodejs.org, or your system's package manager)"
    )]
    NodeMissing,
    /// Node is there, but too old.
    #[error("node {found} is too old: the embedded Supabase needs Node.js 20 or newer")]
    NodeTooOld {
        /// What `node --version` says.
        found: String,
    },
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
    Install {
        /// Where it was run.
        folder: PathBuf,
        /// The end of what npm said.
        message: String,
    },
    /// The cache folder cannot be written.
    #[error("failed to write {}: {source}", path.display())]
    Cache {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The port is in use.
    #[error(
        "port {port} is taken: stop what listens there, or choose another with --port (0 = a free one)"
    )]
    PortTaken {
        /// The port.
        port: u16,
    },
    /// The server ended or did not come up.
    #[error("failed to start the embedded Supabase: {message}")]
    Start {
        /// What it said.
        message: String,
    },
    /// A migration failed.
    #[error("failed to apply {file}: {message}")]
    Migration {
        /// The migration.
        file: String,
        /// What the database said.
        message: String,
    },
}
