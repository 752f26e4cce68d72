//! The example crate, as its user sees it: what `docs/ci.md` shows is in it, and a changed request fails its test with
//! a readable difference.

#![expect(clippy::unwrap_used, reason = "a test that cannot run has failed")]

use std::path::{Path, PathBuf};
use std::process::Command;

use sluice_tests::{assert_shown, root};

#[test]
fn the_guide_shows_the_example() {
    let example = [
        include_str!("../example/tests/script.rs"),
        include_str!("../example/tests/flow.rs"),
    ];
    assert_shown(include_str!("../../docs/ci.md"), &example.join("\n"));
}

/// The newest test binary of the example that cargo has built.
fn built() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let folder = std::fs::read_dir(tests.parent().unwrap()).unwrap();
    let paths = folder.map(|entry| entry.unwrap().path());
    let is_test = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with("script-")
            && path.extension().unwrap_or_default() == std::env::consts::EXE_EXTENSION
    };
    let newest = paths
        .filter(is_test)
        .max_by_key(|path| path.metadata().unwrap().modified().unwrap());
    newest.expect("the example is not built: run the tests with --workspace")
}

/// Runs the script's test against the snapshots of this workspace. Returns whether it passes, and what it prints.
fn run(workspace: &Path) -> (bool, String) {
    let ended = Command::new(built())
        .current_dir(root().join("tests/example"))
        .env("INSTA_WORKSPACE_ROOT", workspace)
        .env("INSTA_UPDATE", "no")
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    let printed = [ended.stdout, ended.stderr].concat();
    (
        ended.status.success(),
        String::from_utf8_lossy(&printed).into_owned(),
    )
}

#[test]
fn a_request_that_differs_from_its_snapshot_is_shown_line_by_line() {
    let snapshot = "tests/example/tests/snapshots/script__requests_of_the_script.snap";
    let text = std::fs::read_to_string(root().join(snapshot)).unwrap();
    let copy = tempfile::tempdir().unwrap();
    let place = copy.path().join(snapshot);
    std::fs::create_dir_all(place.parent().unwrap()).unwrap();

    std::fs::write(&place, &text).unwrap();
    let (passes, printed) = run(copy.path());
    assert!(passes, "{printed}");

    // As if the snapshot were from before a change of the script.
    let before = text.replace("limit=2", "limit=3");
    assert_ne!(before, text);
    std::fs::write(&place, before).unwrap();
    let (passes, printed) = run(copy.path());
    assert!(!passes);
    let line = |sign: char, limit: u32| {
        printed.lines().any(|line| {
            let words =
                line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ' || c == '│');
            words.starts_with(sign)
                && words.contains("GET /posts?")
                && words.ends_with(&format!("limit={limit}"))
        })
    };
    assert!(line('-', 3) && line('+', 2), "{printed}");
}
