//! Lists the migrations that the binary carries, so that a new file in `supabase/migrations` is
//! included without an edit here.

#![expect(
    clippy::disallowed_methods,
    reason = "cargo names the folders in the environment"
)]

use std::ffi::OsStr;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let folder = |name| env::var(name).map(PathBuf::from).map_err(io::Error::other);
    let migrations = folder("CARGO_MANIFEST_DIR")?.join("../supabase/migrations");
    println!("cargo::rerun-if-changed={}", migrations.display());
    fs::write(folder("OUT_DIR")?.join("migrations.rs"), list(&migrations)?)
}

/// An array of (file name, SQL), in the order of the names.
fn list(folder: &Path) -> io::Result<String> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        files.push(entry?.path().canonicalize()?);
    }
    files.sort();
    let mut code = "&[\n".to_owned();
    for path in files
        .iter()
        .filter(|path| path.extension() == Some(OsStr::new("sql")))
    {
        if let (Some(name), Some(path)) = (path.file_name().and_then(OsStr::to_str), path.to_str())
        {
            let _ = writeln!(code, "    ({name:?}, include_str!({path:?})),");
        }
    }
    code.push(']');
    Ok(code)
}
