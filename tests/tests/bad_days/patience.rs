//! How long each command waits, for whom, and what it says.

use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use serde_json::json;
use sluice_runner::simulator::Config;
use sluice_tests::{
    FaultProxy, Moment, OddProvider, Oddity, Program, ProxyFault, Refusal, Run, Service, Stack,
    When,
};
use tokio::time::Instant;

const SCORING: &str = "[scoring]\nruns = 1\n[[scoring.dimensions]]\nname = 'drama'\ndescription = 'Conflict?'\n\
                       weight = 1\n";

/// Every command that needs the database, and `store`, which reads a file of that name.
const COMMANDS: [&[&str]; 16] = [
    &["store", "posts.jsonl"],
    &["embed"],
    &["score"],
    &["rescore", "--all"],
    &["backfill", "drama"],
    &["recompute"],
    &["status"],
    &["plan"],
    &["rank"],
    &["search", "a cat"],
    &["jobs", "list"],
    &["jobs", "enqueue", "embed_posts"],
    &["jobs", "cancel", "00000000-0000-4000-8000-000000000001"],
    &["failures", "list"],
    &["failures", "replay"],
    &["weights", "list"],
];

async fn posts(stack: &Stack, count: u32) {
    let insert = format!(
        "insert into neighborhoods (name, slug) values ('Elm', 'elm');
         insert into posts (neighborhood_id, post_id_ext, text, hash)
           select n.id, 'p' || i, 'text ' || i, 'h' || i from neighborhoods n, generate_series(1, {count}) i"
    );
    stack.sql(&insert).await;
}

fn with_input(program: Program) -> Program {
    let line = json!({ "author_id": "a", "content": "a cat", "neighborhood": "Elm" });
    program.file("posts.jsonl", line.to_string());
    program
}

/// How often a run says that it waits for the database.
fn lines_about_waiting(run: &Run) -> usize {
    run.stderr.matches("waiting for the database until").count()
}

#[tokio::test]
async fn every_command_gives_a_database_up_when_its_patience_is_over() {
    let stack = Stack::fresh().await;
    let provider = OddProvider::start(Oddity::None).await;
    let loading = (
        StatusCode::SERVICE_UNAVAILABLE,
        json!({ "code": "PGRST002", "message": "Could not query the database for the schema cache. Retrying." }),
    );
    let router = Router::new().fallback(move || async move { (loading.0, loading.1.to_string()) });
    let service = Service::start(router).await;
    let program = Program::on(&stack, &provider.url())
        .with("POSTGREST_URL", service.url())
        .configured(&format!("[supabase]\npatience_seconds = 3\n{SCORING}"));
    let program = &with_input(program);
    let runs = COMMANDS.map(|command| async move {
        let started = Instant::now();
        let run = program.run(command).await;
        (command, run, started.elapsed().as_secs_f64())
    });
    for (command, run, seconds) in futures_util::future::join_all(runs).await {
        let said = format!("{command:?}: {}{}", run.stdout, run.stderr);
        assert_eq!(run.code, Some(6), "{said}");
        assert!((2.5..30.0).contains(&seconds), "{seconds} s: {said}");
        assert_eq!(lines_about_waiting(&run), 1, "{said}");
        for word in ["PGRST002", "supabase.patience_seconds"] {
            assert!(said.contains(word), "{said}");
        }
    }
}

/// As a date, which counts from the date of the response.
#[tokio::test]
async fn longer_pause_than_the_patience_ends_every_command_at_once() {
    let stack = Stack::fresh().await;
    let provider = OddProvider::start(Oddity::None).await;
    let router = Router::new().fallback(|| async {
        let headers = [
            ("date", "Wed, 25 Nov 2026 20:00:00 GMT"),
            ("retry-after", "Wed, 25 Nov 2026 22:00:00 GMT"),
        ];
        (StatusCode::TOO_MANY_REQUESTS, headers, "slow down")
    });
    let service = Service::start(router).await;
    let program = Program::on(&stack, &provider.url())
        .with("POSTGREST_URL", service.url())
        .configured(SCORING);
    let program = &with_input(program);
    for command in COMMANDS {
        let started = Instant::now();
        let run = program.run(command).await;
        let said = format!("{command:?}: {}{}", run.stdout, run.stderr);
        assert_eq!(run.code, Some(3), "{said}");
        assert!(started.elapsed().as_secs() < 10, "{said}");
        assert!(said.contains("come back at 20"), "{said}");
        assert_eq!(lines_about_waiting(&run), 0, "{said}");
    }
}

/// PostgREST loads its schema for some seconds, as after each migration.
#[tokio::test]
async fn commands_outlive_an_outage_and_say_once_that_they_wait() {
    let stack = Stack::fresh().await;
    posts(&stack, 8).await;
    let simulator = stack.simulator(Config::default()).await;
    let started = Instant::now();
    let plan = move |_: &str, _| {
        let away = started.elapsed() < Duration::from_secs(8);
        away.then_some(ProxyFault::Status(503, Moment::Before))
    };
    let proxy = FaultProxy::start(stack.postgrest_url(), Box::new(plan)).await;
    let program = Program::on(&stack, &simulator.base_url())
        .with("POSTGREST_URL", proxy.url())
        .configured(SCORING);
    let program = &with_input(program);
    let commands: [&[&str]; 4] = [
        &["store", "posts.jsonl"],
        &["embed"],
        &["status"],
        &["worker", "--once"],
    ];
    let runs = commands.map(|command| program.run(command));
    for run in futures_util::future::join_all(runs).await {
        assert_eq!(run.code, Some(0), "{}{}", run.stdout, run.stderr);
        assert_eq!(lines_about_waiting(&run), 1, "{}", run.stderr);
    }
}

