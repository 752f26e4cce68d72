//! Patterns of `like`, and their translation to regular expressions.

/// Escapes `text` so that a `like` pattern matches it literally.
pub(crate) fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '%' | '_' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

/// Whether PostgREST would misread a `like` pattern: it takes every `*` for `%`, and the grammar
/// has no escape.
pub(crate) fn needs_regex(pattern: &str) -> bool {
    pattern.contains('*')
}

/// Translates a `like` pattern to a regular expression that matches the same texts.
///
/// The expression is anchored at both ends. In Postgres's default flavour `.` matches line breaks,
/// as `%` and `_` do, and `^` and `$` match only at the ends of the text.
pub(crate) fn like_to_regex(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    out.push('^');
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        match character {
            '%' => out.push_str(".*"),
            '_' => out.push('.'),
            '\\' => push_literal(characters.next().unwrap_or('\\'), &mut out),
            other => push_literal(other, &mut out),
        }
    }
    out.push('$');
    out
}

fn push_literal(character: char, out: &mut String) {
    if character.is_ascii_punctuation() && character != '_' {
        out.push('\\');
    }
    out.push(character);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_is_escaped() {
        assert_eq!(literal(r"100%_\"), r"100\%\_\\");
    }

    #[test]
    fn a_pattern_with_a_star_becomes_a_regular_expression() {
        assert_eq!(like_to_regex("a*b"), r"^a\*b$");
        assert_eq!(like_to_regex("%(x)_"), r"^.*\(x\).$");
        assert_eq!(like_to_regex(r"50\%"), r"^50\%$");
        assert_eq!(like_to_regex("\\"), r"^\\$");
    }
}
