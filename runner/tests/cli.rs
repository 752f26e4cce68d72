//! The program without any service: help, schemas, and the messages for bad input.

#![expect(clippy::unwrap_used, reason = "a test that cannot run has failed")]

use std::path::Path;
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

/// Runs the program in this folder, with these variables.
fn sluice_in(folder: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sluice"))
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

#[test]
fn colors_are_for_terminals_unless_they_are_asked_for() {
    let colored = |arguments: &[&str]| {
        let output = sluice(arguments);
        [output.stdout, output.stderr].concat().contains(&0x1b)
    };
    for arguments in [["--help"].as_slice(), &["embed"], &["embedd"]] {
        assert!(!colored(arguments), "{arguments:?}");
        let always = [&["--color", "always"], arguments].concat();
        assert!(colored(&always), "{arguments:?}");
        let never = [arguments, &["--color=never"]].concat();
        assert!(!colored(&never), "{arguments:?}");
    }
}

#[test]
fn log_lines_in_a_file_have_no_escapes() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(".env"), "OPENAI_API_KEY=two words\n").unwrap();
    let logged = sluice_in(folder.path(), &[], &["status"]);
    assert!(stderr(&logged).contains("WARN") && !stderr(&logged).contains('\u{1b}'));
    let always = sluice_in(folder.path(), &[], &["status", "--color", "always"]);
    assert!(stderr(&always).contains('\u{1b}'));
}

#[test]
fn configuration_is_found_up_to_the_root_of_the_repository() {
    let folder = tempfile::tempdir().unwrap();
    let repository = folder.path().join("repository");
    let inner = repository.join("a/b");
    std::fs::create_dir_all(&inner).unwrap();
    std::fs::write(folder.path().join("sluice.toml"), "outside = 1\n").unwrap();
    let known = sluice_in(&inner, &[], &["status"]);
    assert!(
        stderr(&known).contains("SUPABASE_URL"),
        "{}",
        stderr(&known)
    );
    std::fs::create_dir(repository.join(".git")).unwrap();
    std::fs::write(repository.join("sluice.toml"), "inside = 1\n").unwrap();
    std::fs::write(repository.join(".env"), "OPENAI_API_KEY=two words\n").unwrap();
    let found = sluice_in(&inner, &[], &["-v", "status"]);
    let said = stderr(&found);
    let path = repository.join("sluice.toml").display().to_string();
    assert!(
        said.contains(&format!("the configuration is {path}")),
        "{said}"
    );
    assert!(
        said.contains("inside") && !said.contains("outside"),
        "{said}"
    );
    assert!(said.contains("OPENAI_API_KEY is not NAME=value"), "{said}");
    assert_eq!(found.status.code(), Some(2));
}

#[test]
fn json_is_short_for_its_output_and_contradicts_another() {
    let output = sluice(&["schema", "migrations", "--json", "--output", "human"]);
    assert_eq!(output.status.code(), Some(2));
    let folder = tempfile::tempdir().unwrap();
    for form in [["--json"].as_slice(), &["--output", "json"]] {
        let doctor = sluice_in(folder.path(), &[], &[&["doctor"], form].concat());
        assert!(doctor.stdout.starts_with(b"["), "{form:?}");
    }
}

#[test]
fn global_options_have_a_heading_of_their_own() {
    let help = String::from_utf8(sluice(&["embed", "--help"]).stdout).unwrap();
    let (own, global) = help.split_once("Global options:").unwrap();
    assert!(
        own.contains("--max-usd") && !own.contains("--config"),
        "{help}"
    );
    assert!(
        global.contains("--config") && !global.contains("--max-usd"),
        "{help}"
    );
}

#[test]
fn manual_has_a_page_for_each_command() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("man");
    let output = sluice(&["man", "--out", out.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    for page in ["sluice.1", "sluice-embed.1", "sluice-jobs-enqueue.1"] {
        let text = std::fs::read_to_string(out.join(page)).unwrap();
        assert!(text.contains(".SH NAME"), "{page}");
    }
}

#[test]
fn completion_script_asks_the_program_and_gets_the_values_of_the_configuration() {
    let script = String::from_utf8(sluice(&["completions", "bash"]).stdout).unwrap();
    assert!(
        script.contains("COMPLETE=\"bash\"") && script.contains("sluice"),
        "{script}"
    );
    let folder = tempfile::tempdir().unwrap();
    let config = "[[scoring.dimensions]]\nname = \"zest\"\ndescription = \"?\"\nweight = 1\n";
    std::fs::write(folder.path().join("sluice.toml"), config).unwrap();
    let asked = |words: &[&str]| {
        let index = (words.len() - 1).to_string();
        let variables = [
            ("COMPLETE", "bash"),
            ("_CLAP_COMPLETE_INDEX", index.as_str()),
        ];
        let output = sluice_in(folder.path(), &variables, &[&["--"], words].concat());
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(asked(&["sluice", "backfill", "z"]).contains("zest"));
    assert!(asked(&["sluice", "back"]).contains("backfill"));
    // Without a database there are only the options to offer, and no error.
    let offered = asked(&["sluice", "jobs", "cancel", ""]);
    assert!(offered.starts_with("--"), "{offered}");
}
