//! What a newcomer does wrong at night: each mistake gets one line with the way out, and its exit code.

use std::net::TcpListener;

use sluice_tests::{OwnStack, Program, Run, Stack};

use crate::support::slow;

/// Asserts that a run said this in one line.
fn assert_said(run: &Run, code: i32, words: &[&str]) {
    assert_eq!(run.code, Some(code), "{}{}", run.stdout, run.stderr);
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    assert!(run.stderr.starts_with("error: "), "{}", run.stderr);
    for word in words {
        assert!(run.stderr.contains(word), "{word}: {}", run.stderr);
    }
}

#[tokio::test]
async fn each_mistake_gets_one_line_with_the_way_out() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(slow(0)).await;
    let openai = simulator.base_url();
    let right = || Program::on(&stack, &openai);

    let run = Program::bare().run(&["embed"]).await;
    assert_said(&run, 2, &["SUPABASE_URL is not set", "sluice local up"]);
    let run = right()
        .with("SUPABASE_SERVICE_KEY", "wrong")
        .run(&["status"])
        .await;
    assert_said(
        &run,
        6,
        &["refuses the key", "SUPABASE_SERVICE_KEY", "sluice doctor"],
    );
    let run = right()
        .with("POSTGREST_URL", "nowhere")
        .run(&["status"])
        .await;
    assert_said(&run, 2, &["POSTGREST_URL", "not a URL"]);
    let run = right()
        .with("POSTGREST_URL", &openai)
        .run(&["status"])
        .await;
    assert_said(
        &run,
        6,
        &["something else", "check SUPABASE_URL", "sluice doctor"],
    );
    let run = right().with("OPENAI_API_KEY", "").run(&["embed"]).await;
    assert_said(&run, 2, &["OPENAI_API_KEY is not set", "sluice simulate"]);
    let run = right().run(&["store", "missing.jsonl"]).await;
    assert_said(&run, 2, &["failed to open missing.jsonl"]);
    let run = right()
        .run(&["embed", "--report-html", "missing/page.html"])
        .await;
    assert_said(&run, 2, &["failed to open missing/page.html"]);

    let empty = OwnStack::empty().await;
    let run = empty.program(&openai).run(&["status"]).await;
    assert_said(&run, 6, &["sluice schema apply --db-url URL"]);

    let program = right();
    program.file("posts.csv", "text,author\nhello,me\n");
    let run = program.run(&["store", "posts.csv"]).await;
    assert_eq!(run.code, Some(2), "{}", run.stderr);
    let said = "names no column `content`";
    assert!(run.stdout.contains(said), "{}", run.stdout);
    let run = program.run(&["embde"]).await;
    assert_eq!(run.code, Some(2), "{}", run.stderr);
    assert!(
        run.stderr.contains("similar subcommand exists: 'embed'"),
        "{}",
        run.stderr
    );
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_with_the_option_that_helps() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for command in [["local", "up"].as_slice(), &["simulate"]] {
        let run = Program::bare()
            .run(&[command, &["--port", &port]].concat())
            .await;
        assert_said(&run, 2, &[&port, "--port"]);
    }
}
