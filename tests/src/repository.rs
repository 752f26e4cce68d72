//! The files of this repository, for the tests that read them.

use std::path::{Path, PathBuf};

/// The folder of the workspace.
pub fn root() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    folder.unwrap().to_owned()
}

/// Whether tests also take pictures of what they write, with headless Chromium.
pub fn screenshots_wanted() -> bool {
    std::env::var_os("SLUICE_TEST_SCREENSHOTS").is_some()
}

/// Every file below a folder, in the order of their paths. Built and installed files are left out.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy();
            if !path.is_dir() {
                found.push(path);
            } else if !name.starts_with('.') && name != "target" && name != "node_modules" {
                folders.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Asserts that the block `name` of a page is what the test binary `suite` has made of `source`. With
/// `SLUICE_UPDATE=1` it writes the block instead.
pub fn assert_generated(page: &str, name: &str, made: &str, source: &str, suite: &str) {
    let (begin, end) = (
        format!("<!-- {name}:begin -->\n"),
        format!("<!-- {name}:end -->"),
    );
    let path = root().join(page);
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(&begin).unwrap();
    let (written, after) = rest.split_once(&end).unwrap();
    if std::env::var("SLUICE_UPDATE").is_ok() {
        std::fs::write(&path, format!("{before}{begin}{made}{end}{after}")).unwrap();
        return;
    }
    assert!(
        written == made,
        "{page} differs from {source}; update it with `SLUICE_UPDATE=1 cargo test -p sluice-tests --test {suite}`"
    );
}

/// Asserts that a file is what the test binary `suite` has made. With `SLUICE_UPDATE=1` it writes the file instead.
pub fn assert_generated_file(file: &str, made: &str, suite: &str) {
    let path = root().join(file);
    if std::env::var("SLUICE_UPDATE").is_ok() {
        std::fs::write(&path, made).unwrap();
        return;
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == made,
        "{file} differs; update it with `SLUICE_UPDATE=1 cargo test -p sluice-tests --test {suite}`"
    );
}
