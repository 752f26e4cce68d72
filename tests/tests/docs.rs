//! The commands of the guides are understood, their configuration is valid, and their links lead somewhere. Other tests
//! show what the commands do.

#![expect(clippy::unwrap_used, reason = "a test that cannot run has failed")]

use std::path::Path;

use clap::Parser;
use serde_json::{Value, json};
use sluice_runner::cli::Cli;
use sluice_runner::config::{Environment, RawConfig, Settings};
use sluice_runner::db::DatabaseError;
use sluice_runner::engine::StorageError;
use sluice_runner::simulator;
use sluice_sdk::{
    Error,
    client::TransportError,
    query::{Outcome, Response, Safety},
};
use sluice_tests::{assert_generated, root};

/// An identifier in place of the one that a reader fills in.
const ID: &str = "3f0a0e1c-5a55-4a5f-9d3c-0f6b8f0c9a11";

/// A fenced block of a page.
struct Block {
    page: String,
    language: String,
    text: String,
}

/// Every page, with its path from the root.
fn pages() -> Vec<(String, String)> {
    let mut found = vec!["README.md".to_owned(), "sdk/README.md".to_owned()];
    for folder in ["docs", "docs/decisions"] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if Path::new(&name)
                .extension()
                .is_some_and(|ending| ending == "md")
            {
                found.push(format!("{folder}/{name}"));
            }
        }
    }
    found.sort();
    let read = |page: String| {
        let text = std::fs::read_to_string(root().join(&page)).unwrap();
        (page, text)
    };
    found.into_iter().map(read).collect()
}

