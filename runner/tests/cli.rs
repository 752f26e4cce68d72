//! The program without any service: help, schemas, and the messages for bad input.

#![expect(clippy::unwrap_used, reason = "a test that cannot run has failed")]

use std::process::{Command, Output};

fn sluice(arguments: &[&str]) -> Output {
    let folder = std::env::temp_dir();
    Command::new(env!("CARGO_BIN_EXE_sluice"))
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .output()
        .unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn help_lists_the_commands_and_the_exit_codes() {
    let output = sluice(&["--help"]);
    let help = String::from_utf8(output.stdout).unwrap();
    for word in ["store", "embed", "rescore", "backfill", "worker", "130"] {
        assert!(help.contains(word), "{word} is missing in {help}");
    }
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn help_lists_only_commands_of_this_build() {
    let help = String::from_utf8(sluice(&["--help"]).stdout).unwrap();
    let lists = |command: &str| help.contains(&format!("\n  {command} "));
    assert!(lists("embed"));
    assert_eq!(lists("gen"), cfg!(feature = "typegen"));
    assert_eq!(lists("local"), cfg!(feature = "local"));
    assert_eq!(lists("simulate"), cfg!(feature = "simulator"));
    let has_both = cfg!(all(feature = "local", feature = "simulator"));
    assert_eq!(lists("demo"), has_both);
}

#[test]
fn unknown_command_is_a_usage_error() {
    assert_eq!(sluice(&["embedd"]).status.code(), Some(2));
    assert_eq!(
        sluice(&["embed", "--max-usd", "free"]).status.code(),
        Some(2)
    );
}

#[test]
fn missing_configuration_is_reported_with_the_way_out() {
    let output = sluice(&["embed"]);
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    assert!(
        said.contains("SUPABASE_URL")
            && said.contains("sluice local up") == cfg!(feature = "local"),
        "{said}"
    );
    assert!(output.stdout.is_empty());
}

#[test]
fn named_configuration_file_must_exist() {
    let output = sluice(&["--config", "no-such-file.toml", "status"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("no-such-file.toml"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn schemas_are_json_schemas() {
    for kind in ["config", "report"] {
        let output = sluice(&["schema", kind]);
        let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(schema["type"], "object", "{kind}");
        assert!(
            schema["properties"].as_object().unwrap().len() > 3,
            "{kind}"
        );
    }
}

#[test]
fn completions_name_the_program() {
    let output = sluice(&["completions", "bash"]);
    assert!(String::from_utf8(output.stdout).unwrap().contains("sluice"));
}
