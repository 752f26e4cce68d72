//! What the database refuses for everybody is no row's fault.

use serde_json::{Value, json};
use sluice_runner::simulator::Config;
use sluice_tests::{FaultProxy, Program, Run, Stack};

/// A change of the schema that refuses every row of a table, how it is undone, and a word of the database about it.
struct Refusal {
    name: &'static str,
    done: String,
    undone: String,
    word: &'static str,
}

fn refusals(table: &str) -> [Refusal; 3] {
    [
        Refusal {
            name: "a revoked grant",
            done: format!("revoke insert on {table} from service_role"),
            undone: format!("grant insert on {table} to service_role"),
            word: "permission denied",
        },
        Refusal {
            name: "a required column",
            done: format!("alter table {table} add column mood int not null check (mood > 0)"),
            undone: format!("alter table {table} drop column mood"),
            word: "mood",
        },
        Refusal {
            name: "a trigger that refuses all",
            done: format!(
                "create function refuse_it() returns trigger language plpgsql as
                   'begin raise exception ''the table is frozen''; end';
                 create trigger refuse_it before insert on {table} for each row execute function refuse_it()"
            ),
            undone: format!("drop trigger refuse_it on {table}; drop function refuse_it()"),
            word: "the table is frozen",
        },
    ]
}

/// A stack, the program behind a proxy that only counts, and the proxy.
async fn counted(stack: &Stack, openai_url: &str) -> (Program, FaultProxy) {
    let proxy = FaultProxy::start(stack.postgrest_url(), Box::new(|_, _| None)).await;
    let program = Program::on(stack, openai_url).with("POSTGREST_URL", proxy.url());
    (program, proxy)
}

fn line(at: usize) -> String {
    let neighborhood = format!("Quarter {}", at % 9);
    json!({ "author_id": "a", "content": format!("post {at}"), "neighborhood": neighborhood })
        .to_string()
}

fn assert_stopped(name: &str, run: &Run, word: &str) {
    let said = format!("{name}: {}{}", run.stdout, run.stderr);
    assert_eq!(run.code, Some(6), "{said}");
    let report: Value = run.json();
    assert_eq!(report["counts"]["failed"], 0, "{said}");
    assert!(said.contains(word), "{said}");
}

#[tokio::test]
async fn no_line_is_blamed_for_what_the_database_refuses_for_all() {
    let stack = Stack::fresh().await;
    let lines: Vec<String> = (0..300).map(line).collect();
    for table in ["posts", "neighborhoods"] {
        for refusal in refusals(table) {
            let (program, proxy) = counted(&stack, "http://127.0.0.1:9/v1").await;
            let file = program.file("posts.jsonl", lines.join("\n"));
            let store = ["store", file.to_str().unwrap(), "--output", "json"];
            stack.sql(&refusal.done).await;
            stack.sql("notify pgrst, 'reload schema'").await;
            let run = program.run(&store).await;
            stack.sql(&refusal.undone).await;
            stack.sql("notify pgrst, 'reload schema'").await;
            let name = format!("{} of {table}", refusal.name);
            assert_stopped(&name, &run, refusal.word);
            let writes = proxy.count(&format!("POST /{table}"));
            assert!((1..=3).contains(&writes), "{name}: {writes} writes");
            // The same lines are stored once the table takes them.
            program.complete(&store).await;
            assert_eq!(stack.count("select count(*) from posts").await, 300);
            stack.sql("truncate posts, neighborhoods cascade").await;
        }
    }
}

#[tokio::test]
async fn no_post_is_blamed_for_what_the_database_refuses_for_all() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(Config::default()).await;
    let insert = "insert into neighborhoods (name, slug) values ('Elm', 'elm');
        insert into posts (neighborhood_id, post_id_ext, text, hash)
          select n.id, 'p' || i, 'text ' || i, 'h' || i from neighborhoods n, generate_series(1, 60) i";
    stack.sql(insert).await;
    for (command, table, function) in [
        ("embed", "post_embeddings", "store_embeddings"),
        ("score", "llm_scores", "store_scores"),
    ] {
        for refusal in refusals(table) {
            let (program, proxy) = counted(&stack, &simulator.base_url()).await;
            stack.sql(&refusal.done).await;
            let run = program.run(&[command, "--output", "json"]).await;
            stack.sql(&refusal.undone).await;
            let name = format!("{} of {table}", refusal.name);
            assert_stopped(&name, &run, refusal.word);
            let writes = proxy.count(&format!("POST /rpc/{function}"));
            // A claim reads the table too, so a missing grant may end the run before anything is paid.
            assert!(writes <= 3, "{name}: {writes} writes");
            assert_eq!(
                stack.count("select count(*) from work_items").await,
                0,
                "{name}"
            );
            let warnings = run.json()["warnings"].to_string();
            assert!(
                writes == 0 || warnings.contains("the result is lost"),
                "{name}: {warnings}"
            );
        }
    }
}
