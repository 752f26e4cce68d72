//! The commands of a page as a script: those of its shell blocks, of its crontabs, of its units, and of the YAML of
//! workflows and containers. What a reader fills in is filled in.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use sluice_tests::root;

/// The job and the weights that stand for `ID`.
pub(super) const ID: &str = "3f0a0e1c-5a55-4a5f-9d3c-0f6b8f0c9a11";

/// What the pages leave to their reader.
pub(super) struct Reader {
    pub url: String,
    pub key: String,
    pub openai_port: u16,
}

/// A fenced block.
struct Block {
    language: String,
    text: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let text = std::fs::read_to_string(root().join(page)).unwrap();
    // Every second part stands between two fences.
    let parts = text.split("```").skip(1).step_by(2);
    let block = |part: &str| {
        let (language, text) = part.split_once('\n')?;
        Some(Block {
            language: language.to_owned(),
            text: text.to_owned(),
        })
    };
    parts.filter_map(block).collect()
}

/// The commands of a page, one a line.
///
/// # Panics
///
/// If a block is neither run, nor held by its form, nor known to have no commands.
pub(super) fn commands(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    for Block { language, text } in blocks(page) {
        match language.as_str() {
            "sh" => found.extend(text.replace("\\\n", " ").lines().map(str::to_owned)),
            "cron" => found.extend(text.lines().map(crontab)),
            "ini" => found.extend(unit(page, &text)),
            "yaml" => {
                let value: Value = serde_saphyr::from_str(&text)
                    .unwrap_or_else(|error| panic!("{page}: {error}\n{text}"));
                workflow(page, &value, &mut found);
            }
            // Read by other tests, or no commands: drawings, code, configuration, output.
            "" | "json" | "rust" | "text" | "toml" | "ts" => {}
            other => panic!("{page}: nothing runs or reads a block of {other:?}"),
        }
    }
    found
}

/// The command of a line of a crontab, in the folder of the test.
fn crontab(line: &str) -> String {
    let mut rest = line;
    for _ in 0..5 {
        let (field, after) = rest.trim_start().split_once(' ').unwrap();
        let is_time = |c: char| c.is_ascii_digit() || "*/,-".contains(c);
        assert!(field.chars().all(is_time), "{field} is no time: {line}");
        rest = after;
    }
    rest.trim_start().replace("/srv/sluice", ".")
}

/// The command that a unit starts. systemd reads the unit too, if it is here.
fn unit(page: &str, text: &str) -> Option<String> {
    for line in text.lines().filter(|line| !line.is_empty()) {
        let is_section = line.starts_with('[') && line.ends_with(']');
        let is_setting = line.split_once('=').is_some_and(|(name, value)| {
            name.chars().all(|c| c.is_ascii_alphabetic()) && !value.is_empty()
        });
        assert!(is_section || is_setting, "{page}: {line}");
    }
    let kind = if text.contains("[Timer]") {
        "timer"
    } else {
        "service"
    };
    let folder = tempfile::tempdir().unwrap();
    // The program is not installed here, and a timer needs its service.
    let anything = text.replace("/usr/local/bin/sluice", "/bin/true");
    let service = "[Service]\nExecStart=/bin/true\n".to_owned();
    for (ending, text) in [("service", service), (kind, anything)] {
        std::fs::write(folder.path().join(format!("sluice.{ending}")), text).unwrap();
    }
    let path = folder.path().join(format!("sluice.{kind}"));
    if let Ok(read) = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(path)
        .output()
    {
        let said = String::from_utf8_lossy(&read.stderr);
        assert!(!said.contains("sluice."), "{page}: {said}");
    }
    let starts = text
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="))?;
    Some(
        starts
            .replace("/usr/local/bin/", "")
            .replace("/var/lib/sluice/", "./"),
    )
}

/// The commands anywhere in a workflow or in the description of a container.
fn workflow(page: &str, value: &Value, found: &mut Vec<String>) {
    if let Some(command) = value.get("run").and_then(Value::as_str) {
        found.extend(command.lines().map(str::to_owned));
    }
    let own = "/.github/actions/sluice@";
    if value["uses"]
        .as_str()
        .is_some_and(|uses| uses.contains(own))
    {
        found.push(of_the_action(page, &value["with"]));
    }
    if let Some(arguments) = value.get("args").and_then(Value::as_array) {
        let words = arguments.iter().map(|word| match word {
            Value::String(word) => word.clone(),
            other => panic!("{page}: an argument must be a text: {other}"),
        });
        let words: Vec<String> = words.collect();
        let words = words.iter().map(String::as_str);
        found.push(format!("sluice {}", shlex::try_join(words).unwrap()));
    }
    match value {
        Value::Array(items) => items.iter().for_each(|it| workflow(page, it, found)),
        Value::Object(items) => items.values().for_each(|it| workflow(page, it, found)),
        _ => {}
    }
}

/// The command that a step gives to the repository's own action, which must take all that it is given.
fn of_the_action(page: &str, given: &Value) -> String {
    let path = root().join(".github/actions/sluice/action.yml");
    let action: Value = serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    for name in given.as_object().unwrap().keys() {
        let takes = action.pointer(&format!("/inputs/{name}"));
        assert!(takes.is_some(), "{page}: the action takes no {name}");
    }
    format!("sluice {}", given["command"].as_str().unwrap())
}

/// The commands as a script that stops at the first failure. It shows each of them on stderr.
pub(super) fn script(commands: &[String], reader: &Reader) -> String {
    // Assignments reach the commands below them, as in a `.env`.
    let mut script = "set -aeuo pipefail\n".to_owned();
    for line in commands {
        let line = filled_in(line, reader);
        let until_stopped = ["sluice simulate", "sluice worker", "sluice status --watch"];
        let _ = match line.as_str() {
            // The embedded stack has no address for SQL, and it is migrated.
            line if line.starts_with("sluice schema apply") => {
                writeln!(script, "sluice schema migrations supabase/migrations")
            }
            line if until_stopped.iter().any(|start| line.starts_with(start)) => {
                let port = if line == "sluice simulate" {
                    " --port 0"
                } else {
                    ""
                };
                writeln!(script, "timeout -s TERM 3 {line}{port} || [ $? -eq 124 ]")
            }
            line => writeln!(script, "echo '$' {line:?} >&2\n{line}"),
        };
    }
    script
}

fn filled_in(line: &str, reader: &Reader) -> String {
    let line = line.split(" #").next().unwrap();
    let key = format!("SUPABASE_SERVICE_KEY={}", reader.key);
    let line = line
        .replace("https://YOUR-PROJECT.supabase.co", &reader.url)
        .replace("SUPABASE_SERVICE_KEY=…", &key)
        .replace("OPENAI_API_KEY=…", "OPENAI_API_KEY=simulated")
        .replace("--db-url \"$DATABASE_URL\"", "--local")
        .replace("PORT", &reader.openai_port.to_string())
        .replace(" …", "")
        .replace(" ID", &format!(" {ID}"));
    line.trim_end().to_owned()
}

/// The pages for people, with their paths from the root.
pub(super) fn pages() -> Vec<String> {
    let docs = std::fs::read_dir(root().join("docs")).unwrap();
    let names = docs.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let is_page = |name: &String| Path::new(name).extension().is_some_and(|it| it == "md");
    let mut found: Vec<String> = names
        .filter(is_page)
        .map(|name| format!("docs/{name}"))
        .collect();
    found.sort();
    // It stores the posts that the others speak of.
    found.insert(0, "README.md".to_owned());
    found
}
