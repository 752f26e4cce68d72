//! Pages, comments and names of functions are in plain words. Each of these turns has made readers read twice.

#![expect(clippy::unwrap_used, reason = "a test that cannot run has failed")]

use std::path::Path;

use sluice_tests::{files, root};

/// A turn to avoid, and what to write instead.
const TURNS: &[(&str, &str)] = &[
    ("also where", "even if"),
    ("anew", "again"),
    ("at no cost", "for nothing"),
    ("befall", "happen to"),
    ("befalls", "happens to"),
    ("befell", "happened to"),
    ("for ever", "without end"),
    ("given back", "returned, or released"),
    ("gives back", "returns, or releases"),
    ("in the works", "in flight"),
    ("in vain", "without result"),
    ("is nobody's", "belongs to no …"),
    ("is told of", "is notified of"),
    ("let go of", "released"),
    ("likeness", "key"),
    ("of its own accord", "say what makes it happen"),
    ("of which the same", "say the sentence again"),
    ("overlong", "oversized"),
    ("set aside", "moved to the dead letters"),
    ("stand-in", "simulator, or fake"),
    ("such as it is", "leave it out"),
    ("thereby", "so"),
    ("to no avail", "without result"),
    ("where asked", "if asked"),
    ("where none", "if none"),
    ("where nothing", "if nothing"),
];

/// A paragraph or comment: its lines, with their numbers.
type Block = Vec<(usize, String)>;

/// How to find the prose in a file of this name.
fn prose(name: &str) -> Option<fn(&str) -> Vec<Block>> {
    // Generated files have their words from elsewhere, and this file has the turns themselves.
    if name.ends_with("generated.rs") || name == "tests/tests/words.rs" {
        return None;
    }
    match Path::new(name).extension()?.to_str()? {
        "md" => Some(paragraphs),
        "rs" => Some(comments_and_functions),
        "sql" => Some(|text| comments(text, "--")),
        _ => None,
    }
}

/// The lines in blocks. A line that is `None` ends a block.
fn blocks<'a>(lines: impl Iterator<Item = Option<&'a str>>) -> Vec<Block> {
    let mut found = vec![Block::new()];
    for (at, line) in lines.enumerate() {
        match (line, found.last_mut()) {
            (Some(line), Some(block)) => block.push((at + 1, without_code(line))),
            _ => found.push(Block::new()),
        }
    }
    found
}

/// The paragraphs of a page, without its code.
fn paragraphs(text: &str) -> Vec<Block> {
    let mut in_code = false;
    blocks(text.lines().map(|line| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        (!in_code && !is_fence && !line.trim().is_empty()).then_some(line)
    }))
}

fn comments(text: &str, mark: &str) -> Vec<Block> {
    blocks(text.lines().map(|line| {
        Some(
            line.trim_start()
                .strip_prefix(mark)?
                .trim_start_matches(['/', '!']),
        )
    }))
}

fn comments_and_functions(text: &str) -> Vec<Block> {
    let name = |(at, line): (usize, &str)| {
        let (_, rest) = line.split_once("fn ")?;
        let (name, _) = rest.split_once('(')?;
        Some(vec![(at + 1, name.replace('_', " "))])
    };
    let names = text.lines().enumerate().filter_map(name);
    comments(text, "//").into_iter().chain(names).collect()
}

/// A line without its inline code.
fn without_code(line: &str) -> String {
    let parts: Vec<&str> = line.split('`').collect();
    let closed = parts.len() % 2 == 1;
    let kept = parts.iter().enumerate();
    let kept = kept.filter(|(at, _)| at % 2 == 0 || (!closed && at + 1 == parts.len()));
    kept.map(|(_, part)| *part).collect()
}

/// The turns in a block, each with the number of the line where it begins.
fn turns(block: &Block) -> Vec<(usize, &'static str, &'static str)> {
    let mut text = String::new();
    let mut starts = Vec::new();
    for (number, line) in block {
        starts.push((text.len(), *number));
        text += &line.trim().to_lowercase();
        text.push(' ');
    }
    let line_of = |at: usize| starts.iter().rev().find(|(start, _)| *start <= at);
    let is_letter = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let mut found = Vec::new();
    for (turn, plain) in TURNS {
        for (at, _) in text.match_indices(turn) {
            let (before, rest) = text.split_at(at);
            let after = rest.chars().nth(turn.chars().count());
            if !is_letter(before.chars().next_back()) && !is_letter(after) {
                found.push((line_of(at).unwrap().1, *turn, *plain));
            }
        }
    }
    found
}

#[test]
fn pages_comments_and_names_are_in_plain_words() {
    let root = root();
    let (mut read, mut found) = (0, Vec::new());
    for path in files(&root) {
        let name = path.strip_prefix(&root).unwrap().to_string_lossy();
        let Some(prose) = prose(&name) else { continue };
        read += 1;
        for block in prose(&std::fs::read_to_string(&path).unwrap()) {
            for (line, turn, plain) in turns(&block) {
                found.push(format!("{name}:{line}: “{turn}”: write “{plain}”"));
            }
        }
    }
    assert!(read > 100, "only {read} files were read");
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn turns_are_found_across_lines_and_not_in_code_or_words() {
    let found = |text: &str, prose: fn(&str) -> Vec<Block>| -> Vec<(usize, &str)> {
        let blocks = prose(text);
        let turns = blocks.iter().flat_map(turns);
        turns.map(|(line, turn, _)| (line, turn)).collect()
    };
    let source = "/// It waits in\n/// vain.\nfn row_is_set_aside() {}\nlet anew = 1;\n// Thereby hangs `anew`.\n";
    assert_eq!(
        found(source, comments_and_functions),
        [(1, "in vain"), (5, "thereby"), (3, "set aside")]
    );
    let page = "It begins\nAnew.\n\n```sh\nanew\n```\n\nRenewal is fine, and so is `anew`.\n";
    assert_eq!(found(page, paragraphs), [(2, "anew")]);
}
