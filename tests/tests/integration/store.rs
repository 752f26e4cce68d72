//! The store flow stores every good line once with at most three requests a batch, and names bad lines by number.

use std::time::Duration;

use serde_json::json;
use sluice_runner::db::Database;
use sluice_runner::report::Status;
use sluice_tests::{OwnStack, Program, Recorder, Stack, signal};

use tokio::io::AsyncWriteExt;

use crate::support::posts::{line, lines, store};
use crate::support::{until, without_services};

/// Nothing listens at this address. The store flow needs no provider, so that does not matter.
const NOWHERE: &str = "http://127.0.0.1:9";

/// The neighborhoods' names and slugs, by slug.
async fn neighborhoods(stack: &Stack) -> Vec<(String, String)> {
    let query = "select name, slug from neighborhoods order by slug collate \"C\"";
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let rows = stack.rows(query).await;
    rows.iter()
        .map(|row| (text(&row["name"]), text(&row["slug"])))
        .collect()
}

#[tokio::test]
async fn several_new_neighborhoods_cost_one_select_and_one_insert() {
    let stack = Stack::fresh().await;
    let recorder = Recorder::start(stack.postgrest_url()).await;
    let database = Database::new(&stack.database_settings(recorder.url())).unwrap();
    let names = ["Elm Park", "Oak Hill", "Elm Park", "Harbor"];
    let input: Vec<String> = names
        .iter()
        .enumerate()
        .map(|(at, name)| line(name, &format!("post {at}")))
        .collect();
    let report = store(&database, &input.join("\n")).await;
    assert_eq!(lines(&report).inserted, 4);
    assert_eq!(lines(&report).neighborhoods_created, 3);
    assert_eq!(report.requests.supabase, 3);
    insta::assert_json_snapshot!("store_several_new_neighborhoods", recorder.snapshot());
}

#[tokio::test]
async fn names_are_looked_up_once_a_run_and_new_ones_as_they_come() {
    let stack = Stack::fresh().await;
    let recorder = Recorder::start(stack.postgrest_url()).await;
    let database = Database::new(&stack.database_settings(recorder.url())).unwrap();
    // The batches have 500, 500 and 1 lines. The second has no new name, the third has one.
    let name = |at: usize| if at < 1_000 { at % 25 } else { 99 };
    let input: Vec<String> = (0..1_001)
        .map(|at| line(&format!("Quarter {}", name(at)), &format!("post {at}")))
        .collect();
    let input = input.join("\n");
    let report = store(&database, &input).await;
    assert_eq!(lines(&report).inserted, 1_001);
    assert_eq!(lines(&report).neighborhoods_created, 26);
    let counted = |recorder: &Recorder| {
        ["GET /neighborhoods", "POST /neighborhoods", "POST /posts"]
            .map(|action| recorder.count(action))
    };
    assert_eq!(counted(&recorder), [2, 2, 3]);
    assert_eq!(report.requests.supabase, 7);

    let again = store(&database, &input).await;
    assert_eq!((lines(&again).inserted, lines(&again).skipped), (0, 1_001));
    assert_eq!(lines(&again).neighborhoods_created, 0);
    assert_eq!(counted(&recorder), [4, 2, 6]);
}

#[tokio::test]
async fn spellings_with_one_slug_share_a_row_and_scripts_stay_apart() {
    let stack = Stack::fresh().await;
    let names = [
        "St. Johns",
        "St Johns",
        "東京",
        "东京",
        "Москва",
        "🎈",
        "🎃",
        "",
        "Elm  Park",
        "élm park",
    ];
    let input: Vec<String> = names
        .iter()
        .map(|name| line(name, "the same text"))
        .collect();
    let report = store(&stack.database(), &input.join("\n")).await;
    // Each of the two pairs has one slug. The same text of the same author in one neighborhood is one post.
    assert_eq!(lines(&report).neighborhoods_created, 8);
    assert_eq!((lines(&report).inserted, lines(&report).skipped), (8, 2));
    let stored = neighborhoods(&stack).await;
    let slug_of = |name: &str| {
        let row = stored.iter().find(|(stored, _)| stored == name);
        row.map(|(_, slug)| slug.as_str())
    };
    assert_eq!(slug_of("Unknown"), Some("unknown"));
    assert_eq!(
        slug_of("Москва").unwrap().rsplit_once('-').unwrap().0,
        "moskva"
    );
    assert!(slug_of("St Johns").or(slug_of("St. Johns")).is_some());
    assert_ne!(slug_of("東京"), slug_of("东京"));
    assert_ne!(slug_of("🎈"), slug_of("🎃"));
}

