//! Half surrogates in JSON: an escape such as `\\ud83d` that has no second half, which is no character.

use std::borrow::Cow;

/// Replaces each half of a surrogate pair that stands alone in JSON by U+FFFD, as models sometimes break off an
/// emoji in the middle. Everything else stays as it is.
///
/// ```
/// use sluice_provider::mend_surrogates;
///
/// assert_eq!(mend_surrogates(r#""a \ud83d""#), r#""a \ufffd""#);
/// assert_eq!(mend_surrogates(r#""\ud83d\ude00 \\ud83d""#), r#""\ud83d\ude00 \\ud83d""#);
/// ```
pub fn mend_surrogates(json: &str) -> Cow<'_, str> {
    let mut mended = String::new();
    let (mut copied, mut place) = (0, 0);
    while let Some(found) = json.get(place..).and_then(|rest| rest.find('\\')) {
        let escape = place + found;
        place = match (unit(json, escape), unit(json, escape + UNIT)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => escape + 2 * UNIT,
            (Some(0xD800..=0xDFFF), _) => {
                mended.push_str(json.get(copied..escape).unwrap_or_default());
                mended.push_str("\\ufffd");
                copied = escape + UNIT;
                copied
            }
            (Some(_), _) => escape + UNIT,
            // Another escape, such as an escaped backslash.
            (None, _) => escape + 2,
        };
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    mended.push_str(json.get(copied..).unwrap_or_default());
    Cow::Owned(mended)
}

/// The bytes of an escape such as `\\ud83d`.
const UNIT: usize = 6;

/// The number of the escape at this place, if there is one.
fn unit(json: &str, place: usize) -> Option<u32> {
    let digits = json.get(place..place + UNIT)?.strip_prefix("\\u")?;
    u32::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_half_surrogates_are_replaced() {
        for (json, expected) in [
            (r#""\ud83d""#, r#""\ufffd""#),
            (r#""\ude00\ud83d""#, r#""\ufffd\ufffd""#),
            (r#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
            (r#""\uD83D\n""#, r#""\ufffd\n""#),
            (r#""\\\ud83d""#, r#""\\\ufffd""#),
            (r#""\\ud83d é \u00e9""#, r#""\\ud83d é \u00e9""#),
            (r#""\ud8"#, r#""\ud8"#),
            (r#""é\"#, r#""é\"#),
            ("é\\é", "é\\é"),
        ] {
            assert_eq!(mend_surrogates(json), expected);
        }
    }

    proptest! {
        #[test]
        fn every_text_of_escapes_can_be_read(units in prop::collection::vec(0xD7F0_u32..0xE010, 0..12)) {
            let escapes: Vec<String> = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
            let json = format!("\"{}\"", escapes.concat());
            let read: Result<String, _> = serde_json::from_str(&mend_surrogates(&json));
            prop_assert!(read.is_ok(), "{json}");
        }
    }
}
