//! The program on a native Postgres: locks of other sessions, calls that take long, and answers that are lost.

use std::time::Duration;

use secrecy::ExposeSecret;
use serde_json::json;
use sluice_runner::local::{LocalOptions, Server};
use sluice_runner::simulator::{self, Config};
use sluice_tests::{Native, Program, Wire, signal};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::fixture::{add_scored_posts, native, post};

const DRAMA: &str = "00000000-0000-4000-a000-000000000009";

/// Starts the API over a native database, with a short statement timeout.
async fn serve(native: &Native) -> Server {
    let options = LocalOptions {
        database_url: Some(native.url().into()),
        ..LocalOptions::default()
    };
    Server::start(&options).await.unwrap()
}

/// `local up` applies the migrations to a Postgres that is there and serves it. Whoever knows its URL does not see it.
#[tokio::test]
async fn a_postgres_that_is_there_is_served_with_its_data() {
    native!();
    let native = Native::project("").await;
    let program = Program::bare();
    let url = native.url_of("super:hunter2");
    let arguments = [
        "local",
        "up",
        "--port",
        "0",
        "--json",
        "-vv",
        "--database-url",
        &url,
    ];
    let mut child = program.spawn(&arguments);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut said = String::new();
    while !said.ends_with('}') {
        said.push_str(&lines.next_line().await.unwrap().unwrap());
    }
    let up: serde_json::Value = serde_json::from_str(&said).unwrap();
    let at = Program::bare()
        .with("SUPABASE_URL", up["url"].as_str().unwrap())
        .with("SUPABASE_SERVICE_KEY", up["service_key"].as_str().unwrap());
    let posts = "{\"content\": \"one\"}\n{\"content\": \"two\"}\n";
    let stored = at.run_with_input(&["store", "-"], posts.as_bytes()).await;
    assert_eq!(stored.code, Some(0), "{}", stored.stderr);
    signal(child.id(), "TERM");
    let run = program.end(child, Duration::from_secs(20)).await;
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(!run.stderr.contains("hunter2") && !said.contains("hunter2"));
    assert_eq!(
        native
            .admin()
            .await
            .value("select count(*) from posts")
            .await,
        2
    );
}

async fn run_score_during(lock: &str, seconds: u64) -> (Native, sluice_tests::Run) {
    let native = Native::migrated().await;
    let (admin, other) = (native.admin().await, native.admin().await);
    add_scored_posts(&admin, 60).await;
    admin.sql("truncate llm_scores").await;
    admin
        .sql("do $$ begin execute format('alter database %I set statement_timeout = ''3s''', current_database()); end $$")
        .await;
    let server = serve(&native).await;
    let simulator = simulator::start(Config {
        port: 0,
        ..Config::default()
    })
    .await
    .unwrap();
    let program = Program::bare()
        .with("SUPABASE_URL", server.url())
        .with("SUPABASE_SERVICE_KEY", server.secret_key().expose_secret())
        .with("OPENAI_BASE_URL", &simulator.base_url())
        .with("OPENAI_API_KEY", "test-key");
    other.sql(&format!("begin; {lock}")).await;
    let release = async {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        other.sql("rollback").await;
    };
    let (run, ()) = tokio::join!(program.run(&["score", "--output", "json"]), release);
    (native, run)
}

#[tokio::test]
async fn a_table_lock_of_another_session_loses_nothing_that_was_paid() {
    native!();
    let (native, run) = run_score_during("lock table llm_scores in share mode", 15).await;
    assert_eq!(run.code, Some(0), "{}{}", run.stdout, run.stderr);
    let admin = native.admin().await;
    assert_eq!(admin.value("select count(*) from llm_scores").await, 60);
    assert_eq!(admin.value("select count(*) from work_items").await, 0);
}

#[tokio::test]
async fn a_locked_row_is_scored_later_and_all_others_meanwhile() {
    native!();
    let lock = format!("update posts set text = text where id = '{}'", post(1));
    let (native, run) = run_score_during(&lock, 10).await;
    assert_eq!(run.code, Some(0), "{}{}", run.stdout, run.stderr);
    let admin = native.admin().await;
    assert_eq!(admin.value("select count(*) from llm_scores").await, 60);
}