#[tokio::test]
async fn row_under_its_earlier_slug_is_found_and_the_row_of_another_name_is_not() {
    let stack = Stack::fresh().await;
    let earlier = "insert into neighborhoods (name, slug) values
        ('Cañada del Oro', 'caada-del-oro'), ('Pion', 'pion')";
    stack.sql(earlier).await;
    // The earlier rule also made `pion` of Piñon, but that row belongs to another neighborhood.
    let input = [line("Cañada del Oro", "one"), line("Piñon", "two")].join("\n");
    let report = store(&stack.database(), &input).await;
    assert_eq!(lines(&report).neighborhoods_created, 1);
    let stored = neighborhoods(&stack).await;
    let slugs: Vec<&str> = stored.iter().map(|(_, slug)| slug.as_str()).collect();
    assert_eq!(slugs, ["caada-del-oro", "pinon", "pion"]);
    let found = "select count(*) from posts p join neighborhoods n on n.id = p.neighborhood_id
        where (n.slug, p.text) in (('caada-del-oro', 'one'), ('pinon', 'two'))";
    assert_eq!(stack.count(found).await, 2);
}

#[tokio::test]
async fn hostile_names_and_texts_are_stored_unchanged() {
    let stack = Stack::fresh().await;
    let hostile = [
        "a,b",
        "(a)",
        "a),or=(b",
        "\"quoted\"",
        "back\\slash",
        "per%cent",
        "st*r",
        "plus+amp&eq=hash#",
        "null",
        "true",
        "{a,b}",
        "tab\there",
        "line\nbreak",
        "it's",
        "zero\u{200b}width",
        "\u{202e}rtl",
        "é\u{301}",
        "👩‍👩‍👧",
        "$1; drop table posts",
        "a:b->>c::d",
        "..",
        "%00",
        "\u{fffd}",
    ];
    // With numbers, because some of them have the same slug: `a,b` and `{a,b}`.
    let name = |at: usize, text: &str| format!("{text} {at}");
    let input: Vec<String> = hostile
        .iter()
        .enumerate()
        .map(|(at, text)| line(&name(at, text), text))
        .collect();
    let report = store(&stack.database(), &input.join("\n")).await;
    assert_eq!(lines(&report).inserted, hostile.len() as u64);
    let query =
        "select p.text, n.name from posts p join neighborhoods n on n.id = p.neighborhood_id";
    let rows = stack.rows(query).await;
    for (at, text) in hostile.into_iter().enumerate() {
        let stored = rows.iter().find(|row| row["text"] == text);
        assert_eq!(stored.unwrap()["name"], name(at, text), "{text:?}");
    }
    let again = store(&stack.database(), &input.join("\n")).await;
    assert_eq!(lines(&again).skipped, hostile.len() as u64);
}

#[tokio::test]
async fn refused_row_fails_alone() {
    let stack = Stack::fresh().await;
    let trigger = |table: &str, column: &str| {
        format!(
            "create trigger refuse before insert on {table} for each row
             when (new.{column} like '%accursed%') execute function refuse();"
        )
    };
    let refuse = "create function refuse() returns trigger language plpgsql as $$
        begin raise exception 'no curses here' using errcode = '22023'; end $$;";
    let triggers = [trigger("posts", "text"), trigger("neighborhoods", "name")];
    stack.sql(&format!("{refuse} {}", triggers.concat())).await;
    let mut input: Vec<String> = (0..40)
        .map(|at| line("Elm", &format!("post {at}")))
        .collect();
    input[6] = line("Elm", "an accursed text");
    input[16] = line("The accursed quarter", "nowhere to be");
    input[26] = line("Oak", "a neighborhood beside it");
    let report = store(&stack.database(), &input.join("\n")).await;
    stack.sql("drop function refuse() cascade").await;
    assert_eq!(
        (lines(&report).inserted, lines(&report).failed),
        (38, 2),
        "{report:?}"
    );
    let mut failed: Vec<_> = report.failures.iter().map(|failure| failure.line).collect();
    failed.sort_unstable();
    assert_eq!(failed, [Some(7), Some(17)]);
    assert_eq!(stack.count("select count(*) from posts").await, 38);
}