fn blocks() -> Vec<Block> {
    let mut found = Vec::new();
    for (page, text) in pages() {
        let mut open: Option<Block> = None;
        for line in text.lines() {
            match (line.trim_start().strip_prefix("```"), &mut open) {
                (Some(language), None) => {
                    open = Some(Block {
                        page: page.clone(),
                        language: language.to_owned(),
                        text: String::new(),
                    });
                }
                (Some(_), block) => found.extend(block.take()),
                (None, Some(block)) => {
                    block.text.push_str(line);
                    block.text.push('\n');
                }
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{page}: a block is not closed");
    }
    found
}

/// The commands of a line of a shell, a crontab or a workflow: their words up to a redirect.
fn commands(line: &str) -> Vec<Vec<String>> {
    let line = line.replace("\\\n", " ");
    let Some(words) = shlex::split(line.trim_start().trim_start_matches("- run: ")) else {
        return Vec::new();
    };
    let divides = |word: &String| matches!(word.as_str(), "&&" | "||" | "|" | ";");
    let redirects = |word: &String| word.contains('>');
    words
        .split(divides)
        .map(|words| {
            let kept = words.iter().take_while(|word| !redirects(word));
            kept.cloned().collect()
        })
        .collect()
}

/// The arguments of a command, if the command is `sluice`.
fn arguments(words: &[String]) -> Option<Vec<String>> {
    let starts: [&[&str]; 3] = [
        &["sluice"],
        &["cargo", "run", "--release", "--"],
        &["./target/release/sluice"],
    ];
    let start = starts.iter().find(|start| {
        let begins = words
            .iter()
            .zip(**start)
            .filter(|(word, start)| word == start);
        begins.count() == start.len()
    })?;
    let filled_in = |word: &String| match word.as_str() {
        "ID" => ID.to_owned(),
        word => word
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned(),
    };
    let given = words.iter().skip(start.len());
    let given = given.filter(|word| *word != "…").map(filled_in);
    Some(std::iter::once("sluice".to_owned()).chain(given).collect())
}

#[test]
fn every_command_of_the_guides_is_understood() {
    let mut understood = 0;
    for block in blocks() {
        if !matches!(block.language.as_str(), "sh" | "cron" | "yaml" | "ini") {
            continue;
        }
        for line in block.text.replace("\\\n", " ").lines() {
            // A crontab begins with five fields of time.
            let line = if block.language == "cron" {
                line.splitn(6, char::is_whitespace)
                    .last()
                    .unwrap_or_default()
            } else {
                line
            };
            // Containers and the action take a command without its name.
            let line = match line.split_once("args: [") {
                Some((_, list)) => {
                    format!("sluice {}", list.trim_end_matches(']').replace(',', ""))
                }
                None => line
                    .replace("command: ", "sluice ")
                    .replace("ExecStart=/usr/local/bin/", ""),
            };
            for arguments in commands(&line).iter().filter_map(|words| arguments(words)) {
                if let Err(error) = Cli::try_parse_from(&arguments) {
                    panic!("{}: {line}\n{error}", block.page);
                }
                understood += 1;
            }
        }
    }
    assert!(understood > 30, "only {understood} commands were found");
}

/// What a page asks of cargo: its words after `cargo`, without variables before it.
fn asked_of_cargo(words: &[String]) -> Option<&[String]> {
    let is_variable = |word: &&String| word.contains('=');
    let variables = words.iter().take_while(is_variable).count();
    let words = words.get(variables..)?;
    (words.first()? == "cargo").then(|| words.get(1..).unwrap_or_default())
}

/// The source of a target, which is a file or a folder.
fn source(option: &str, name: &str) -> Option<String> {
    let folders: &[&str] = match option {
        "--bench" => &["tests/benches"],
        "--test" => &["tests/tests", "sdk/tests", "runner/tests"],
        _ => &["sdk/examples", "runner/examples"],
    };
    let places = folders.iter().flat_map(|folder| {
        let folder = root().join(folder);
        [folder.join(format!("{name}.rs")), folder.join(name)]
    });
    let place = places.into_iter().find(|place| place.exists())?;
    if place.is_file() {
        return Some(std::fs::read_to_string(place).unwrap());
    }
    let texts = sluice_tests::files(&place);
    Some(
        texts
            .iter()
            .map(|file| std::fs::read_to_string(file).unwrap())
            .collect(),
    )
}

/// The names of the packages of this workspace.
fn packages() -> Vec<String> {
    let manifests = sluice_tests::files(&root());
    let manifests = manifests.iter().filter(|path| path.ends_with("Cargo.toml"));
    let name = |path| {
        let text = std::fs::read_to_string(path).unwrap();
        let manifest: toml::Table = toml::from_str(&text).unwrap();
        Some(manifest.get("package")?.get("name")?.as_str()?.to_owned())
    };
    manifests.filter_map(name).collect()
}

/// Asserts that this workspace has what a command of cargo names, and that a bench knows its own arguments.
fn assert_cargo_knows(page: &str, words: &[String], packages: &[String]) {
    let shown = format!("{page}: cargo {}", words.join(" "));
    let (own, after) = match words.iter().position(|word| word == "--") {
        Some(at) => words.split_at(at),
        None => (words, [].as_slice()),
    };
    for pair in own.windows(2) {
        let [option, name] = pair else { continue };
        match option.as_str() {
            "-p" => assert!(packages.contains(name), "{shown}: no package {name}"),
            "--path" => assert!(root().join(name).join("Cargo.toml").exists(), "{shown}"),
            "--bench" | "--test" | "--example" => {
                let source = source(option, name);
                let source = source.unwrap_or_else(|| panic!("{shown}: no {option} {name}"));
                // A bench takes names of its parts, sizes and files.
                let parts = after.iter().skip(1).filter(|word| {
                    option == "--bench" && word.chars().all(|c| c.is_ascii_lowercase())
                });
                for part in parts {
                    let named = format!("\"{part}\"");
                    assert!(source.contains(&named), "{shown}: no part {part}");
                }
            }
            _ => {}
        }
    }
}

#[test]
fn what_the_pages_ask_of_cargo_is_in_the_workspace() {
    let packages = packages();
    let mut held = 0;
    for (page, text) in pages() {
        // Blocks, and commands within the text.
        let lines = text.lines().flat_map(|line| line.split('`'));
        for words in lines
            .map(|line| line.split(" #").next().unwrap_or_default())
            .flat_map(commands)
        {
            if let Some(words) = asked_of_cargo(&words) {
                assert_cargo_knows(&page, words, &packages);
                held += 1;
            }
        }
    }
    assert!(held > 20, "only {held} commands of cargo were found");
}

#[test]
fn every_configuration_of_the_guides_is_valid() {
    let mut checked = 0;
    for block in blocks().iter().filter(|block| block.language == "toml") {
        if block.text.contains("sluice-sdk") {
            continue;
        }
        let valid = if block.page == "docs/simulate.md" {
            toml::from_str(&block.text)
                .map(|_: simulator::Config| ())
                .map_err(|error| error.to_string())
        } else {
            settings(&block.text)
        };
        assert!(valid.is_ok(), "{}: {valid:?}", block.page);
        checked += 1;
    }
    assert!(checked > 1, "only {checked} configurations were found");
}

fn settings(text: &str) -> Result<(), String> {
    let environment: Environment = [("OPENAI_API_KEY", "key")].into_iter().collect();
    let checked = Settings::check(RawConfig::parse(text)?, &environment);
    checked.map(drop).map_err(|error| error.to_string())
}

#[test]
fn the_report_of_the_guide_has_the_keys_of_the_schema() {
    let schema =
        serde_json::to_value(schemars::schema_for!(sluice_runner::report::Report)).unwrap();
    let properties = schema.get("properties").and_then(Value::as_object).unwrap();
    let shown = blocks()
        .iter()
        .filter(|block| block.language == "json")
        .filter_map(|block| serde_json::from_str::<Value>(&block.text).ok())
        .find(|value| value.get("flow").is_some())
        .unwrap();
    for key in shown.as_object().unwrap().keys() {
        assert!(properties.contains_key(key), "{key} is in no report");
    }
}

#[test]
fn every_link_leads_somewhere() {
    let mut followed = 0;
    for (page, text) in pages() {
        let folder = root().join(&page).parent().unwrap().to_owned();
        for target in text.split("](").skip(1) {
            let target = target.split([')', '#']).next().unwrap_or_default();
            if target.is_empty() || target.starts_with("http") {
                continue;
            }
            assert!(folder.join(target).exists(), "{page} links to {target}");
            followed += 1;
        }
    }
    assert!(followed > 10, "only {followed} links were found");
}

/// The parts of a decision, in their order.
const PARTS: [&str; 5] = ["Status", "Decision", "Why", "Considered", "Consequences"];

#[test]
fn decisions_have_one_format_and_are_listed() {
    let pages = pages();
    let text = |name: &str| &pages.iter().find(|(page, _)| page == name).unwrap().1;
    let list = text("docs/decisions/README.md");
    for (page, text) in &pages {
        let Some(file) = page.strip_prefix("docs/decisions/0") else {
            continue;
        };
        let number: u32 = file.split('-').next().unwrap().parse().unwrap();
        let title = text.lines().next().unwrap();
        let title = title.strip_prefix(&format!("# {number}. "));
        let title = title.unwrap_or_else(|| panic!("{page} has not its number in the title"));
        let row = format!("| {number} | [{title}](0{file}) |");
        assert!(list.contains(&row), "docs/decisions/README.md lacks {row}");
        let places = PARTS.map(|part| text.find(&format!("\n**{part}.**")));
        assert!(
            places.iter().all(Option::is_some) && places.is_sorted(),
            "{page} has not the parts {PARTS:?} in this order"
        );
    }
}

#[test]
fn prose_is_wrapped_at_one_width() {
    const WIDTH: usize = 120;
    for (page, text) in pages() {
        let mut in_code = false;
        for (at, line) in text.lines().enumerate() {
            in_code ^= line.trim_start().starts_with("```");
            let is_prose = !in_code && !line.trim_start().starts_with('|');
            let is_long = is_prose && line.chars().count() > WIDTH;
            assert!(!is_long, "{page}:{}: more than {WIDTH} columns", at + 1);
        }
    }
}

#[test]
fn every_path_in_the_pages_exists() {
    let folders = ["docs/", "runner/", "sdk/", "supabase/", "tests/"];
    let mut looked_up = 0;
    for (page, text) in pages() {
        for code in text.split('`').skip(1).step_by(2) {
            let is_path = folders.iter().any(|folder| code.starts_with(folder));
            let is_pattern = code.contains(['*', ' ']) || code.contains(char::is_uppercase);
            if is_path && !is_pattern {
                assert!(root().join(code).exists(), "{page} names {code}");
                looked_up += 1;
            }
        }
    }
    assert!(looked_up > 20, "only {looked_up} paths were found");
}

/// Answers with a code.
const CODED: [(u16, &str, &str); 23] = [
    (503, "PGRST000", "no connection to Postgres"),
    (503, "PGRST001", "the connection to Postgres broke"),
    (503, "PGRST002", "the schema cache is loading"),
    (504, "PGRST003", "no connection was free in time"),
    (500, "53300", "too many connections"),
    (503, "08006", "a connection failed (any 08xxx)"),
    (503, "57P01", "Postgres is shut down"),
    (503, "57P02", "Postgres crashed"),
    (503, "57P03", "Postgres starts"),
    (500, "40001", "a conflict with another transaction"),
    (500, "40P01", "a deadlock"),
    (500, "55P03", "a lock was not available"),
    (
        500,
        "57014",
        "the statement took too long, or waited for a lock",
    ),
    (400, "22P02", "a value does not fit its type (any 22xxx)"),
    (409, "23505", "a constraint is violated (any 23xxx)"),
    (400, "P0001", "a trigger refuses a row"),
    (401, "42501", "the key or a policy forbids it"),
    (401, "PGRST301", "the key is not valid"),
    (404, "42P01", "a table is missing"),
    (404, "PGRST202", "a function is missing"),
    (400, "PGRST204", "a column is missing"),
    (404, "PGRST205", "a table is missing from the schema cache"),
    (400, "42601", "any other code"),
];

/// Answers without a code.
const UNCODED: [(u16, bool, &str); 21] = [
    (401, false, "a gateway refuses the key"),
    (403, false, "a gateway refuses the key"),
    (413, false, "the request is too large"),
    (414, false, "the URL is too long"),
    (429, true, "too many requests, with `Retry-After`"),
    (429, false, "too many requests"),
    (500, false, "a gateway failed"),
    (502, false, "a gateway got a bad answer"),
    (503, false, "a gateway got no answer"),
    (504, false, "a gateway waited too long"),
    (520, false, "an odd answer"),
    (521, false, "no connection was made"),
    (522, false, "no answer in time"),
    (523, false, "no connection was made"),
    (524, false, "no answer in time"),
    (525, false, "no connection was made"),
    (526, false, "no connection was made"),
    (530, false, "no connection was made"),
    (540, false, "the project is paused"),
    (404, false, "nothing is there"),
    (302, false, "a redirect"),
];

/// What an answer leads to, as a row of the table.
fn leads_to(answer: &str, meaning: &str, error: Error) -> String {
    let outcome = error.outcome();
    let name = match outcome {
        Outcome::DidNothing => "did nothing",
        Outcome::Unknown => "unknown",
        Outcome::Refused => "refused",
    };
    let repeated = match [Safety::Idempotent, Safety::Write].map(|it| outcome.may_repeat(it)) {
        [true, true] => "any request",
        [true, false] => "reads, idempotent writes",
        _ => "nothing",
    };
    let flow = match StorageError::from(DatabaseError::from(error)) {
        StorageError::Outage(_) => "waits",
        StorageError::TooSlow(_) => "sends less, then waits",
        StorageError::TooLarge(_) => "sends less",
        StorageError::Row(_) => "looks for the row",
        StorageError::Refused(_) | StorageError::GaveUp(_) => "stops",
    };
    format!("| {answer} | {meaning} | {name} | {repeated} | {flow} |\n")
}

fn answered(status: u16, body: String, waits: bool) -> Error {
    let mut response = http::Response::builder().status(status);
    if waits {
        response = response.header("retry-after", "1");
    }
    Response::read(response.body(body.into()).unwrap()).unwrap_err()
}

#[test]
fn reliability_has_what_each_answer_leads_to() {
    let header = "| answer | means | the request | is sent again | a flow |\n";
    let mut made = format!("{header}| --- | --- | --- | --- | --- |\n");
    let refused = TransportError::connect("refused").into();
    made += &leads_to("no connection", "nothing was sent", refused);
    let broken = TransportError::interrupted("reset").into();
    made += &leads_to(
        "no answer",
        "the connection broke, or the time is over",
        broken,
    );
    for (status, code, meaning) in CODED {
        let body = json!({ "code": code, "message": "m" }).to_string();
        let error = answered(status, body, false);
        made += &leads_to(&format!("`{code}`"), meaning, error);
    }
    for (status, waits, meaning) in UNCODED {
        let error = answered(status, "<html></html>".to_owned(), waits);
        made += &leads_to(&format!("{status} without a code"), meaning, error);
    }
    assert_generated("docs/reliability.md", "outcomes", &made, "the code", "docs");
}
