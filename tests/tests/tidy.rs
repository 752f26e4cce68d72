//! Invariants of the architecture that can be checked in the source text: which module may import
//! which, and what only one module may do. docs/ARCHITECTURE.md says why.

#![expect(clippy::unwrap_used, reason = "a test that cannot run has failed")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use sluice_tests::{files, root};

/// The modules of the program, from the top. Each imports only from the rows below its own.
/// Cargo checks the order of the crates, which the program re-exports.
const RUNNER: &[&[&str]] = &[
    &["command"],
    &["output", "worker"],
    &["cli"],
    &["job"],
    &["flow"],
    &["error"],
    &["db"],
    &["config", "report"],
    &["bundled", "exit", "memory", "scoring", "traffic"],
    &["text"],
    &[
        "engine",
        "local",
        "postgres",
        "provider",
        "simulator",
        "typegen",
    ],
];

/// The folders of the SDK, from the top. Each imports only from those below it.
const SDK: &[&[&str]] = &[
    &["testing"],
    &["client"],
    &["query"],
    &["request"],
    &["grammar"],
    &["schema"],
    &["error"],
    &["quote"],
];

/// The files of the store flow that do no I/O.
const PURE: &[&str] = &[
    "flow/store/line.rs",
    "flow/store/slug.rs",
    "flow/store/posted.rs",
    "flow/store/batch.rs",
    "flow/embed/pack.rs",
    "flow/embed/oversized.rs",
    "flow/embed/packer.rs",
    "report.rs",
    "traffic.rs",
];

/// Every Rust file below a folder, with its path from there.
fn sources(folder: &Path) -> Vec<(String, String)> {
    let is_rust = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "rs");
    let read = |path: PathBuf| {
        let name = path.strip_prefix(folder).unwrap().to_string_lossy();
        (name.into_owned(), std::fs::read_to_string(&path).unwrap())
    };
    files(folder)
        .into_iter()
        .filter(is_rust)
        .map(read)
        .collect()
}

/// The code of a file: no comments, and nothing of its tests.
fn code(source: &str) -> String {
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    code.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The modules of its own crate that code names.
fn imports(code: &str) -> BTreeSet<String> {
    let ends = |c: char| !(c.is_alphanumeric() || c == '_');
    code.split("crate::")
        .skip(1)
        .map(|rest| rest.split(ends).next().unwrap_or_default().to_owned())
        .filter(|module| module.chars().next().is_some_and(char::is_lowercase))
        .collect()
}

/// Checks that every module of a crate is in a row, and imports only from the rows below.
fn assert_layered(folder: &str, rows: &[&[&str]]) {
    let row = |module: &str| rows.iter().position(|row| row.contains(&module));
    let mut wrong = Vec::new();
    for (file, source) in sources(&root().join(folder)) {
        let module = file.split(['/', '.']).next().unwrap();
        if matches!(module, "lib" | "main") || file.contains("tests") {
            continue;
        }
        let own = row(module);
        assert!(own.is_some(), "{folder}/{file} is in no row");
        for import in imports(&code(&source)) {
            if import != module && row(&import) <= own {
                wrong.push(format!("{folder}/{file} imports {import}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn modules_of_the_runner_import_only_from_rows_below() {
    assert_layered("runner/src", RUNNER);
}

#[test]
fn folders_of_the_sdk_import_only_from_those_below() {
    assert_layered("sdk/src", SDK);
}

#[test]
fn pure_files_do_no_io_and_read_no_clock() {
    let runner = root().join("runner/src");
    for (file, source) in sources(&runner) {
        let is_pure = PURE.contains(&file.as_str()) || file.starts_with("scoring/");
        if !is_pure {
            continue;
        }
        for effect in [
            "Timestamp::now",
            "Instant::now",
            "std::fs",
            "std::env",
            "tokio::",
            "reqwest::",
        ] {
            assert!(!code(&source).contains(effect), "{file} uses {effect}");
        }
    }
}

#[test]
fn only_the_configuration_reads_the_environment() {
    for (file, source) in sources(&root().join("runner/src")) {
        let reads = ["env::var(", "env::vars", "env::var_os"]
            .iter()
            .any(|call| code(&source).contains(call));
        assert!(
            !reads || file.starts_with("config/"),
            "{file} reads the environment"
        );
    }
}

#[test]
fn only_quote_encodes_for_urls() {
    for (file, source) in sources(&root().join("sdk/src")) {
        let encodes = code(&source).contains("percent_encode(")
            || code(&source).contains("utf8_percent_encode(");
        assert!(
            !encodes || file.starts_with("quote"),
            "{file} has its own encoder"
        );
    }
}

#[test]
fn no_file_is_longer_than_600_lines() {
    for folder in [
        "sdk/src",
        "sdk/derive/src",
        "runner/src",
        "runner/engine/src",
        "runner/local/src",
        "runner/provider/src",
        "runner/simulator/src",
        "runner/typegen/src",
        "tests/src",
        "tests/tests",
    ] {
        for (file, source) in sources(&root().join(folder)) {
            if file.ends_with("generated.rs") {
                continue;
            }
            let lines = source.lines().count();
            assert!(lines <= 600, "{folder}/{file} has {lines} lines; split it");
        }
    }
}
