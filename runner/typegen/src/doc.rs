//! Comments of the database as Rust documentation.

/// The lines of a comment, escaped so that rustdoc shows them as they are: not as code to run, a link
/// or HTML. Characters that the compiler refuses in a comment are removed.
pub(super) fn lines(comment: &str) -> Vec<String> {
    let visible = comment
        .replace("\r\n", "\n")
        .replace('\r', "\n")
        .replace('\t', " ");
    let lines: Vec<String> = visible.trim().lines().map(line).collect();
    // One blank line separates paragraphs.
    let mut kept: Vec<String> = Vec::with_capacity(lines.len());
    for line in lines {
        let repeats = line.is_empty() && kept.last().is_none_or(String::is_empty);
        if !repeats {
            kept.push(line);
        }
    }
    kept
}

/// A name of the database as inline code.
pub(super) fn code(name: &str) -> String {
    let shown: String = name.chars().filter(|c| is_shown(*c)).collect();
    if shown.is_empty() {
        return "`\"\"`".to_owned();
    }
    if shown.contains('`') {
        // Code that contains a backtick needs two around it, and spaces.
        format!("`` {shown} ``")
    } else {
        format!("`{shown}`")
    }
}

fn line(text: &str) -> String {
    let shown: String = text.chars().filter(|c| is_shown(*c)).collect();
    // Four leading spaces would start a code block, which rustdoc compiles and runs.
    let shown = shown.trim();
    let even = shown.matches('`').count().is_multiple_of(2);
    let fenced = shown.starts_with("```") || shown.starts_with("~~~");
    let mut in_code = false;
    let mut line = String::with_capacity(shown.len());
    for letter in shown.chars() {
        in_code ^= letter == '`';
        let has_meaning = match letter {
            '[' | ']' | '<' | '>' => !(in_code && even && !fenced),
            '`' => !even || fenced,
            '~' => fenced,
            _ => false,
        };
        if has_meaning {
            line.push('\\');
        }
        line.push(letter);
    }
    line
}

/// Whether a character may be in a comment. Control characters and direction marks may not.
fn is_shown(letter: char) -> bool {
    !letter.is_control()
        && !matches!(
            letter,
            '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comment_keeps_its_lines_and_paragraphs() {
        assert_eq!(
            lines("\n one\r\ntwo \n\n\n\nthree\rfour\n"),
            ["one", "two", "", "three", "four"]
        );
        assert!(lines(" \n ").is_empty());
    }

    #[test]
    fn code_links_and_html_are_escaped() {
        assert_eq!(lines("    let x = 1;"), ["let x = 1;"]);
        assert_eq!(lines("```rust\nfail()"), [r"\`\`\`rust", "fail()"]);
        assert_eq!(lines("~~~"), [r"\~\~\~"]);
        assert_eq!(lines("see [id] or <b>"), [r"see \[id\] or \<b\>"]);
        assert_eq!(lines("the `a[1]` of <b>"), [r"the `a[1]` of \<b\>"]);
        assert_eq!(lines("a lone ` here [x]"), [r"a lone \` here \[x\]"]);
    }

    #[test]
    fn characters_that_the_compiler_refuses_are_removed() {
        assert_eq!(lines("a\u{202e}b\u{7}c */ \"d\""), [r#"abc */ "d""#]);
        assert_eq!(code("a`b\n"), "`` a`b ``");
        assert_eq!(code("posts"), "`posts`");
        assert_eq!(code(""), "`\"\"`");
    }
}
