//! One encoder for each position in PostgREST's grammar. No other module escapes anything.
//!
//! The positions differ, and a value encoded for one of them is wrong in another. At the top level,
//! quotes are part of the value. In a list, a missing quote drops the rest of the list. In a path,
//! nothing is quoted at all. See "Reserved characters" in PostgREST's reference on URL grammar.

mod json;
mod row;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

pub(crate) use json::{to_vec, without_digits};
pub(crate) use row::{Columns, Row, RowWriter};

/// The characters that are not percent-encoded in a query. RFC 3986 allows commas, parentheses,
/// colons and stars there, and leaving them fits more of a long list into a URL.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b',')
    .remove(b'(')
    .remove(b')')
    .remove(b':')
    .remove(b'*')
    .remove(b'!');

/// The characters that are not percent-encoded in a path segment: the unreserved ones.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The parameter names that PostgREST reads as its own; a column of such a name must be quoted.
const RESERVED: [&str; 9] = [
    "select",
    "columns",
    "on_conflict",
    "order",
    "limit",
    "offset",
    "and",
    "or",
    "not",
];

/// Writes `text` between quotes: an element of a list, a value inside `and=(…)` or `or=(…)`, an
/// identifier or JSON key that needs quotes.
pub(crate) fn quoted(text: &str, out: &mut String) {
    out.push('"');
    escaped(text, out);
    out.push('"');
}

/// Writes an identifier: bare if it has only letters, digits, `_` and `$`, quoted otherwise.
pub(crate) fn identifier(name: &str, out: &mut String) {
    if is_plain(name) {
        out.push_str(name);
    } else {
        quoted(name, out);
    }
}

/// Writes identifiers with commas between them.
pub(crate) fn identifiers(names: &[impl AsRef<str>]) -> String {
    let mut out = String::new();
    for (position, name) in names.iter().enumerate() {
        if position > 0 {
            out.push(',');
        }
        identifier(name.as_ref(), &mut out);
    }
    out
}

/// Whether PostgREST reads a parameter of this name as its own.
pub(crate) fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
}

/// Writes an identifier that begins a parameter's name. PostgREST's own names are quoted there.
pub(crate) fn leading_identifier(name: &str, out: &mut String) {
    if is_reserved(name) {
        quoted(name, out);
    } else {
        identifier(name, out);
    }
}

/// Writes a key of a JSON path. Digits alone would be read as an array index, so they are quoted.
pub(crate) fn json_key(key: &str, out: &mut String) {
    if is_plain(key) && !key.bytes().all(|byte| byte.is_ascii_digit()) {
        out.push_str(key);
    } else {
        quoted(key, out);
    }
}

/// Writes an element of a Postgres array literal (`{"a","b"}`), which has its own quoting.
pub(crate) fn array_element(text: &str, out: &mut String) {
    quoted(text, out);
}

/// Percent-encodes a name or a value of the query.
pub(crate) fn query(text: &str, out: &mut String) {
    out.extend(utf8_percent_encode(text, QUERY));
}

/// Percent-encodes a segment of the path. Nothing is quoted there: PostgREST takes the decoded
/// segment as the name.
pub(crate) fn segment(text: &str, out: &mut String) {
    out.extend(utf8_percent_encode(text, SEGMENT));
}

/// The length of what [`query`] would write.
pub(crate) fn query_len(text: &str) -> usize {
    utf8_percent_encode(text, QUERY).map(str::len).sum()
}

fn escaped(text: &str, out: &mut String) {
    let mut rest = text;
    // Both are single bytes in UTF-8, so the text can be split at them.
    while let Some(at) = rest.bytes().position(|byte| matches!(byte, b'"' | b'\\')) {
        let (before, from) = rest.split_at(at);
        let (special, after) = from.split_at(1);
        out.extend([before, "\\", special]);
        rest = after;
    }
    out.push_str(rest);
}

fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(encoder: fn(&str, &mut String), text: &str) -> String {
        let mut out = String::new();
        encoder(text, &mut out);
        out
    }

    #[test]
    fn quotes_and_backslashes_are_escaped_between_quotes() {
        assert_eq!(written(quoted, r#"a"b\c,d"#), r#""a\"b\\c,d""#);
        assert_eq!(written(quoted, r#"é""\"#), r#""é\"\"\\""#);
    }

    #[test]
    fn an_identifier_is_quoted_only_where_it_must_be() {
        assert_eq!(written(identifier, "created_at"), "created_at");
        assert_eq!(written(identifier, "a.b"), r#""a.b""#);
        assert_eq!(written(identifier, ""), r#""""#);
        assert_eq!(written(identifier, "order"), "order");
        assert_eq!(written(leading_identifier, "order"), r#""order""#);
    }

    #[test]
    fn a_json_key_of_digits_is_not_an_index() {
        assert_eq!(written(json_key, "1"), r#""1""#);
        assert_eq!(written(json_key, "a1"), "a1");
        assert_eq!(written(json_key, "x y"), r#""x y""#);
    }

    #[test]
    fn the_length_is_that_of_the_encoding() {
        for text in ["", "a,b", "日本 %&+", "(\"x\")"] {
            assert_eq!(query_len(text), written(query, text).len());
        }
        assert_eq!(written(query, "a b,(c)+&"), "a%20b,(c)%2B%26");
        assert_eq!(written(segment, "a/b,c"), "a%2Fb%2Cc");
    }
}
