use super::*;
use proptest::prelude::*;
use serde_json::json;

fn now() -> Timestamp {
    "2026-03-31T12:30:00Z".parse().unwrap()
}

fn read(line: &str) -> Parsed {
    parse(line.as_bytes(), 7, now())
}

fn good(line: &str) -> (NewPost, Vec<LineWarning>) {
    match read(line) {
        Parsed::Post { post, warnings } => (*post, warnings),
        other => panic!("{line} is read as {other:?}"),
    }
}

fn reason(line: &str) -> String {
    match read(line) {
        Parsed::Bad(warning) => warning.reason,
        other => panic!("{line} is read as {other:?}"),
    }
}

/// A post with one field set to a value.
fn with(field: &str, value: &Value) -> String {
    let mut fields = json!({"content": "lost cat"});
    fields[field] = value.clone();
    fields.to_string()
}

#[test]
fn every_field_of_a_full_line_finds_its_place() {
    let line = json!({
        "author_id": "a1", "author_name": "Ann", "content": " lost cat\n", "content_hash": "abc",
        "neighborhood": " St. Johns ", "post_url": "https://x.test/p/77?ref=1",
        "reaction_count": 3, "timestamp_relative": "2h", "image_urls": ["https://x.test/1.png"],
        "comments": [{"text": "seen it", "likes": 2}], "surprise": {"nested": [1, "\u{0}"]},
    });
    let (post, warnings) = good(&line.to_string());
    let expected = NewPost {
        neighborhood: "St. Johns".to_owned(),
        post_id_ext: "77".to_owned(),
        user_id_hash: Some(
            "f55ff16f66f43360266b95db6f8fec01d76031054306ae4a4b380598f6cfd114".to_owned(),
        ),
        author_name: Some("Ann".to_owned()),
        text: " lost cat\n".to_owned(),
        hash: "abc".to_owned(),
        url: Some("https://x.test/p/77?ref=1".to_owned()),
        image_urls: json!(["https://x.test/1.png"]),
        comments: json!([{"text": "seen it", "likes": 2}]),
        reaction_count: 3,
        posted_at: Some("2026-03-31T10:30:00Z".parse().unwrap()),
    };
    assert_eq!((post, warnings), (expected, vec![]));
}

