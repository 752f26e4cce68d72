//! Writes a post's text as one line of JSON, so that a model reads it only as a quotation.

use std::fmt::Write;

use crate::text::head;

/// What follows a truncated text.
pub(super) const CUT_MARKER: &str = " […text cut here]";

/// The text as a JSON string with its quotes, truncated to `limit` characters.
///
/// Any JSON reader can read it. Besides what JSON demands, this escapes characters that could end the line, hide text
/// from a human reader or imitate the frame of a message: line separators, controls, direction marks, invisible
/// characters, code fences, and the brackets of chat templates.
pub(super) fn quote(text: &str, limit: usize) -> String {
    let kept = head(text, limit);
    let mut quoted = String::with_capacity(kept.len() + 16);
    quoted.push('"');
    let mut chars = kept.chars().peekable();
    while let Some(c) = chars.next() {
        push(&mut quoted, c, chars.peek().copied());
    }
    if kept.len() < text.len() {
        quoted.push_str(CUT_MARKER);
    }
    quoted.push('"');
    quoted
}

fn push(quoted: &mut String, c: char, next: Option<char>) {
    match c {
        '"' => quoted.push_str("\\\""),
        '\\' => quoted.push_str("\\\\"),
        '\n' => quoted.push_str("\\n"),
        '\r' => quoted.push_str("\\r"),
        '\t' => quoted.push_str("\\t"),
        _ if is_unseen(c) || opens_a_frame(c, next) => {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(quoted, "\\u{unit:04x}");
            }
        }
        _ => quoted.push(c),
    }
}

/// Characters that break a line or are invisible. The joiner U+200D and the variation selectors are not among them,
/// because emoji need them.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}'
            | '\u{200b}' | '\u{200c}' | '\u{200e}' | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{fff9}'..='\u{fffb}'
            // Tag characters: an alphabet that models read and people do not see.
            | '\u{e0000}'..='\u{e007f}')
}

/// Runs of backticks, which fence code, and the brackets that chat templates put around roles.
fn opens_a_frame(c: char, next: Option<char>) -> bool {
    matches!(
        (c, next),
        ('`', Some('`')) | ('<', Some('|')) | ('|', Some('>'))
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unquote(quoted: &str) -> String {
        serde_json::from_str(quoted).unwrap()
    }

    #[test]
    fn plain_text_is_left_as_it_is() {
        let text = "¿Quién vio a mi perro? 👩‍👩‍👧‍👦 <3 `ls` a|b 東京";
        assert_eq!(quote(text, 100), format!("\"{text}\""));
    }

    #[test]
    fn separators_and_invisible_characters_are_escaped() {
        for (text, expected) in [
            ("a\"b\\c", r#""a\"b\\c""#),
            ("a\nb\r\tc", r#""a\nb\r\tc""#),
            ("\0\u{1b}\u{7f}\u{85}", r#""\u0000\u001b\u007f\u0085""#),
            ("\u{2028}\u{2029}", r#""\u2028\u2029""#),
            ("\u{202e}abc\u{202c}", r#""\u202eabc\u202c""#),
            ("zero\u{200b}width", r#""zero\u200bwidth""#),
            ("\u{e0041}", r#""\udb40\udc41""#),
            ("```json", r#""\u0060\u0060`json""#),
            ("<|im_start|>", r#""\u003c|im_start\u007c>""#),
        ] {
            assert_eq!(quote(text, 100), expected);
            assert_eq!(unquote(expected), text);
        }
    }

    #[test]
    fn a_long_text_is_truncated_between_characters_and_marked() {
        assert_eq!(quote("ñañaña", 6), "\"ñañaña\"");
        assert_eq!(quote("ñañaña", 5), "\"ñañañ […text cut here]\"");
        // A quote that was truncated after its escape would end the string early.
        assert_eq!(unquote(&quote("\"\"\"\"", 2)), format!("\"\"{CUT_MARKER}"));
    }

    proptest! {
        #[test]
        fn every_text_can_be_read_from_one_line(text in any::<String>()) {
            let quoted = quote(&text, usize::MAX);
            prop_assert_eq!(unquote(&quoted), text);
            prop_assert!(!quoted.chars().any(is_unseen));
        }

        #[test]
        fn fences_and_template_brackets_are_always_escaped(text in "[`<|> \n\"\\\\]{0,40}") {
            let quoted = quote(&text, usize::MAX);
            prop_assert!(!quoted.contains("``") && !quoted.contains("<|") && !quoted.contains("|>"));
            prop_assert_eq!(unquote(&quoted), text);
        }
    }
}
