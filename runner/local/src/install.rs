//! Unpacking and installing, once per version of the carried files.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use etcetera::BaseStrategy;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::process::Command;

use super::LocalError;
use super::carried::{MIGRATIONS, SERVER};

/// Written last, so that an interrupted install is done again.
const MARKER: &str = ".installed";

/// A folder that holds the installed server, and the migrations beneath it.
#[derive(Debug)]
pub(super) struct Installed {
    pub(super) server: PathBuf,
    pub(super) migrations: PathBuf,
}

/// Makes sure that the server is installed; quick when it is.
pub(super) async fn ensure() -> Result<Installed, LocalError> {
    let root = cache_folder()?;
    let server = root.join(format!("server-{}", digest(SERVER)));
    let migrations = root.join(format!("migrations-{}", digest(MIGRATIONS)));
    fs::create_dir_all(&root).map_err(cache_error(&root))?;
    // Held until this function ends, so that processes that start together install once.
    let _lock = lock(&root.join("install.lock")).await?;
    if !migrations.join(MARKER).exists() {
        unpack(&migrations, MIGRATIONS)?;
        mark(&migrations)?;
    }
    if !is_whole(&server) {
        unmark(&server)?;
        unpack(&server, SERVER)?;
        npm_ci(&server).await?;
        mark(&server)?;
    }
    Ok(Installed {
        server: server.join("server.mjs"),
        migrations,
    })
}

/// Whether the server and the packages that it names are there. Caches get cleaned, and not always whole.
fn is_whole(server: &Path) -> bool {
    let packages = SERVER
        .iter()
        .filter(|(name, _)| *name == "package.json")
        .filter_map(|(_, contents)| serde_json::from_str::<Package>(contents).ok())
        .flat_map(|package| package.dependencies.into_keys())
        .map(|name| format!("node_modules/{name}/package.json"));
    let files = SERVER.iter().map(|(name, _)| (*name).to_owned());
    let marker = MARKER.to_owned();
    std::iter::once(marker)
        .chain(files)
        .chain(packages)
        .all(|file| server.join(file).exists())
}

/// What is read of the server's package.json.
#[derive(Deserialize)]
struct Package {
    dependencies: BTreeMap<String, String>,
}

fn cache_folder() -> Result<PathBuf, LocalError> {
    let strategy = etcetera::choose_base_strategy().map_err(|error| LocalError::Cache {
        path: PathBuf::from("the user's cache folder"),
        source: io::Error::other(error),
    })?;
    Ok(strategy.cache_dir().join("sluice"))
}

/// Names a set of files by what is in them.
fn digest(files: &[(&str, &str)]) -> String {
    let parts = files
        .iter()
        .flat_map(|(name, contents)| [*name, "\0", *contents, "\0"]);
    let digest = Sha256::digest(parts.collect::<String>());
    let hex = digest.iter().take(6).map(|byte| format!("{byte:02x}"));
    hex.collect()
}

async fn lock(path: &Path) -> Result<File, LocalError> {
    let file = File::create(path).map_err(cache_error(path))?;
    let path = path.to_owned();
    let locked = tokio::task::spawn_blocking(move || file.lock().map(|()| file)).await;
    locked
        .map_err(io::Error::other)
        .and_then(|result| result)
        .map_err(cache_error(&path))
}

fn unpack(folder: &Path, files: &[(&str, &str)]) -> Result<(), LocalError> {
    fs::create_dir_all(folder).map_err(cache_error(folder))?;
    for (name, contents) in files {
        let path = folder.join(name);
        fs::write(&path, contents).map_err(cache_error(&path))?;
    }
    Ok(())
}

async fn npm_ci(folder: &Path) -> Result<(), LocalError> {
    tracing::info!(folder = %folder.display(), "installing the embedded Supabase (once)");
    let output = Command::new("npm")
        .args([
            "ci",
            "--omit=dev",
            "--no-audit",
            "--no-fund",
            "--loglevel=error",
        ])
        .current_dir(folder)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|_| LocalError::NpmMissing)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(LocalError::Install {
        folder: folder.to_owned(),
        message: last_lines(&said, 8),
    })
}

fn mark(folder: &Path) -> Result<(), LocalError> {
    let path = folder.join(MARKER);
    File::create(&path).map(drop).map_err(cache_error(&path))
}

fn unmark(folder: &Path) -> Result<(), LocalError> {
    let path = folder.join(MARKER);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(cache_error(&path)(error)),
        _ => Ok(()),
    }
}

fn cache_error(path: &Path) -> impl FnOnce(io::Error) -> LocalError + use<> {
    let path = path.to_owned();
    move |source| LocalError::Cache { path, source }
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    lines
        .iter()
        .skip(lines.len().saturating_sub(count))
        .copied()
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_gets_a_folder_of_its_own() {
        assert_ne!(digest(&[("a", "1")]), digest(&[("a", "2")]));
        assert_ne!(digest(&[("ab", "")]), digest(&[("a", "b")]));
        assert_eq!(digest(&[("a", "1")]), digest(&[("a", "1")]));
    }

    #[test]
    fn a_server_that_lacks_a_package_is_not_whole() {
        let folder = tempfile::tempdir().unwrap();
        let server = folder.path();
        unpack(server, SERVER).unwrap();
        for package in [
            "@electric-sql/pglite",
            "@hono/node-server",
            "@supabase/lite",
            "postgres",
        ] {
            let package = server.join("node_modules").join(package);
            fs::create_dir_all(&package).unwrap();
            fs::write(package.join("package.json"), "{}").unwrap();
        }
        assert!(!is_whole(server), "the install was not finished");
        mark(server).unwrap();
        assert!(is_whole(server));
        fs::remove_dir_all(server.join("node_modules/postgres")).unwrap();
        assert!(!is_whole(server));
        unmark(server).unwrap();
        unmark(server).unwrap();
        assert!(!server.join(MARKER).exists());
    }

    #[test]
    fn the_end_of_a_long_message_is_kept() {
        assert_eq!(last_lines("a\n\nb\nc\n", 2), "b\nc");
    }
}