#[test]
fn a_text_alone_is_a_post() {
    let (post, warnings) = good(r#"{"content":"lost cat"}"#);
    assert_eq!(warnings, vec![]);
    assert_eq!(post.neighborhood, UNKNOWN_NEIGHBORHOOD);
    assert_eq!(post.hash, sha256_hex("\0lost cat"));
    assert_eq!(post.post_id_ext, post.hash[..32]);
    assert_eq!(
        (post.user_id_hash, post.author_name, post.url),
        (None, None, None)
    );
    assert_eq!((post.image_urls, post.comments), (json!([]), json!([])));
    assert_eq!((post.reaction_count, post.posted_at), (0, None));
}

#[test]
fn null_and_blank_count_as_absent() {
    let alone = good(r#"{"content":"lost cat"}"#);
    for name in [
        "author_id",
        "author_name",
        "neighborhood",
        "post_url",
        "timestamp_relative",
        "posted_at",
    ] {
        for value in [Value::Null, json!(""), json!(" \u{3000}\n")] {
            assert_eq!(good(&with(name, &value)), alone, "{name}: {value}");
        }
    }
    for name in ["content_hash", "reaction_count", "image_urls", "comments"] {
        assert_eq!(good(&with(name, &Value::Null)), alone, "{name}");
    }
}

#[test]
fn the_hash_depends_on_author_and_text_and_on_where_one_ends() {
    let hash = |author: &str, content: &str| {
        good(&json!({"author_id": author, "content": content}).to_string())
            .0
            .hash
    };
    assert_ne!(hash("a", "bc"), hash("ab", "c"));
    assert_ne!(hash("a", "c"), hash("b", "c"));
    assert_eq!(hash("a", "c"), hash("a", "c"));
}

#[test]
fn the_id_comes_from_the_path_or_the_hash() {
    let long = "x".repeat(MAX_ID_CHARS + 1);
    let of_hash = good(r#"{"content":"lost cat"}"#).0.post_id_ext;
    for (url, expected) in [
        ("https://x.test/p/77", "77"),
        ("https://x.test/p/77/comments#c1", "77"),
        ("https://x.test/p/Zürich?x=/p/1", "Zürich"),
        ("https://x.test/?next=/p/77", of_hash.as_str()),
        ("https://x.test/p/", of_hash.as_str()),
        ("https://x.test/posts/77", of_hash.as_str()),
        (&format!("https://x.test/p/{long}"), of_hash.as_str()),
    ] {
        assert_eq!(
            good(&with("post_url", &json!(url))).0.post_id_ext,
            expected,
            "{url}"
        );
    }
}

#[test]
fn blank_lines_are_no_error() {
    for line in ["", "\n", "\r\n", " \t\u{3000}", "\u{feff}\r\n"] {
        assert_eq!(read(line), Parsed::Blank, "{line:?}");
    }
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_are_tolerated() {
    let line = r#"{"content":"lost cat"}"#;
    assert_eq!(good(&format!("\u{feff}{line}\r\n")), good(line));
}

#[test]
fn an_unknown_age_is_a_warning_and_an_invalid_time_an_error() {
    let (post, warnings) = good(&with("timestamp_relative", &json!("a blue moon ago")));
    assert_eq!(post.posted_at, None);
    assert_eq!(
        warnings[0].to_string(),
        "line 7: timestamp_relative \"a blue moon ago\" is not an age like \"2h\" or \"3 days \
         ago\"; stored without a time"
    );
    assert_eq!(
        reason(&with("posted_at", &json!("2026-02-30T25:61:00Z"))),
        "posted_at \"2026-02-30T25:61:00Z\" is not a time in the years 1 to 9999; write it like \
         2026-05-01T12:00:00Z or 2026-05-01"
    );
}

#[test]
fn a_written_time_goes_before_an_age() {
    let line = json!({
        "content": "lost cat", "posted_at": "2026-01-01", "timestamp_relative": "a blue moon ago",
    });
    let (post, warnings) = good(&line.to_string());
    assert_eq!(
        post.posted_at,
        Some("2026-01-01T00:00:00Z".parse().unwrap())
    );
    assert_eq!(warnings, vec![]);
}

#[test]
fn lines_that_are_not_json_objects_say_where_and_what_to_do() {
    for (line, expected) in [
        (
            "not json at all",
            "not JSON: expected ident at column 2; write each post as one JSON object on one line",
        ),
        (
            "{\"content\":\"cut in the mid",
            "not JSON: EOF while parsing a string at column 26; the line is cut off: write each \
             post whole, on one line",
        ),
        (
            r#"{"content":"x \ud800 y"}"#,
            "not JSON: unexpected end of hex escape at column 21; half of a \\u pair is not \
             text: drop it or write the other half",
        ),
        (
            "[1,2,3]",
            "not an object but an array; write each post as {\"content\": …} on one line",
        ),
        (
            "null",
            "not an object but null; write each post as {\"content\": …} on one line",
        ),
    ] {
        assert_eq!(reason(line), expected, "{line}");
    }
    let latin1 = parse(b"{\"content\":\"caf\xe9\"}", 7, now());
    let Parsed::Bad(warning) = latin1 else {
        panic!("{latin1:?}")
    };
    assert_eq!(
        warning.reason,
        "not UTF-8 at byte 16; save the file as UTF-8"
    );
}

#[test]
fn a_line_is_bounded() {
    let frame = r#"{"content":""}"#.len();
    let line = |length: usize| format!(r#"{{"content":"{}"}}"#, "x".repeat(length - frame));
    assert_eq!(
        good(&line(MAX_LINE_BYTES)).0.text.len(),
        MAX_LINE_BYTES - frame
    );
    assert_eq!(
        reason(&line(MAX_LINE_BYTES + 1)),
        "longer than 4194304 bytes, the most that a line may have; shorten the post"
    );
}

#[test]
fn deep_nesting_is_refused_rather_than_followed() {
    let comments = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let line = format!(r#"{{"content":"x","comments":{comments}}}"#);
    assert!(
        reason(&line).contains("recursion limit exceeded"),
        "{}",
        reason(&line)
    );
}

#[test]
fn a_post_needs_a_text() {
    let missing = "content is missing; every post needs its text in \"content\"";
    assert_eq!(reason(r#"{"author_id":"a1"}"#), missing);
    assert_eq!(reason(r#"{"content":null}"#), missing);
    for blank in ["", "\n \t", "\u{3000}\u{a0}\u{2028}"] {
        let line = with("content", &json!(blank));
        assert_eq!(
            reason(&line),
            "content is blank; leave posts without a text out"
        );
    }
    // A zero-width space is a character, though one does not see it.
    assert_eq!(
        good(&with("content", &json!("\u{200b}"))).0.text,
        "\u{200b}"
    );
}

#[test]
fn a_nul_is_found_wherever_it_would_be_stored() {
    for (name, value, place) in [
        ("content", json!("a\u{0}b"), "content"),
        ("author_id", json!("\u{0}"), "author_id"),
        ("author_name", json!("\u{0}"), "author_name"),
        ("neighborhood", json!("a\u{0}"), "neighborhood"),
        ("post_url", json!("a\u{0}"), "post_url"),
        ("content_hash", json!("a\u{0}"), "content_hash"),
        ("image_urls", json!(["a", "\u{0}"]), "image_urls[1]"),
        (
            "comments",
            json!([{}, {"text": ["\u{0}"]}]),
            "comments[1].text[0]",
        ),
        ("comments", json!([{"a\u{0}": 1}]), "a key of comments[0]"),
    ] {
        assert_eq!(
            reason(&with(name, &value)),
            format!(
                "{place} contains a NUL character (\\u0000), which Postgres cannot store; remove it"
            )
        );
    }
}

#[test]
fn what_a_column_cannot_hold_is_refused_with_the_limit() {
    for (name, limit, way_out) in [
        ("post_url", MAX_URL_CHARS, "shorten it or leave it out"),
        ("neighborhood", slug::MAX_LEN, "shorten it or leave it out"),
        (
            "content_hash",
            MAX_HASH_CHARS,
            "give a SHA-256 in hex, or leave it out to have it computed",
        ),
    ] {
        assert!(matches!(
            read(&with(name, &json!("é".repeat(limit)))),
            Parsed::Post { .. }
        ));
        assert_eq!(
            reason(&with(name, &json!("é".repeat(limit + 1)))),
            format!(
                "{name} has {} characters, and the limit is {limit}; {way_out}",
                limit + 1
            )
        );
    }
    let blank = reason(&with("content_hash", &json!(" ")));
    assert_eq!(
        blank,
        "content_hash is blank; leave it out to have it computed"
    );
}

#[test]
fn the_wrong_type_is_named() {
    for name in [
        "author_id",
        "author_name",
        "content",
        "content_hash",
        "neighborhood",
        "post_url",
        "posted_at",
    ] {
        let line = with(name, &json!(true));
        assert_eq!(
            reason(&line),
            format!("{name} must be a string, not a boolean")
        );
    }
    for name in ["content", "post_url"] {
        let line = with(name, &json!(12));
        assert_eq!(
            reason(&line),
            format!("{name} must be a string, not a number")
        );
    }
    for name in ["image_urls", "comments"] {
        let line = with(name, &json!("x"));
        assert_eq!(
            reason(&line),
            format!("{name} must be an array, not a string")
        );
    }
}

#[test]
fn numbers_are_ids_and_names_as_if_they_were_quoted() {
    for name in ["author_id", "author_name", "content_hash", "neighborhood"] {
        let quoted = good(&with(name, &json!("12345")));
        assert_eq!(good(&with(name, &json!(12345))), quoted, "{name}");
        assert_eq!(good(&with(name, &json!(12345.0))), quoted, "{name}");
        for lossy in ["1.5", "12345678901234567890123", "1e300"] {
            let line = format!(r#"{{"content":"x","{name}":{lossy}}}"#);
            let said = reason(&line);
            assert!(said.contains("may have lost digits"), "{said}");
        }
    }
    let largest = good(&with("content_hash", &json!(u64::MAX))).0.hash;
    assert_eq!(largest, u64::MAX.to_string());
}

#[test]
fn a_time_may_be_seconds_or_milliseconds() {
    let expected = Some("2026-01-01T00:00:00Z".parse().unwrap());
    for value in [
        json!(1_767_225_600),
        json!(1_767_225_600.0),
        json!(1_767_225_600_000_u64),
        json!("1767225600"),
        json!(" 1767225600000 "),
    ] {
        assert_eq!(
            good(&with("posted_at", &value)).0.posted_at,
            expected,
            "{value}"
        );
    }
    let said = reason(&with("posted_at", &json!(20_260_501)));
    assert!(said.starts_with("posted_at 20260501 is neither"), "{said}");
}

#[test]
fn a_reaction_count_is_an_int4() {
    let count = |value: Value| good(&with("reaction_count", &value)).0.reaction_count;
    assert_eq!(count(json!(i32::MAX)), i32::MAX);
    assert_eq!(count(json!(-1)), -1);
    for three in [
        json!(3.0),
        json!("3"),
        json!("3.0"),
        json!(" 3 "),
        json!(0.3e1),
    ] {
        assert_eq!(count(three), 3);
    }
    assert_eq!(count(json!(" ")), 0);
    let refused = |value: Value| reason(&with("reaction_count", &value));
    assert_eq!(
        refused(json!("many")),
        "reaction_count must be a whole number, not a string"
    );
    for (value, written) in [
        (json!(99_999_999_999_u64), "99999999999"),
        (json!(1.5), "1.5"),
        (json!(u64::MAX), "18446744073709551615"),
    ] {
        assert_eq!(
            refused(value),
            format!(
                "reaction_count {written} is not a whole number from -2147483648 to 2147483647"
            )
        );
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(line in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Parsed::Post { post, .. } = parse(&line, 1, now()) {
            prop_assert!(!post.text.trim().is_empty());
        }
    }

    #[test]
    fn every_post_that_is_taken_fits_its_columns(
        content in any::<String>(),
        name in any::<String>(),
        url in "(https://x\\.test)?/p/[^\u{0}]{0,300}",
        author in any::<Option<String>>(),
        age in any::<Option<String>>(),
    ) {
        let line = json!({
            "content": content, "neighborhood": name, "post_url": url, "author_id": author,
            "timestamp_relative": age,
        });
        if let Parsed::Post { post, .. } = read(&line.to_string()) {
            prop_assert_eq!(&post.text, &content);
            prop_assert!(!post.neighborhood.trim().is_empty());
            prop_assert!(post.neighborhood.chars().count() <= 255);
            prop_assert!((1..=255).contains(&post.post_id_ext.chars().count()));
            prop_assert_eq!(post.hash.len(), 64);
            prop_assert!(post.user_id_hash.is_none_or(|hash| hash.len() == 64));
            for text in [post.text, post.neighborhood, post.post_id_ext] {
                prop_assert!(!text.contains('\0'));
            }
        }
    }
}
