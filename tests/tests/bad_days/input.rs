//! What other programs write: numbers with a point, ids without quotes, epochs, byte order marks, UTF-16, and lines of
//! a `.env` that are not ours.

use secrecy::ExposeSecret;
use serde_json::json;
use sluice_tests::{Program, Stack};

const NOWHERE: &str = "http://127.0.0.1:9/v1";

#[tokio::test]
async fn numbers_ids_and_times_are_read_as_other_programs_write_them() {
    let stack = Stack::fresh().await;
    let program = Program::on(&stack, NOWHERE);
    let lines = "\u{feff}{\"content\":\"a\",\"reaction_count\":3.0,\"author_id\":12345,\"posted_at\":1767225600}\r\n\
        {\"content\":\"b\",\"reaction_count\":\"3\",\"author_id\":\"12345\",\"posted_at\":1767225600000}\r\n\
        {\"content\":\"c\",\"reaction_count\":3e0,\"author_id\":12345.0,\"posted_at\":\"1767225600\"}\r\n";
    let run = program
        .run_with_input(&["store", "-", "--output", "json"], lines.as_bytes())
        .await;
    assert_eq!(run.code, Some(0), "{}{}", run.stdout, run.stderr);
    let rows = stack
        .rows(
            "select count(*)::int as posts, count(distinct user_id_hash)::int as authors,
               min(reaction_count) as fewest, max(reaction_count) as most,
               count(*) filter (where posted_at = '2026-01-01T00:00:00Z')::int as on_time from posts",
        )
        .await;
    let expected = json!({"posts": 3, "authors": 1, "fewest": 3, "most": 3, "on_time": 3});
    assert_eq!(rows, [expected]);
}

#[tokio::test]
async fn utf_16_is_named_once_with_the_way_out() {
    let stack = Stack::fresh().await;
    let program = Program::on(&stack, NOWHERE);
    let text = "{\"content\":\"lost cat\"}\r\n".repeat(500);
    let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    for bytes in [
        [&[0xff, 0xfe][..], &little].concat(),
        [&[0xfe, 0xff][..], &big].concat(),
        little,
        big,
    ] {
        let file = program.file("posts.jsonl", bytes);
        let run = program
            .run(&["store", file.to_str().unwrap(), "--output", "json"])
            .await;
        let report = run.json();
        assert_eq!(run.code, Some(2), "{report}");
        assert_eq!(report["counts"]["failed"], 0, "{report}");
        assert_eq!(report["requests"]["supabase"], 0, "{report}");
        let reason = report["reason"].as_str().unwrap();
        assert!(
            reason.contains("UTF-16") && reason.contains("iconv"),
            "{reason}"
        );
    }
}

#[tokio::test]
async fn more_failures_than_are_listed_are_counted() {
    let stack = Stack::fresh().await;
    let program = Program::on(&stack, NOWHERE);
    let lines = "[]\n".repeat(1_005);
    let store = ["store", "-", "--output", "json"];
    let run = program.run_with_input(&store, lines.as_bytes()).await;
    let report = run.json();
    assert_eq!(report["failures"].as_array().unwrap().len(), 1_000);
    let warnings = &report["warnings"];
    assert_eq!(
        warnings[0], "and 5 more lines failed than are listed",
        "{warnings}"
    );
}

#[tokio::test]
async fn more_warnings_than_are_shown_are_counted() {
    let stack = Stack::fresh().await;
    let program = Program::on(&stack, NOWHERE);
    let line = |i: u32| format!("{{\"content\":\"{i}\",\"timestamp_relative\":\"someday\"}}\n");
    let lines: String = (0..130).map(line).collect();
    let run = program
        .run_with_input(&["store", "-", "--output", "json"], lines.as_bytes())
        .await;
    let report = run.json();
    let warnings = report["warnings"].as_array().unwrap();
    assert_eq!(
        warnings.last().unwrap(),
        "and 30 more warnings of this kind"
    );
}

/// The variables of a program on this stack, as lines of a `.env`.
fn dot_env(stack: &Stack) -> String {
    format!(
        "POSTGREST_URL={}\r\nSUPABASE_SERVICE_KEY={}\r\n",
        stack.postgrest_url(),
        stack.key().expose_secret()
    )
}

#[tokio::test]
async fn lines_of_dot_env_that_are_not_ours_are_skipped_and_named_with_v() {
    let stack = Stack::fresh().await;
    let program = Program::bare();
    let foreign = "APP_NAME=My App\nMOTD=It's on\n";
    program.file(".env", format!("\u{feff}{foreign}{}", dot_env(&stack)));
    let run = program.complete(&["status"]).await;
    assert_eq!(run.stderr, "");
    let run = program.complete(&["status", "-v"]).await;
    assert!(
        run.stderr.contains("line 1 of .env is left out"),
        "{}",
        run.stderr
    );
    assert!(
        run.stderr.contains("line 2 of .env is left out"),
        "{}",
        run.stderr
    );
    assert!(!run.stderr.contains("line 3"), "{}", run.stderr);
    assert!(!run.stderr.contains("My App"), "{}", run.stderr);

    // A mark before our own variable.
    program.file(".env", format!("\u{feff}{}", dot_env(&stack)));
    program.complete(&["status"]).await;
}

#[tokio::test]
async fn no_dot_env_stops_a_command_whose_variables_are_set() {
    let stack = Stack::fresh().await;
    let program = Program::on(&stack, NOWHERE);
    let utf_16: Vec<u8> = "\u{feff}A=b\r\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    for (file, said) in [
        (&b"APP_NAME=My App\n"[..], ""),
        (b"NAME='open\n", ""),
        (b"NAME=caf\xe9 latte\n", ""),
        (
            b"OPENAI_API_KEY=two words\n",
            "line 1 of .env is left out: OPENAI_API_KEY is not",
        ),
        (&utf_16, "iconv"),
    ] {
        program.file(".env", file);
        let run = program.complete(&["status"]).await;
        assert!(run.stderr.contains(said), "{}", run.stderr);
        assert_eq!(
            run.stderr.lines().count(),
            usize::from(!said.is_empty()),
            "{}",
            run.stderr
        );
    }
    let path = program.file(".env", "");
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert_eq!(program.complete(&["status"]).await.stderr, "");
}