#[tokio::test]
async fn stored_rows_of_an_unfinished_batch_are_counted() {
    let stack = Stack::fresh().await;
    // The first error is about one row, so the batch is halved. The second error is about the whole table.
    let refuse = "create function refuse() returns trigger language plpgsql as $$
        begin
          if new.text = 'cursed' then raise exception 'no curses here' using errcode = '22023'; end if;
          if new.text = 'last' then raise exception 'no more' using errcode = '42501'; end if;
          return new;
        end $$;
        create trigger refuse before insert on posts for each row execute function refuse();";
    stack.sql(refuse).await;
    let mut input: Vec<String> = (0..40)
        .map(|at| line("Elm", &format!("post {at}")))
        .collect();
    input[25] = line("Elm", "cursed");
    input[35] = line("Elm", "last");
    let report = store(&stack.database(), &input.join("\n")).await;
    stack.sql("drop function refuse() cascade").await;
    assert_eq!(report.status, Status::Failed, "{report:?}");
    let stored = stack.count("select count(*) from posts").await;
    assert!((20..39).contains(&stored), "{stored} posts");
    assert_eq!(i64::try_from(lines(&report).inserted).unwrap(), stored);
}

#[tokio::test]
async fn neighborhoods_inserted_by_another_runner_in_between_are_found() {
    let stack = Stack::fresh().await;
    let theirs = stack.database();
    let recorder = Recorder::start_with(stack.postgrest_url(), move |exchange| {
        let is_select = exchange.action() == "GET /neighborhoods";
        let theirs = theirs.clone();
        Box::pin(async move {
            if is_select {
                store(&theirs, &line("Elm Park", "theirs")).await;
            }
        })
    });
    let recorder = recorder.await;
    let ours = Database::new(&stack.database_settings(recorder.url())).unwrap();
    let input = [line("Elm park", "ours"), line("Harbor", "ours too")].join("\n");
    let report = store(&ours, &input).await;
    assert_eq!((lines(&report).inserted, lines(&report).failed), (2, 0));
    assert_eq!(lines(&report).neighborhoods_created, 1);
    let shared = "select count(*) from posts p join neighborhoods n on n.id = p.neighborhood_id
        where n.slug = 'elm-park'";
    assert_eq!(stack.count(shared).await, 2);
}

#[tokio::test]
async fn two_runs_at_once_store_every_post_once() {
    let stack = Stack::fresh().await;
    let post = |at: usize| json!({ "author_id": "a", "content": format!("post {at}"), "neighborhood": format!("Quarter {}", at % 90) });
    let all: Vec<String> = (0..1_200).map(|at| post(at).to_string()).collect();
    let input = all.join("\n");
    let (ours, theirs) = (stack.database(), stack.database());
    let (first, second) = tokio::join!(store(&ours, &input), store(&theirs, &input));
    let (first, second) = (lines(&first), lines(&second));
    assert_eq!(first.inserted + second.inserted, 1_200);
    assert_eq!(first.skipped + second.skipped, 1_200);
    assert_eq!(
        first.neighborhoods_created + second.neighborhoods_created,
        90
    );
    assert_eq!(stack.count("select count(*) from posts").await, 1_200);
}

#[tokio::test]
async fn program_reports_bad_lines_and_stores_the_rest() {
    let stack = Stack::fresh().await;
    let program = Program::on(&stack, NOWHERE);
    let input = format!(
        "{}\nnot json\n\n{{\"author_id\":\"a\"}}",
        line("Elm", "one")
    );
    let run = program
        .run_with_input(&["store", "-", "--output", "json"], input.as_bytes())
        .await;
    assert_eq!(run.code, Some(4), "{}", run.stderr);
    let report = run.json();
    assert_eq!(report["counts"]["inserted"], 1);
    assert_eq!(report["failures"][0]["line"], 2);
    assert_eq!(report["failures"][1]["line"], 4);
    assert_eq!(stack.count("select count(*) from posts").await, 1);
}

