//! Comments of the database as documentation of Rust.

/// The lines of a comment, so that rustdoc shows them as they are: no line is taken for code to be
/// run, for a link or for HTML, and none holds what the compiler refuses in a comment.
pub(super) fn lines(comment: &str) -> Vec<String> {
    let visible = comment
        .replace("\r\n", "\n")
        .replace('\r', "\n")
        .replace('\t', " ");
    let lines: Vec<String> = visible.trim().lines().map(line).collect();
    // Blank lines part paragraphs; a second one says no more.
    let mut kept: Vec<String> = Vec::with_capacity(lines.len());
    for line in lines {
        let repeats = line.is_empty() && kept.last().is_none_or(String::is_empty);
        if !repeats {
            kept.push(line);
        }
    }
    kept
}

/// A name of the database within a line of documentation.
pub(super) fn code(name: &str) -> String {
    let shown: String = name.chars().filter(|c| is_shown(*c)).collect();
    if shown.is_empty() {
        return "`\"\"`".to_owned();
    }
    if shown.contains('`') {
        // Code that holds a backtick is set in two, apart from them by a space.
        format!("`` {shown} ``")
    } else {
        format!("`{shown}`")
    }
}

fn line(text: &str) -> String {
    let shown: String = text.chars().filter(|c| is_shown(*c)).collect();
    // Four spaces would begin a block of code, which rustdoc compiles and runs.
    let shown = shown.trim();
    let even = shown.matches('`').count().is_multiple_of(2);
    let fenced = shown.starts_with("```") || shown.starts_with("~~~");
    let mut in_code = false;
    let mut line = String::with_capacity(shown.len());
    for letter in shown.chars() {
        in_code ^= letter == '`';
        let read = match letter {
            '[' | ']' | '<' | '>' => !(in_code && even && !fenced),
            '`' => !even || fenced,
            '~' => fenced,
            _ => false,
        };
        if read {
            line.push('\\');
        }
        line.push(letter);
    }
    line
}

/// Whether a character may stand in a comment: controls and those that turn the direction of writing
/// may not.
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
    fn a_comment_keeps_its_lines_and_paragraphs() {
        assert_eq!(
            lines("\n one\r\ntwo \n\n\n\nthree\rfour\n"),
            ["one", "two", "", "three", "four"]
        );
        assert!(lines(" \n ").is_empty());
    }

    #[test]
    fn nothing_in_it_is_run_or_followed() {
        assert_eq!(lines("    let x = 1;"), ["let x = 1;"]);
        assert_eq!(lines("```rust\nfail()"), [r"\`\`\`rust", "fail()"]);
        assert_eq!(lines("~~~"), [r"\~\~\~"]);
        assert_eq!(lines("see [id] or <b>"), [r"see \[id\] or \<b\>"]);
        assert_eq!(lines("the `a[1]` of <b>"), [r"the `a[1]` of \<b\>"]);
        assert_eq!(lines("a lone ` here [x]"), [r"a lone \` here \[x\]"]);
    }

    #[test]
    fn what_the_compiler_refuses_is_left_out() {
        assert_eq!(lines("a\u{202e}b\u{7}c */ \"d\""), [r#"abc */ "d""#]);
        assert_eq!(code("a`b\n"), "`` a`b ``");
        assert_eq!(code("posts"), "`posts`");
        assert_eq!(code(""), "`\"\"`");
    }
}
