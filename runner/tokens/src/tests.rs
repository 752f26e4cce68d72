use proptest::prelude::*;

use super::*;

fn old() -> Tokenizer {
    Tokenizer::cl100k()
}

fn new() -> Tokenizer {
    Tokenizer::o200k()
}

#[test]
fn counting_to_a_limit_agrees_with_counting() {
    for repeats in [40, 4_000] {
        let text = "Lost: one grey cat, answers to Biscuit. ".repeat(repeats);
        let count = old().count(&text);
        assert_eq!(old().count_to(&text, count), Some(count));
        assert_eq!(old().count_to(&text, count - 1), None);
    }
    assert_eq!(old().count_to("", 0), Some(0));
}

#[test]
fn a_text_that_fits_is_left_whole() {
    let piece = old().truncate("a b c", 3);
    let whole = Piece {
        text: "a b c",
        tokens: 3,
        truncated: false,
    };
    assert_eq!(piece, whole);
}

#[test]
fn a_character_of_several_tokens_is_never_split() {
    let text = "🏴󠁧󠁢󠁷󠁬󠁳󠁿".repeat(20);
    for limit in 0..40 {
        let piece = old().truncate(&text, limit);
        assert!(piece.tokens <= limit && text.starts_with(piece.text));
    }
}

/// In the newer vocabulary a token can end in the middle of a Georgian letter. The bytes that are
/// left of the letter count as more tokens than before.
#[test]
fn a_head_that_counts_more_than_before_is_truncated_further() {
    assert_eq!(new().count("წაუ"), 3);
    let piece = new().truncate("წაუძყფშჩკწტ", 2);
    assert_eq!((piece.text, piece.tokens), ("წა", 2));
}

/// An encoder that is quadratic in a word's length takes minutes for this.
#[test]
fn a_megabyte_without_a_boundary_is_counted_and_truncated() {
    for text in [
        "a".repeat(1 << 20),
        " ".repeat(1 << 20),
        "\n \t".repeat(1 << 18),
        "你好世界こんにちは".repeat(40_000),
    ] {
        let piece = old().truncate(&text, 1000);
        assert!(piece.truncated && piece.tokens > 990, "{}", piece.tokens);
        assert_eq!(old().count_to(&text, 1000), None);
        let (count, exact) = (old().count(&text), bpe_openai::cl100k_base().count(&text));
        assert!((exact..exact + 40).contains(&count), "{count} {exact}");
    }
}

/// Texts of all kinds: any characters, and runs of those that the vocabularies treat specially.
fn texts() -> impl Strategy<Value = String> {
    let run = prop_oneof![
        4 => "\\PC{0,12}",
        2 => "[a-zA-Z]{1,9}('(?i:s|t|re|ve|m|ll|d))?",
        2 => "[ \t\n\r\u{a0}\u{3000}]{1,6}",
        1 => "[0-9٣½Ⅷ]{1,7}",
        1 => "[-.,!?/\\\\_#*(){}<>|@\"'\n]{1,6}",
        1 => "[你好世界こんにちはカタカナ한국어]{1,8}",
        1 => "[ÅĀſKǅʰंაწუΑωσςщжя\u{301}\u{200d}\u{fe0f}👍🏽]{1,8}",
    ];
    proptest::collection::vec(run, 0..12).prop_map(|runs| runs.concat())
}

proptest! {
    /// Another crate, with another algorithm, finds the same tokens.
    #[test]
    fn the_tokens_are_those_that_another_implementation_finds(text in texts()) {
        prop_assert_eq!(old().vocabulary.encode(&text), bpe_openai::cl100k_base().encode(&text));
        prop_assert_eq!(new().vocabulary.encode(&text), bpe_openai::o200k_base().encode(&text));
    }

    #[test]
    fn the_pieces_of_a_text_are_the_text(text in "(\\PC|[ \n]){0,80}", limit in 0_usize..30) {
        let pieces: Vec<_> = old().split(&text, limit).collect();
        let whole: String = pieces.iter().map(|piece| piece.text).collect();
        prop_assert_eq!(&whole, &text);
        for piece in &pieces {
            prop_assert!(!piece.text.is_empty() && piece.tokens <= limit.max(4));
        }
    }

    #[test]
    fn a_truncated_text_fits_and_is_a_head(text in "(\\PC|[ \n]){0,60}", limit in 0_usize..30) {
        let tokenizer = old();
        let piece = tokenizer.truncate(&text, limit);
        prop_assert!(text.starts_with(piece.text));
        prop_assert_eq!(tokenizer.count(piece.text), piece.tokens);
        prop_assert!(piece.tokens <= limit);
        prop_assert_eq!(piece.truncated, tokenizer.count(&text) > limit);
        prop_assert_eq!(piece.truncated, piece.text != text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, max_shrink_iters: 100, ..Default::default() })]

    #[test]
    fn the_parts_of_a_text_count_as_the_text_does(
        runs in proptest::collection::vec(texts(), 20),
        repeats in 20_usize..60,
    ) {
        let text = runs.join(" ").repeat(repeats);
        let whole: String = parts(&text).collect();
        prop_assert_eq!(&whole, &text);
        for tokenizer in [old(), new()] {
            prop_assert_eq!(tokenizer.count(&text), tokenizer.vocabulary.count(&text));
        }
    }
}