#[tokio::test]
async fn dry_run_checks_every_line_and_sends_nothing() {
    let program = without_services();
    let file = program.file(
        "posts.jsonl",
        [line("Elm", "one"), "{".to_owned()].join("\n"),
    );
    let run = program
        .run(&[
            "store",
            file.to_str().unwrap(),
            "--dry-run",
            "--output",
            "json",
        ])
        .await;
    assert_eq!(run.code, Some(4), "{}", run.stderr);
    let report = run.json();
    assert_eq!(report["dry_run"], true);
    assert_eq!(
        report["counts"],
        json!({
            "read": 2, "inserted": 0, "skipped": 1, "failed": 1, "neighborhoods_created": 0
        })
    );
    assert_eq!(report["requests"]["supabase"], 0);
}

#[tokio::test]
async fn limit_exits_with_three_only_if_lines_are_left() {
    let stack = Stack::fresh().await;
    let program = Program::on(&stack, NOWHERE);
    let input: Vec<String> = (0..5)
        .map(|at| line("Elm", &format!("post {at}")))
        .collect();
    let file = program.file("posts.jsonl", input.join("\n") + "\n");
    for (limit, code, stored) in [("3", 3, 3), ("5", 0, 5)] {
        let run = program
            .run(&["store", file.to_str().unwrap(), "--limit", limit])
            .await;
        assert_eq!(run.code, Some(code), "{}{}", run.stdout, run.stderr);
        assert_eq!(stack.count("select count(*) from posts").await, stored);
    }
}

