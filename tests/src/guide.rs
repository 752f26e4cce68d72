//! Guides that show code: the code is part of a source file that is compiled and run.

/// Asserts that a source file has each block of Rust of a guide, line by line. Indentation does not count.
pub fn assert_shown(guide: &str, source: &str) {
    let source: Vec<&str> = lines(source).collect();
    let blocks: Vec<Vec<&str>> = guide
        .split("```rust\n")
        .skip(1)
        .map(|rest| lines(rest.split("```").next().unwrap_or_default()).collect())
        .collect();
    assert!(!blocks.is_empty(), "the guide shows nothing");
    for block in &blocks {
        let stands = source
            .windows(block.len().max(1))
            .any(|window| window == block);
        assert!(stands, "no source shows:\n{}", block.join("\n"));
    }
}

/// The lines that are not blank, without indentation.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty())
}
