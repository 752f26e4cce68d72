//! Every public method of the builders shows an example, the request that it makes, and the SQL that
//! this amounts to. The examples are compiled with the documentation's tests.

use std::fs;
use std::path::{Path, PathBuf};

/// What has methods that make requests.
const BUILDERS: [&str; 2] = ["src/query", "src/client/mod.rs"];

/// Methods that make no request: they set up a client, or say what became of a write.
const WITHOUT_A_REQUEST: [&str; 9] = [
    "builder",
    "execute",
    "learned",
    "new",
    "open",
    "report",
    "with_patience",
    "with_token_source",
    "defaults",
];

/// A method whose request is that of another, or an option that changes neither.
const ELSEWHERE: [&str; 2] = ["As [`", "The request and the SQL stay the same."];

struct Method {
    name: String,
    documentation: String,
}

impl Method {
    fn lacks(&self) -> Vec<&'static str> {
        let text = &self.documentation;
        if text.starts_with(ELSEWHERE[0]) {
            return Vec::new();
        }
        let same = text.contains(ELSEWHERE[1]);
        let makes_none = WITHOUT_A_REQUEST.contains(&self.name.as_str());
        let shown = [
            "request.uri()",
            "request.headers()",
            "request.body()",
            "Request: `",
        ];
        let wanted = [
            ("an example", text.contains("```")),
            (
                "the request",
                same || makes_none || shown.iter().any(|sign| text.contains(sign)),
            ),
            ("the SQL", same || makes_none || text.contains("SQL: `")),
        ];
        wanted
            .into_iter()
            .filter_map(|(what, has)| (!has).then_some(what))
            .collect()
    }
}

/// The public methods of a file, those in macros included.
fn methods(source: &str) -> Vec<Method> {
    let mut found = Vec::new();
    let mut documentation = String::new();
    for line in source.lines() {
        let line = line.trim_start();
        let public = line
            .strip_prefix("pub fn ")
            .or_else(|| line.strip_prefix("pub async fn "));
        if let Some(text) = line.strip_prefix("///") {
            documentation.push_str(text.trim());
            documentation.push(' ');
        } else if let Some(rest) = public {
            let name = rest.split(['(', '<']).next().unwrap();
            found.push(Method {
                name: name.to_owned(),
                documentation: std::mem::take(&mut documentation),
            });
        } else if line.ends_with('}') || line.is_empty() {
            documentation.clear();
        }
    }
    found
}

fn files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).unwrap();
    entries
        .flat_map(|entry| files(&entry.unwrap().path()))
        .collect()
}

#[test]
fn every_method_shows_an_example_its_request_and_its_sql() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut seen, mut lacking) = (0, Vec::new());
    for file in BUILDERS.iter().flat_map(|path| files(&root.join(path))) {
        for method in methods(&fs::read_to_string(&file).unwrap()) {
            seen += 1;
            let lacks = method.lacks();
            if !lacks.is_empty() {
                let file = file.strip_prefix(root).unwrap().display();
                lacking.push(format!(
                    "{file}: {} lacks {}",
                    method.name,
                    lacks.join(", ")
                ));
            }
        }
    }
    assert!(seen > 100, "{seen} methods are too few to be all");
    assert!(lacking.is_empty(), "{}", lacking.join("\n"));
}
