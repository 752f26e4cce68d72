//! Small helpers for texts: counts with nouns, truncation, digests.

use sha2::{Digest, Sha256};

pub(crate) use crate::engine::count;

/// The first `limit` characters.
pub(crate) fn head(text: &str, limit: usize) -> &str {
    let end = text.char_indices().nth(limit);
    end.and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

/// The text, or its beginning and "…" if it has more than `limit` characters.
pub(crate) fn truncate(text: &str, limit: usize) -> String {
    if head(text, limit).len() == text.len() {
        return text.to_owned();
    }
    format!("{}…", head(text, limit.saturating_sub(1)))
}

/// The SHA-256 of a text's UTF-8, as 64 lowercase hex digits.
pub(crate) fn sha256_hex(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let nibbles = digest.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    nibbles
        .filter_map(|nibble| char::from_digit(nibble.into(), 16))
        .collect()
}

/// Whether a file that begins with these bytes is UTF-16. No other text has a NUL among its first two bytes.
pub(crate) fn is_utf16(bytes: &[u8]) -> bool {
    match bytes {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => true,
        [first, second, ..] => (*first == 0) != (*second == 0),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_truncated_between_characters() {
        assert_eq!(head("ñandú", 3), "ñan");
        assert_eq!(head("ñandú", 5), "ñandú");
        assert_eq!(truncate("ñandú", 5), "ñandú");
        assert_eq!(truncate("ñandú", 4), "ñan…");
        assert_eq!(truncate("ñandú", 0), "…");
        assert_eq!(truncate("", 0), "");
    }

    #[test]
    fn utf_16_is_seen_with_and_without_a_mark() {
        for start in [b"\xff\xfe{\0", b"\xfe\xff\0{", b"{\0\"\0", b"\0{\0\""] {
            assert!(is_utf16(start), "{start:?}");
        }
        for start in [&b""[..], b"{", b"{}", b"\xef\xbb\xbf{", b"\0\0"] {
            assert!(!is_utf16(start), "{start:?}");
        }
    }

    #[test]
    fn the_digest_of_abc_is_the_published_one() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_hex("abc"), expected);
    }
}