#[tokio::test]
async fn schema_without_the_migrations_exits_with_six_and_says_what_to_do() {
    let stack = Stack::fresh().await;
    let program = Program::on(&stack, NOWHERE);
    stack
        .sql("alter table neighborhoods rename to elsewhere")
        .await;
    let input = line("Elm", "one");
    let run = program.run_with_input(&["store", "-", "--output", "json"], input.as_bytes());
    let run = run.await;
    stack
        .sql("alter table elsewhere rename to neighborhoods")
        .await;
    assert_eq!(run.code, Some(6), "{}", run.stderr);
    let reason = run.json()["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("apply the migrations"), "{reason}");
}

#[tokio::test]
async fn unreachable_database_exits_with_six_and_says_to_run_again() {
    let program = without_services();
    let input = line("Elm", "one");
    let run = program.run_with_input(&["store", "-", "--output", "json"], input.as_bytes());
    let run = run.await;
    assert_eq!(run.code, Some(6), "{}", run.stderr);
    let report = run.json();
    let reason = report["reason"].as_str().unwrap();
    assert!(
        reason.contains("cannot be reached") && reason.contains("run it again"),
        "{reason}"
    );
    assert_eq!(report["status"], "failed");
}

#[tokio::test]
async fn memory_depends_on_the_batch_and_not_on_the_file() {
    const MIB: u64 = 1 << 20;
    let stack = Stack::fresh().await;
    let program = Program::on(&stack, NOWHERE);
    let long = "A long story. ".repeat(4_500);
    let post = |at: usize| line("Elm", &format!("{at}: {long}")) + "\n";
    let file: String = (0..1_010).map(post).collect();
    assert!(file.len() as u64 > 60 * MIB);
    let file = program.file("posts.jsonl", file);
    let run = program
        .run(&["store", file.to_str().unwrap(), "--output", "json"])
        .await;
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let report = run.json();
    assert_eq!(report["counts"]["inserted"], 1_010);
    let peak = report["peak_memory_bytes"].as_u64().unwrap();
    assert!(peak < 56 * MIB, "{} MiB", peak / MIB);
}

#[tokio::test]
async fn interrupt_keeps_what_is_stored_even_while_waiting_for_input() {
    let stack = Stack::fresh().await;
    let program = Program::on(&stack, NOWHERE);
    let mut child = program.spawn_with_input(&["store", "-", "--output", "json"]);
    let mut stdin = child.stdin.take().unwrap();
    // Line 501 closes the first batch. No further line comes.
    for at in 0..501 {
        let line = line("Elm", &format!("post {at}")) + "\n";
        stdin.write_all(line.as_bytes()).await.unwrap();
    }
    let stored = async || stack.count("select count(*) from posts").await;
    until("a batch is stored", async || stored().await >= 500).await;
    signal(child.id(), "INT");
    let run = program.end(child, Duration::from_secs(7)).await;
    drop(stdin);
    assert_eq!(run.code, Some(130), "{}", run.stderr);
    let report = run.json();
    assert_eq!(report["status"], "partial");
    assert_eq!(report["counts"]["inserted"], stored().await);
}

/// Everybody may read neighborhoods, so only a write shows what the key is worth. Hosted projects let every role insert,
/// and leave the refusal to row-level security.
#[tokio::test]
async fn publishable_key_ends_the_run_with_six_and_blames_no_line() {
    let stack = OwnStack::migrated().await;
    let input: Vec<String> = (0..2_000)
        .map(|at| line(&format!("Quarter {at}"), &format!("post {at}")))
        .collect();
    let key = stack.publishable_key();
    let program = stack.program(NOWHERE).with("SUPABASE_SERVICE_KEY", key);
    let grants = [
        "revoke insert on all tables in schema public from anon",
        "grant insert, update on all tables in schema public to anon",
    ];
    for (grant, lines) in [(grants[0], 2_000), (grants[1], 2_000), (grants[1], 1)] {
        stack.sql(grant).await;
        let input = input[..lines].join("\n");
        let file = program.file("posts.jsonl", input);
        let store = ["store", file.to_str().unwrap(), "--output", "json"];
        let run = program.run(&store).await;
        assert_eq!(run.code, Some(6), "{}", run.stderr);
        let report = run.json();
        let reason = report["reason"].as_str().unwrap();
        assert!(reason.contains("this is not the secret key"), "{reason}");
        assert_eq!(report["counts"]["failed"], 0, "{report}");
        let requests = report["requests"]["supabase"].as_u64().unwrap();
        assert!(requests <= 5, "{requests} requests");
    }
    assert_eq!(stack.count("select count(*) from neighborhoods").await, 0);
}

#[tokio::test]
async fn csv_is_stored_by_its_header_and_its_bad_records_are_named_by_line() {
    let stack = Stack::fresh().await;
    let program = Program::on(&stack, NOWHERE);
    let csv = "neighborhood,content,reaction_count,image_urls\n\
        Elm Park,\"Two lines,\nand a comma\",3,\"[\"\"https://a.test/1.png\"\"]\"\n\
        Elm Park,one,too,many,cells\nHarbor,Fog,,\n";
    let path = program.file("posts.CSV", csv);
    let run = program
        .run(&["store", path.to_str().unwrap(), "--json"])
        .await;
    assert_eq!(run.code, Some(4), "{}", run.stderr);
    let report = run.json();
    assert_eq!(report["counts"]["inserted"], 2);
    assert_eq!(report["failures"][0]["line"], 4);
    let stored = "select text, reaction_count, image_urls from posts order by text desc limit 1";
    let expected = json!({ "text": "Two lines,\nand a comma", "reaction_count": 3, "image_urls": ["https://a.test/1.png"] });
    assert_eq!(stack.rows(stored).await, [expected]);
    // The same from stdin, where no name says what it is.
    let arguments = ["store", "-", "--format", "csv", "--json"];
    let again = program.run_with_input(&arguments, csv.as_bytes()).await;
    assert_eq!(again.json()["counts"]["skipped"], 2, "{}", again.stderr);
    let wrong = program
        .run_with_input(&["store", "-", "--format", "csv"], b"a;b\n1;2\n")
        .await;
    assert_eq!(wrong.code, Some(2), "{}", wrong.stdout);
    assert!(
        wrong.stdout.contains("no column `content`"),
        "{}",
        wrong.stdout
    );
}

#[tokio::test]
async fn packed_posts_are_stored_and_a_damaged_file_is_a_clear_error() {
    let stack = Stack::fresh().await;
    let program = Program::on(&stack, NOWHERE);
    let text: Vec<String> = (0..2_000)
        .map(|at| line("Elm Park", &format!("post {at}")))
        .collect();
    let plain = program.file("posts.jsonl", text.join("\n"));
    let pack = std::process::Command::new("gzip")
        .arg("-k")
        .arg(&plain)
        .status();
    assert!(pack.unwrap().success());
    let packed = plain.with_extension("jsonl.gz");
    let report = program.json(&["store", packed.to_str().unwrap()]).await;
    assert_eq!(report["counts"]["inserted"], 2_000);
    let mut bytes = std::fs::read(&packed).unwrap();
    bytes.truncate(bytes.len() / 2);
    let cut = program.file("cut.jsonl.gz", bytes);
    let run = program
        .run(&["store", cut.to_str().unwrap(), "--json"])
        .await;
    assert_eq!(run.code, Some(2), "{}", run.stdout);
    let reason = run.json()["reason"].to_string();
    assert!(reason.contains("not complete"), "{reason}");
}