#[tokio::test]
async fn results_that_are_paid_for_are_kept_through_an_outage() {
    let stack = Stack::fresh().await;
    posts(&stack, 20).await;
    let simulator = stack.simulator(Config::default()).await;
    let plan = |action: &str, count| {
        let is_write = action == "POST /rpc/store_embeddings";
        (is_write && count < 5).then_some(ProxyFault::Drop(Moment::Before))
    };
    let proxy = FaultProxy::start(stack.postgrest_url(), Box::new(plan)).await;
    let program = Program::on(&stack, &simulator.base_url()).with("POSTGREST_URL", proxy.url());
    // The deadline passes meanwhile.
    let run = program
        .run(&["embed", "--deadline", "2s", "--output", "json"])
        .await;
    assert!(
        matches!(run.code, Some(0 | 3)),
        "{}{}",
        run.stdout,
        run.stderr
    );
    assert_eq!(run.json()["counts"]["written"], 20);
    let billed = simulator.stats().embedded;
    assert!(billed.len() == 20 && billed.values().all(|times| *times == 1));
}

#[tokio::test]
async fn deadline_ends_the_waits() {
    let stack = Stack::fresh().await;
    posts(&stack, 4).await;
    let provider =
        OddProvider::start(Oddity::Refuses(When::Always, Refusal::new(503, &"busy"))).await;
    let away = Service::start(Router::new().fallback(|| async { StatusCode::BAD_GATEWAY })).await;
    let on = || Program::on(&stack, &provider.url()).configured(SCORING);
    for program in [on(), on().with("POSTGREST_URL", away.url())] {
        for command in ["embed", "score"] {
            let started = Instant::now();
            let run = program.run(&[command, "--deadline", "3s"]).await;
            let said = format!("{}{}", run.stdout, run.stderr);
            assert_eq!(run.code, Some(3), "{said}");
            assert!(said.contains("the deadline of 3s has passed"), "{said}");
            assert!(started.elapsed().as_secs() < 15, "{said}");
        }
    }
    assert_eq!(stack.count("select count(*) from work_items").await, 0);
}

#[tokio::test]
async fn a_search_waits_for_the_provider() {
    let stack = Stack::fresh().await;
    let refusal = Refusal::new(503, &"busy");
    let provider = OddProvider::start(Oddity::Refuses(When::First(5), refusal.clone())).await;
    let program = Program::on(&stack, &provider.url());
    let run = program.complete(&["search", "a cat"]).await;
    assert_eq!(provider.requests(), 6);
    assert_eq!(
        run.stderr.matches("waiting for the provider until").count(),
        1,
        "{}",
        run.stderr
    );

    let provider = OddProvider::start(Oddity::Refuses(When::Always, refusal)).await;
    let program =
        Program::on(&stack, &provider.url()).configured("[openai]\npatience_seconds = 2\n");
    for command in [&["search", "a cat"][..], &["doctor"]] {
        let started = Instant::now();
        let run = program.run(command).await;
        assert_eq!(run.code, Some(3), "{}{}", run.stdout, run.stderr);
        assert!(started.elapsed().as_secs() < 15);
    }
}

/// A transaction of somebody else holds what is to be written.
#[tokio::test]
async fn locks_are_waited_for() {
    let stack = Stack::fresh().await;
    let simulator = stack.simulator(Config::default()).await;
    let file: Vec<String> = (0..20)
        .map(|at| {
            json!({ "author_id": "a", "content": format!("cat {at}"), "neighborhood": "Elm" })
                .to_string()
        })
        .collect();
    for (code, lines, writes) in [
        ("55P03", 20, 3),
        ("40P01", 20, 3),
        ("57014", 1, 3),
        ("57014", 20, 9),
    ] {
        let plan = move |action: &str, count| {
            (action == "POST /posts" && count < 2).then_some(ProxyFault::Code(code))
        };
        let proxy = FaultProxy::start(stack.postgrest_url(), Box::new(plan)).await;
        let program = Program::on(&stack, &simulator.base_url()).with("POSTGREST_URL", proxy.url());
        let path = program.file("posts.jsonl", file[..lines].join("\n"));
        let report = program.json(&["store", path.to_str().unwrap()]).await;
        let (inserted, failed) = (&report["counts"]["inserted"], &report["counts"]["failed"]);
        assert_eq!((inserted, failed), (&json!(lines), &json!(0)), "{code}");
        assert!(proxy.count("POST /posts") <= writes, "{code}");
        stack.sql("truncate posts, neighborhoods cascade").await;
    }
    posts(&stack, 20).await;
    let scoring = Program::on(&stack, &simulator.base_url()).configured(SCORING);
    scoring.complete(&["score"]).await;
    for (code, times) in [("57014", 2), ("57014", 7), ("55P03", 2)] {
        let plan = move |action: &str, count| {
            let fails = action == "POST /rpc/stage_post_scores" && count < times;
            fails.then_some(ProxyFault::Code(code))
        };
        let proxy = FaultProxy::start(stack.postgrest_url(), Box::new(plan)).await;
        let program = Program::on(&stack, &simulator.base_url())
            .with("POSTGREST_URL", proxy.url())
            .configured(SCORING);
        let report = program.json(&["recompute"]).await;
        assert_eq!(report["counts"]["written"], 20, "{code}");
        assert_eq!(
            proxy.count("POST /rpc/stage_post_scores"),
            times + 1,
            "{code}"
        );
    }
}