/// Weights [`DRAMA`] for a hundred scored posts. Their cut-over takes so many seconds, and each attempt is counted, also
/// if it does not commit.
async fn slow_cut_over(seconds: u32) -> Native {
    let native = Native::migrated().await;
    let admin = native.admin().await;
    add_scored_posts(&admin, 100).await;
    admin
        .sql(&format!(
            "create sequence cut_overs;
             grant usage on sequence cut_overs to service_role;
             create function cut_over_slowly() returns trigger language plpgsql as $$
               begin perform nextval('public.cut_overs'), pg_sleep({seconds}); return new; end $$;
             insert into weight_configs (id, name, weights) values ('{DRAMA}', 'slow', '{{\"drama\": 1}}');
             create trigger cut_over_slowly before update of is_active on weight_configs
               for each row when (new.is_active and not old.is_active) execute function cut_over_slowly()"
        ))
        .await;
    native
}

/// Whether all posts have their score under the new weights, these are in force, and the job is completed.
const CUT_OVER: &str = "select (select count(*) from post_scores where weight_config_id = active_weight_config()) = 100
    and active_weight_config() = (select id from weight_configs where name = 'slow')
    and (select array_agg(status) from background_jobs) = array['completed']";

/// The connection is cut while the database cuts over. It commits a moment later, and nobody hears of it.
#[tokio::test]
async fn a_cut_over_that_commits_after_its_connection_was_cut_is_a_success() {
    native!();
    let native = slow_cut_over(4).await;
    let (admin, server) = (native.admin().await, serve(&native).await);
    let wire = Wire::to(server.url()).await;
    let program = Program::bare()
        .with("SUPABASE_URL", wire.url())
        .with("SUPABASE_SERVICE_KEY", server.secret_key().expose_secret());
    let cut = async {
        let begun = "select is_called from cut_overs";
        while admin.value(begun).await == false {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        wire.cut();
        tokio::time::sleep(Duration::from_millis(300)).await;
        wire.mend();
    };
    let arguments = [
        "recompute",
        "--weights",
        DRAMA,
        "--activate",
        "--output",
        "json",
    ];
    let (run, ()) = tokio::join!(program.run(&arguments), cut);
    assert_eq!(run.code, Some(0), "{}{}", run.stdout, run.stderr);
    assert_eq!(run.json()["counts"]["written"], json!(100));
    assert_eq!(admin.value(CUT_OVER).await, true);
    assert_eq!(admin.value("select last_value from cut_overs").await, 1);
}

/// The function brings five minutes. The client's usual half a minute would send the call again.
#[tokio::test]
async fn a_cut_over_has_the_time_that_its_function_brings() {
    native!();
    let native = slow_cut_over(33).await;
    let (admin, server) = (native.admin().await, serve(&native).await);
    let program = Program::bare()
        .with("SUPABASE_URL", server.url())
        .with("SUPABASE_SERVICE_KEY", server.secret_key().expose_secret());
    let arguments = [
        "recompute",
        "--weights",
        DRAMA,
        "--activate",
        "--output",
        "json",
    ];
    let run = program.run(&arguments).await;
    assert_eq!(run.code, Some(0), "{}{}", run.stdout, run.stderr);
    assert_eq!(admin.value(CUT_OVER).await, true);
    assert_eq!(admin.value("select last_value from cut_overs").await, 1);
    assert!(!run.stderr.contains("trying again"), "{}", run.stderr);
}

/// Embeddings of the same size are converted, those of another size are due again, and both functions take the new type.
#[tokio::test]
async fn vectors_become_halfvec_in_a_project_that_has_embeddings() {
    native!();
    let native = Native::migrated().await;
    let (admin, api, owner) = (
        native.admin().await,
        native.api().await,
        native.owner().await,
    );
    add_scored_posts(&admin, 3).await;
    let vector = |size: usize| format!("[{}]", vec!["0.25"; size].join(","));
    let store = |number: u32, size: usize| {
        format!(
            r#"select store_embeddings(null, '[{{"post_id": "{}", "embedding": "{}", "model": "m"}}]')"#,
            post(number),
            vector(size)
        )
    };
    assert_eq!(api.value(&store(1, 1536)).await, 1);
    let program = Program::bare();
    let due = "select count(*) from get_posts_without_embeddings()";
    for (size, left) in [(1536, 2), (3072, 3)] {
        let folder = program
            .file("out", "")
            .with_file_name(format!("halfvec-{size}"));
        let size_text = size.to_string();
        let arguments = [
            "schema",
            "migrations",
            folder.to_str().unwrap(),
            "--halfvec",
            "--dimensions",
            &size_text,
        ];
        let run = program.run(&arguments).await;
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        let file = folder.join("20991231000000_vectors.sql");
        owner.sql(&std::fs::read_to_string(file).unwrap()).await;
        assert_eq!(admin.value("select embedding_dimensions()").await, size);
        assert_eq!(admin.value(due).await, left, "{size}");
        assert_eq!(api.value(&store(2, size)).await, 1, "{size}");
        let search = format!(
            "select count(*) from search_posts_by_embedding('{}'::extensions.halfvec, 0.9)",
            vector(size)
        );
        assert_eq!(api.value(&search).await, 4 - left, "{size}");
        let callable = "select has_function_privilege('anon', oid, 'execute') from pg_proc
            where proname = 'search_posts_by_embedding'";
        assert_eq!(admin.value(callable).await, false);
    }
}

/// How long two workers are left alone.
const IDLE: Duration = Duration::from_secs(100);

/// A worker that listens starts a job at once, also after its connection was cut, and asks far less than one that does
/// not listen.
#[tokio::test]
async fn a_worker_that_listens_starts_a_job_at_once_and_asks_less() {
    native!();
    let native = Native::migrated().await;
    let admin = native.admin().await;
    let server = serve(&native).await;
    let program = Program::bare()
        .with("SUPABASE_URL", server.url())
        .with("SUPABASE_SERVICE_KEY", server.secret_key().expose_secret())
        .with("OPENAI_API_KEY", "none");
    let url = native.url();
    let asked = async |options: &[&str]| {
        let arguments = [&["worker", "--json"], options].concat();
        let worker = program.spawn(&arguments);
        tokio::time::sleep(IDLE).await;
        signal(worker.id(), "TERM");
        let run = program.end(worker, Duration::from_secs(10)).await;
        assert_eq!(run.code, Some(130), "{}", run.stderr);
        run.json()["requests"]["supabase"].as_u64().unwrap()
    };
    let listening = ["--db-url", url.as_str()];
    let (asks, listens) = tokio::join!(asked(&[]), asked(&listening));
    // The first minute is the same: pauses begin with a second. After that one asks every 7.5 to 15 s.
    println!("idle for {IDLE:?}: {asks} requests if it asks, {listens} if it listens");
    assert!(listens < asks, "{listens} and {asks}");

    let worker = program.spawn(&["worker", "--json", "--db-url", &url]);
    let mut waits = Vec::new();
    for cut in [false, false, true] {
        // Idle for long enough that the next question is far away.
        tokio::time::sleep(Duration::from_secs(40)).await;
        if cut {
            let cut = "select pg_terminate_backend(pid) from pg_stat_activity where query = 'listen sluice_jobs'";
            admin.sql(cut).await;
            // It connects again.
            tokio::time::sleep(Duration::from_secs(20)).await;
        }
        admin
            .sql("insert into background_jobs (type, status) values ('embed_posts', 'pending')")
            .await;
        let ended = "select count(*) from background_jobs where status = 'completed'";
        for _ in 0..100 {
            if admin.value(ended).await == waits.len() as u64 + 1 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let wait =
            "select extract(epoch from max(started_at - created_at))::float8 from background_jobs
                    where created_at = (select max(created_at) from background_jobs)";
        waits.push(admin.value(wait).await.as_f64().unwrap());
    }
    println!("seconds until a job began: {waits:?}");
    assert!(waits.iter().all(|wait| *wait < 2.0), "{waits:?}");
    signal(worker.id(), "TERM");
    let run = program.end(worker, Duration::from_secs(10)).await;
    assert!(!run.stderr.contains("super"), "{}", run.stderr);
    server.stop().await;
}

#[tokio::test]
async fn a_worker_that_cannot_listen_says_so_at_once() {
    let program = sluice_tests::Program::bare()
        .with("SUPABASE_URL", "http://127.0.0.1:9")
        .with("SUPABASE_SERVICE_KEY", "key");
    let url = "postgres://nobody:hunter2@127.0.0.1:9/none";
    let run = program.run(&["worker", "--db-url", url]).await;
    assert_eq!(run.code, Some(6), "{}", run.stderr);
    assert!(!run.stderr.contains("hunter2"), "{}", run.stderr);
}
