//! The differences between a file of types and the database.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

/// One item that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Drift {
    /// The item's declaration.
    pub item: String,
    /// Lines that only the file has.
    pub only_in_file: Vec<String>,
    /// Lines that only the database's types have.
    pub only_in_database: Vec<String>,
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.item)?;
        if self.only_in_file.is_empty() && self.only_in_database.is_empty() {
            return write!(f, ": the same lines in another order");
        }
        for line in &self.only_in_file {
            write!(f, "\n  - {line}")?;
        }
        for line in &self.only_in_database {
            write!(f, "\n  + {line}")?;
        }
        Ok(())
    }
}

/// The differences between a file and the current text. Line endings do not count.
pub fn compare(file: &str, current: &str) -> Vec<Drift> {
    let file = file.replace("\r\n", "\n");
    if file == current {
        return Vec::new();
    }
    let (old, new) = (blocks(&file), blocks(current));
    let items: BTreeSet<&str> = old.keys().chain(new.keys()).copied().collect();
    let mut drifts: Vec<Drift> = items
        .into_iter()
        .filter(|item| old.get(item) != new.get(item))
        .map(|item| {
            let lines_before = old.get(item).map_or(&[][..], Vec::as_slice);
            let lines_now = new.get(item).map_or(&[][..], Vec::as_slice);
            Drift {
                item: item.to_owned(),
                only_in_file: without(lines_before, lines_now),
                only_in_database: without(lines_now, lines_before),
            }
        })
        .collect();
    if drifts.is_empty() {
        drifts.push(Drift {
            item: "the items".to_owned(),
            only_in_file: Vec::new(),
            only_in_database: Vec::new(),
        });
    }
    drifts
}

/// The lines of each item. Blank lines separate items; no item contains one.
fn blocks(text: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut blocks: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for block in text.split("\n\n") {
        let lines = block.lines().map(str::trim);
        let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
        let declared = lines.iter().find_map(|line| {
            let is_item = ["pub struct ", "pub enum ", "impl "];
            let found = is_item.iter().any(|start| line.starts_with(start));
            found.then(|| line.trim_end_matches(['{', '}', ' ']))
        });
        let item = declared.unwrap_or("the file");
        blocks.entry(item).or_default().extend(lines);
    }
    blocks
}

/// The lines that are not among the others. A line counts as often as it occurs.
fn without(lines: &[&str], others: &[&str]) -> Vec<String> {
    let mut rest = others.to_vec();
    let is_new = |line: &&&str| match rest.iter().position(|other| other == *line) {
        Some(at) => {
            rest.swap_remove(at);
            false
        }
        None => true,
    };
    lines
        .iter()
        .filter(is_new)
        .map(ToString::to_string)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str =
        "// made\n\nuse a;\n\n/// A.\npub struct A {\n    pub x: i32,\n}\n\npub struct B {}\n";

    #[test]
    fn same_text_does_not_differ() {
        assert!(compare(FILE, FILE).is_empty());
        assert!(compare(&FILE.replace('\n', "\r\n"), FILE).is_empty());
    }

    #[test]
    fn changed_column_is_shown_with_its_table() {
        let changed = FILE.replace("pub x: i32,", "pub x: i64,");
        let drifts: Vec<String> = compare(FILE, &changed)
            .iter()
            .map(Drift::to_string)
            .collect();
        assert_eq!(drifts, ["pub struct A\n  - pub x: i32,\n  + pub x: i64,"]);
    }

    #[test]
    fn added_or_removed_item_is_named() {
        let without_b = FILE.replace("\npub struct B {}\n", "");
        let drifts = compare(FILE, &without_b);
        assert_eq!(drifts.len(), 1);
        assert_eq!(drifts[0].item, "pub struct B");
        assert_eq!(drifts[0].only_in_file, ["pub struct B {}"]);
        assert_eq!(
            compare(&without_b, FILE)[0].only_in_database,
            ["pub struct B {}"]
        );
    }

    #[test]
    fn every_other_difference_counts_too() {
        assert_eq!(
            compare(&FILE.replace("use a", "use b"), FILE)[0].item,
            "the file"
        );
        let swapped = FILE.replace("pub x: i32,\n", "pub x: i32,\n\n");
        assert_eq!(compare(&swapped, FILE).len(), 2);
        assert_eq!(compare(&format!("{FILE}\n"), FILE)[0].item, "the items");
    }
}
