//! Every public method that makes a request, or a part of one, shows an example, what it writes, and
//! the SQL that this amounts to. The examples are compiled with the documentation's tests.

use std::fs;
use std::path::{Path, PathBuf};

/// What has methods that make requests, or parts of them.
const BUILDERS: [&str; 7] = [
    "src/query",
    "src/grammar",
    "src/schema/column.rs",
    "src/schema/value/operand.rs",
    "src/client/mod.rs",
    "src/client/postgrest_compat.rs",
    EDGE_FUNCTIONS,
];

/// An Edge Function need not run any SQL.
const EDGE_FUNCTIONS: &str = "src/client/functions.rs";

/// Methods that make no request: they set up a client, say what became of a write, or name a type.
const WITHOUT_A_REQUEST: [&str; 10] = [
    "builder",
    "execute",
    "learned",
    "name",
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
    fn lacks(&self, runs_sql: bool) -> Vec<&'static str> {
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
            // A filter, an order or a selection as it is written into the request.
            "to_string(), ",
            "Request: `",
        ];
        let wanted = [
            ("an example", text.contains("```")),
            (
                "the request",
                same || makes_none || shown.iter().any(|sign| text.contains(sign)),
            ),
            (
                "the SQL",
                same || makes_none || !runs_sql || text.contains("SQL: `"),
            ),
        ];
        wanted
            .into_iter()
            .filter_map(|(what, has)| (!has).then_some(what))
            .collect()
    }
}

/// The public methods of a file, also those in macros. Hidden ones are left out.
fn methods(source: &str) -> Vec<Method> {
    let mut found = Vec::new();
    let (mut documentation, mut hidden) = (String::new(), false);
    for line in source.lines() {
        let line = line.trim_start();
        let public = ["pub fn ", "pub async fn ", "pub const fn "]
            .iter()
            .find_map(|start| line.strip_prefix(start));
        if let Some(text) = line.strip_prefix("///") {
            documentation.push_str(text.trim());
            documentation.push(' ');
        } else if line == "#[doc(hidden)]" {
            hidden = true;
        } else if let Some(rest) = public {
            if std::mem::take(&mut hidden) {
                documentation.clear();
                continue;
            }
            let name = rest.split(['(', '<']).next().unwrap();
            found.push(Method {
                name: name.to_owned(),
                documentation: std::mem::take(&mut documentation),
            });
        } else if line.ends_with('}') || line.is_empty() {
            documentation.clear();
            hidden = false;
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
        let runs_sql = !file.ends_with(EDGE_FUNCTIONS);
        for method in methods(&fs::read_to_string(&file).unwrap()) {
            seen += 1;
            let lacks = method.lacks(runs_sql);
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
    assert!(seen > 200, "{seen} methods are too few to be all");
    assert!(lacking.is_empty(), "{}", lacking.join("\n"));
}
