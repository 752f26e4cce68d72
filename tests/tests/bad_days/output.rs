//! Lists are whole although the server caps them, and a stdout that cannot be written is noticed.

use std::collections::BTreeSet;
use std::fs::File;
use std::process::Stdio;

use serde_json::Value;
use sluice_tests::{OwnStack, Program};

const POSTS: &str = "insert into neighborhoods (id, name, slug)
     values ('00000000-0000-4000-8000-000000000000', 'Elm', 'elm');
   insert into posts (neighborhood_id, post_id_ext, text, hash)
     select '00000000-0000-4000-8000-000000000000', 'ext' || i, 'text ' || i, 'hash' || i
     from generate_series(1, 75) as i;
   insert into work_items (kind, post_id, attempts, dead, last_error)
     select kind, id, 1, kind = 'embed', 'broken'
     from posts cross join (values ('embed'), ('score')) as kinds (kind);";

const JOBS: &str = "insert into background_jobs (type, status, created_at)
     select 'rescore_all', 'completed',
       case when i % 5 = 0 then null else now() - (i / 7) * interval '1 minute' end
     from generate_series(1, 150) as i;";

/// What a list has, in its order.
async fn ids(program: &Program, arguments: &[&str], keys: &[&str]) -> Vec<String> {
    let list = program.json(arguments).await;
    let id = |row: &Value| -> String { keys.iter().map(|key| row[key].to_string()).collect() };
    list.as_array().unwrap().iter().map(id).collect()
}

#[tokio::test]
async fn lists_are_whole_although_the_server_caps_them() {
    let stack = OwnStack::capped(20).await;
    stack.sql(POSTS).await;
    stack.sql(JOBS).await;
    let program = stack.program("http://127.0.0.1:9/v1");
    for (list, keys) in [
        ("failures", &["kind", "post_id"][..]),
        ("jobs", &["id"][..]),
    ] {
        let of = async |limit: &str| ids(&program, &[list, "list", "--limit", limit], keys).await;
        let all = of("5000").await;
        let different: BTreeSet<_> = all.iter().collect();
        assert_eq!((all.len(), different.len()), (150, 150), "{list}");
        assert_eq!(of("150").await, all, "{list}");
        assert_eq!(of("33").await, all[..33], "{list}");
        assert_eq!(of("0").await, [""; 0], "{list}");
        for (limit, says) in [("33", 1), ("149", 1), ("150", 0), ("75", 1)] {
            let run = program.complete(&[list, "list", "--limit", limit]).await;
            let said = run.stderr.matches("there are more; --limit shows more");
            assert_eq!(said.count(), says, "{list} {limit}: {}", run.stderr);
        }
    }
    let failures = program.json(&["failures", "list", "--limit", "5000"]).await;
    let failures = failures.as_array().unwrap();
    let dead = failures.iter().take_while(|row| row["dead"] == true);
    assert_eq!(dead.count(), 75, "dead letters come first");
    let table = program
        .complete(&["failures", "list", "--limit", "5000"])
        .await;
    assert_eq!(table.stdout.matches("broken").count(), 150);
    let embeds = ["failures", "list", "--kind", "embed", "--limit", "5000"];
    assert_eq!(ids(&program, &embeds, &["post_id"]).await.len(), 75);
}

/// Commands that print without a service.
const PRINTING: &[&[&str]] = &[
    &["schema", "config"],
    &["schema", "report", "--output", "json"],
    &["completions", "bash"],
    &["doctor"],
    &["doctor", "--output", "json"],
    &["schema", "migrations", "migrations"],
    &["simulate", "--port", "0"],
    &["--version"],
    &["--help"],
    &["help", "store"],
];

#[cfg(target_os = "linux")]
#[tokio::test]
async fn full_disk_below_stdout_is_an_error() {
    let program = Program::bare();
    for command in PRINTING {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let run = program.run_into(command, full).await;
        assert_eq!(run.code, Some(1), "{command:?}: {}", run.stderr);
        let said = "error: failed to write to stdout: No space left on device";
        assert!(run.stderr.contains(said), "{command:?}: {}", run.stderr);
        assert_eq!(run.stderr.lines().count(), 1, "{command:?}: {}", run.stderr);
    }
}

#[tokio::test]
async fn report_on_a_full_disk_is_an_error_after_the_posts_are_stored() {
    let stack = OwnStack::migrated().await;
    let program = stack.program("http://127.0.0.1:9/v1");
    let file = program.file("posts.jsonl", r#"{"content":"lost cat"}"#);
    let full = File::options().write(true).open("/dev/full").unwrap();
    let command = ["store", file.to_str().unwrap(), "--output", "json"];
    let run = program.run_into(&command, full).await;
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert_eq!(stack.count("select count(*) from posts").await, 1);
}

#[cfg(unix)]
#[tokio::test]
async fn closed_pipe_is_quiet() {
    let program = Program::bare();
    for command in PRINTING {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let run = program.run_into(command, Stdio::from(writer)).await;
        assert_eq!(run.stderr, "", "{command:?}");
        assert_eq!(run.code, Some(141), "{command:?}");
    }
}
