//! Unpacking and installing, once per version of the carried files.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::{LocalError, child};
use etcetera::BaseStrategy;
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// This file is written last, so that an interrupted install starts over.
const MARKER: &str = ".installed";

/// A file's name and contents.
type NamedFile = (&'static str, &'static str);

/// A file of `supabase/local`.
macro_rules! carried {
    ($name:literal) => {
        (
            $name,
            include_str!(concat!("../../../supabase/local/", $name)),
        )
    };
}

/// The files of `supabase/local`.
const SERVER: &[NamedFile] = &[
    carried!("api.mjs"),
    carried!("database.mjs"),
    carried!("errors.mjs"),
    carried!("migrate.mjs"),
    carried!("package-lock.json"),
    carried!("package.json"),
    carried!("server.mjs"),
    carried!("settings.mjs"),
    carried!("template.mjs"),
];

/// Where the installed program is, and the folder of the migrations if there are any.
#[derive(Debug)]
pub(super) struct Installed {
    pub(super) server: PathBuf,
    pub(super) migrations: Option<PathBuf>,
}

/// Installs the server unless it is installed already.
pub(super) async fn ensure(migrations: &[(&str, &str)]) -> Result<Installed, LocalError> {
    let strategy = etcetera::choose_base_strategy().map_err(|error| {
        LocalError::cache(Path::new("the user's cache folder"))(io::Error::other(error))
    })?;
    let root = strategy.cache_dir().join("sluice");
    let server = root.join(format!("server-{}", digest(SERVER)));
    create_private(&root)?;
    // The lock is held until this function ends, so that processes that start together install once.
    let _lock = lock(&root.join("install.lock")).await?;
    if !is_whole(&server) {
        unmark(&server)?;
        unpack(&server, SERVER)?;
        npm_ci(&server).await?;
        mark(&server)?;
    }
    Ok(Installed {
        server: server.join("server.mjs"),
        migrations: unpack_migrations(&root, migrations)?,
    })
}

/// Creates a folder, and those above it, that only this user can read. An existing one stays as it is.
pub(super) fn create_private(folder: &Path) -> Result<(), LocalError> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .recursive(true)
        .create(folder)
        .map_err(LocalError::cache(folder))
}

fn unpack_migrations(root: &Path, files: &[(&str, &str)]) -> Result<Option<PathBuf>, LocalError> {
    if files.is_empty() {
        return Ok(None);
    }
    let folder = root.join(format!("migrations-{}", digest(files)));
    if !folder.join(MARKER).exists() {
        unpack(&folder, files)?;
        mark(&folder)?;
    }
    Ok(Some(folder))
}

/// Whether all files of the server and all packages that it names exist. Cache cleaners may delete some.
fn is_whole(server: &Path) -> bool {
    let manifest = SERVER.iter().find(|(name, _)| *name == "package.json");
    let packages = manifest
        .and_then(|(_, contents)| serde_json::from_str::<Package>(contents).ok())
        .into_iter()
        .flat_map(|package| package.dependencies.into_keys())
        .map(|name| format!("node_modules/{name}/package.json"));
    let files = SERVER.iter().map(|(name, _)| (*name).to_owned());
    let mut needed = files.chain(packages).chain([MARKER.to_owned()]);
    needed.all(|file| server.join(file).exists())
}

/// The part of the server's package.json that is read here.
#[derive(Deserialize)]
struct Package {
    dependencies: BTreeMap<String, String>,
}

/// A name for a set of files, made from their contents.
fn digest(files: &[(&str, &str)]) -> String {
    let parts = files
        .iter()
        .flat_map(|(name, contents)| [*name, "\0", *contents, "\0"]);
    let digest = Sha256::digest(parts.collect::<String>());
    let hex = digest.iter().take(6).map(|byte| format!("{byte:02x}"));
    hex.collect()
}

async fn lock(path: &Path) -> Result<File, LocalError> {
    let file = File::create(path).map_err(LocalError::cache(path))?;
    let locked = tokio::task::spawn_blocking(move || file.lock().map(|()| file)).await;
    locked
        .map_err(io::Error::other)
        .flatten()
        .map_err(LocalError::cache(path))
}

fn unpack(folder: &Path, files: &[(&str, &str)]) -> Result<(), LocalError> {
    fs::create_dir_all(folder).map_err(LocalError::cache(folder))?;
    for (name, contents) in files {
        let path = folder.join(name);
        fs::write(&path, contents).map_err(LocalError::cache(&path))?;
    }
    Ok(())
}

async fn npm_ci(folder: &Path) -> Result<(), LocalError> {
    tracing::info!(folder = %folder.display(), "installing the embedded Supabase (once)");
    // No package of the server needs its install scripts.
    let arguments = "ci --omit=dev --ignore-scripts --no-audit --no-fund --loglevel=error";
    let output = child::command("npm")
        .args(arguments.split(' '))
        .current_dir(folder)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|_| LocalError::NpmMissing)?;
    if output.status.success() {
        return Ok(());
    }
    Err(LocalError::Install {
        folder: folder.to_owned(),
        message: last_lines(&String::from_utf8_lossy(&output.stderr), 8),
    })
}

fn mark(folder: &Path) -> Result<(), LocalError> {
    let path = folder.join(MARKER);
    File::create(&path)
        .map(drop)
        .map_err(LocalError::cache(&path))
}

fn unmark(folder: &Path) -> Result<(), LocalError> {
    let path = folder.join(MARKER);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(LocalError::cache(&path)(error))
        }
        _ => Ok(()),
    }
}

fn last_lines(text: &str, count: usize) -> String {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let lines: Vec<&str> = lines.collect();
    let skipped = lines.len().saturating_sub(count);
    lines.get(skipped..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_file_gets_another_folder() {
        assert_ne!(digest(&[("a", "1")]), digest(&[("a", "2")]));
        assert_ne!(digest(&[("ab", "")]), digest(&[("a", "b")]));
        assert_eq!(digest(&[("a", "1")]), digest(&[("a", "1")]));
    }

    #[test]
    fn every_file_of_the_server_is_carried() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../supabase/local");
        let names = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names
            .filter(|name| {
                [".mjs", ".json"]
                    .iter()
                    .any(|end| name.to_string_lossy().ends_with(end))
            })
            .collect();
        names.sort();
        let carried: Vec<_> = SERVER.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, carried);
    }

    #[test]
    fn server_without_one_of_its_packages_is_not_whole() {
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

    #[cfg(unix)]
    #[test]
    fn new_folders_are_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let new = folder.path().join("a/b");
        create_private(&new).unwrap();
        create_private(&new).unwrap();
        for folder in [new.parent().unwrap(), &new] {
            let mode = fs::metadata(folder).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700, "{}", folder.display());
        }
    }

    #[test]
    fn end_of_a_long_message_is_kept() {
        assert_eq!(last_lines("a\n\nb\nc\n", 2), "b\nc");
    }
}
