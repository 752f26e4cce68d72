//! The table of SQL functions in docs/ARCHITECTURE.md is made from the migrations.
//!
//! A comment stands above the newest definition of each function. It begins with `contract:` if the program or a script
//! calls the function, else with `internal:`. The first paragraph of a contract is the function's row in the table.

#![expect(clippy::unwrap_used, reason = "a test that cannot run has failed")]

use std::collections::BTreeMap;

use sluice_tests::{assert_generated, files, root};

/// A function of the database, as its newest definition says.
#[derive(Debug, Default, PartialEq)]
struct Function {
    signature: String,
    returns: String,
    /// The first paragraph of the comment above it.
    comment: String,
}

impl Function {
    /// What a caller needs to know; none for an internal function.
    fn contract(&self) -> Option<&str> {
        let contract = self.comment.strip_prefix("contract: ");
        assert!(
            contract.is_some() || self.comment.starts_with("internal: "),
            "the comment of {} begins with neither `contract:` nor `internal:`",
            self.signature
        );
        contract
    }
}

type Functions = BTreeMap<String, Function>;

/// The text of all migrations, in the order in which they are applied.
fn migrations() -> String {
    let files = files(&root().join("supabase/migrations"));
    let texts = files
        .iter()
        .map(|file| std::fs::read_to_string(file).unwrap());
    texts.collect::<Vec<_>>().join("\n")
}

/// The functions that exist after all statements have run.
fn functions(sql: &str) -> Functions {
    let mut found = Functions::new();
    let lines: Vec<&str> = sql.lines().collect();
    for (place, line) in lines.iter().enumerate() {
        let named = |start: &str| {
            line.strip_prefix(start)?
                .split('(')
                .next()
                .map(str::to_owned)
        };
        if let Some(name) = named("drop function if exists public.") {
            found.remove(&name);
        }
        let created = named("create or replace function public.");
        if let Some(name) = created.or_else(|| named("create function public.")) {
            let (above, definition) = lines.split_at(place);
            let definition = definition.join("\n");
            found.insert(name.clone(), function(&name, above, &definition));
        }
    }
    found
}

fn function(name: &str, above: &[&str], definition: &str) -> Function {
    let (header, _) = definition.split_once("\nlanguage ").unwrap();
    let (_, after_name) = header.split_once('(').unwrap();
    let (arguments, returns) = after_name
        .split_once(")\nreturns ")
        .unwrap_or((after_name, ""));
    let comment: Vec<&str> = above
        .iter()
        .rev()
        .map_while(|line| line.strip_prefix("--"))
        .collect();
    let paragraph = comment.iter().rev().take_while(|line| !line.is_empty());
    Function {
        signature: format!("{name}({})", one_line(arguments.trim_end_matches("\n)"))),
        returns: one_line(returns).replace("( ", "(").replace(" )", ")"),
        comment: one_line(&paragraph.copied().collect::<String>()),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn table(functions: &Functions) -> String {
    let row = |function: &Function| {
        let Function {
            signature, returns, ..
        } = function;
        let contract = function.contract()?.replace('|', "\\|");
        Some(format!("| `{signature}` | `{returns}`: {contract} |\n"))
    };
    let rows: String = functions.values().filter_map(row).collect();
    format!("| function | result |\n| --- | --- |\n{rows}")
}

#[test]
fn architecture_has_the_contract_of_the_migrations() {
    let made = table(&functions(&migrations()));
    assert_generated(
        "docs/ARCHITECTURE.md",
        "contract",
        &made,
        "the comments of the migrations",
        "contract",
    );
}

#[test]
fn changed_comment_changes_the_table() {
    let sql = migrations();
    let changed = sql.replacen("-- contract: ", "-- contract: Changed. ", 1);
    assert_ne!(sql, changed);
    assert_ne!(table(&functions(&sql)), table(&functions(&changed)));
}

#[test]
fn newest_definition_counts() {
    let function = |comment: &str, argument: &str| {
        format!(
            "{comment}\ncreate or replace function public.f(\n  {argument}\n)\nreturns setof uuid\nlanguage sql\n\n"
        )
    };
    let first = function("-- contract: The first.", "p_a integer");
    let second = function(
        "-- contract: Ids | null,\n-- all of them.\n--\n-- A note.",
        "p_a integer,\n  p_b text",
    );
    assert_eq!(
        table(&functions(&format!("{first}{second}"))),
        "| function | result |\n| --- | --- |\n| `f(p_a integer, p_b text)` | `setof uuid`: Ids \\| null, all of them. |\n"
    );
    let dropped = format!("{first}drop function if exists public.f(integer);\n");
    assert!(functions(&dropped).is_empty());
}

#[test]
#[should_panic(expected = "begins with neither `contract:` nor `internal:`")]
fn function_without_such_a_comment_is_found() {
    table(&functions(
        "-- What it does.\ncreate function public.f()\nreturns void\nlanguage sql\n",
    ));
}
