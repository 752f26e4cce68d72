//! Lists the files of `supabase/` that the binary carries, so that a migration added there is
//! carried without anyone naming it twice.

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
    let supabase = folder("CARGO_MANIFEST_DIR")?.join("../../supabase");
    let migrations = list("MIGRATIONS", &supabase.join("migrations"), &["sql"])?;
    let server = list("SERVER", &supabase.join("local"), &["json", "mjs"])?;
    fs::write(folder("OUT_DIR")?.join("carried.rs"), migrations + &server)
}

/// A constant of (name, contents) pairs for the files of a folder, in the order of their names.
fn list(constant: &str, folder: &Path, endings: &[&str]) -> io::Result<String> {
    println!("cargo::rerun-if-changed={}", folder.display());
    let is_carried = |path: &PathBuf| {
        path.extension()
            .and_then(OsStr::to_str)
            .is_some_and(|ending| endings.contains(&ending))
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        files.push(entry?.path().canonicalize()?);
    }
    files.retain(is_carried);
    files.sort();
    let mut code = format!("pub(crate) const {constant}: &[(&str, &str)] = &[\n");
    for path in &files {
        if let (Some(name), Some(path)) = (path.file_name().and_then(OsStr::to_str), path.to_str())
        {
            let _ = writeln!(code, "    ({name:?}, include_str!({path:?})),");
        }
    }
    code.push_str("];\n");
    Ok(code)
}
