//! `sluice gen types` against a real database: the committed types match the database, are formatted as
//! rustfmt formats them, compile, and read and write what the database holds.
//!
//! `runner/src/db/generated.rs` is our own schema, `odd/generated.rs` has one of everything that is hard.
//! `SLUICE_UPDATE=1` lets the tests update both.

#![expect(clippy::unwrap_used, reason = "a test that cannot run has failed")]

mod guide;
mod odd;
mod outside;
mod own;
mod wire;

use std::path::{Path, PathBuf};
use std::process::Command;

use sluice_runner::typegen::compare;

/// Holds a committed file against what the database gives now.
fn assert_current(file: &str, text: &str) {
    let path = path(file);
    assert_formatted(text);
    #[expect(
        clippy::disallowed_methods,
        reason = "an environment variable asks for the update"
    )]
    if std::env::var("SLUICE_UPDATE").is_ok() {
        std::fs::write(&path, text).unwrap();
    }
    let drifts = compare(&std::fs::read_to_string(&path).unwrap(), text);
    let shown: Vec<String> = drifts.iter().map(ToString::to_string).collect();
    assert!(
        drifts.is_empty(),
        "{file} is not what the database gives; SLUICE_UPDATE=1 updates it:\n{}",
        shown.join("\n")
    );
}

/// rustfmt with its defaults has nothing to change.
fn assert_formatted(text: &str) {
    // Away from this repository, whose own configuration rustfmt would find.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("types.rs");
    std::fs::write(&file, text).unwrap();
    let rustfmt = Command::new("rustfmt")
        .args(["--check", "--edition", "2024"])
        .arg(&file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&rustfmt.stdout);
    let warned = String::from_utf8_lossy(&rustfmt.stderr);
    assert!(rustfmt.status.success(), "{said}{warned}");
}

fn path(file: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    folder.join("tests/types").join(file)
}
