//! Runs the SDK's examples as scripts against a stack with our migrations.

use std::collections::BTreeSet;
use std::time::Duration;

use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sluice_tests::{Run, Stack, Wire, script};

const POSTS: usize = 2_500;

/// Input for `import`: two lines hold a NUL character, which Postgres cannot store.
fn posts() -> String {
    let line = |number: usize| {
        let text = match number {
            7 | 1_000 => "no \0 here".to_owned(),
            _ => format!("rain, ({number})"),
        };
        let url = number
            .is_multiple_of(2)
            .then(|| format!("https://example.org/{number}"));
        let neighborhood = format!("Quarter, \"{}\"", number % 5);
        let line = json!({"neighborhood": neighborhood, "id": number.to_string(), "text": text, "url": url});
        format!("{line}\n")
    };
    (0..POSTS).map(line).collect()
}

async fn run(stack: &Stack, name: &str, further: &[&str], input: &str) -> Run {
    let key = stack.key();
    let mut arguments = vec![stack.postgrest_url(), key.expose_secret()];
    arguments.extend(further);
    let run = script(name, &arguments, input).await;
    assert_eq!(run.code, Some(0), "{name}: {}", run.stderr);
    run
}

#[tokio::test]
async fn posts_are_imported_looked_up_exported_and_compared() {
    let stack = Stack::fresh().await;
    let imported = run(&stack, "import", &[], &posts()).await;
    let said: Vec<&str> = imported.stdout.lines().collect();
    assert_eq!((said.len(), said[0]), (3, "2498 of 2500 posts stored"));
    assert!(said[1].starts_with("line 8 is refused: "), "{said:?}");
    assert!(said[2].starts_with("line 1001 is refused: "), "{said:?}");

    let slugs = (0..2_000).map(|number| format!("quarter-{number}\n"));
    let found = run(&stack, "lookup", &[], &slugs.collect::<String>()).await;
    let mut lines: Vec<&str> = found.stdout.lines().collect();
    let summary = lines.pop().unwrap();
    assert_eq!(summary, "5 of 2000 slugs are known, by 6 requests");
    let names: BTreeSet<&str> = lines
        .iter()
        .filter_map(|line| line.split('\t').nth(2))
        .collect();
    assert_eq!(names.first(), Some(&"Quarter, \"0\""));
    assert_eq!(names.len(), 5);

    let exported = run(&stack, "export", &[], "").await;
    let rows: Vec<Value> = exported
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let texts: BTreeSet<&str> = rows.iter().filter_map(|row| row["text"].as_str()).collect();
    assert_eq!((rows.len(), texts.len()), (2_498, 2_498));
    assert!(texts.contains("rain, (2499)"));
    let quarters: BTreeSet<&str> = rows
        .iter()
        .filter_map(|row| row["neighborhood"].as_str())
        .collect();
    assert_eq!(quarters.len(), 5);

    // Vectors of three directions: 0 and 1 are near each other, 2 is farther away.
    let embed = |number: u32, vector: &str| {
        format!(
            "insert into post_embeddings (post_id, embedding)
             select id, ('[{vector}' || repeat(',0', 1533) || ']')::vector
             from posts where post_id_ext = '{number}';"
        )
    };
    let vectors = [
        embed(0, "1,0,0"),
        embed(1, "0.8,0.6,0"),
        embed(2, "0.6,0,0.8"),
    ];
    stack.sql(&vectors.concat()).await;
    let near = run(&stack, "similar", &["0"], "").await;
    assert_eq!(
        near.stdout,
        "near to: rain, (0)\n0.800 rain, (1)\n0.600 rain, (2)\n"
    );
}

#[tokio::test]
async fn an_import_waits_for_a_server_that_is_down() {
    let stack = Stack::fresh().await;
    let wire = Wire::to(stack.postgrest_url()).await;
    let key = stack.key();
    let input = posts();
    let arguments = [wire.url(), key.expose_secret()];
    let importing = script("import", &arguments, &input);
    let outage = async {
        // The neighborhoods and some of the posts exist.
        while stack.count("select count(*) from posts").await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        wire.cut();
        tokio::time::sleep(Duration::from_millis(700)).await;
        wire.mend();
    };
    let (run, ()) = tokio::join!(importing, outage);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(
        run.stdout.contains("of 2500 posts stored"),
        "{}",
        run.stdout
    );
    assert!(run.stderr.contains("rows so far"), "{}", run.stderr);
    assert_eq!(stack.count("select count(*) from posts").await, 2_498);
}
