//! Background jobs: enqueued, claimed by lease, run, cancelled, retried, taken over.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use serde_json::{Value, json};
use sluice_runner::flow::ScoreScope;
use sluice_runner::simulator::{Config, ConfigChange, Fault, Faults, Latency, Simulator};
use sluice_tests::{Program, Run, Stack};

use crate::scoring_support::{TWO, add_posts, add_scores, paced, run_score, text_of, three, until};

/// A stack with so many posts scored by a rubric of two dimensions, and the program with one of three.
pub(crate) async fn prepared(posts: u32) -> (Stack, Simulator, Program) {
    let stack = Stack::fresh().await;
    add_posts(&stack, posts).await;
    let simulator = stack.simulator(Config::default()).await;
    run_score(&stack.session(&simulator, TWO), ScoreScope::Missing).await;
    simulator.reset();
    let program = Program::on(&stack, &simulator.base_url()).configured(&paced(&three(), 2));
    (stack, simulator, program)
}

pub(crate) async fn run(program: &Program, arguments: &[&str]) -> Run {
    let run = program
        .run(&[arguments, &["--output", "json"]].concat())
        .await;
    assert_eq!(run.code, Some(0), "{arguments:?}: {}", run.stderr);
    run
}

/// Status and retries of every job, in the order in which they were enqueued.
pub(crate) async fn jobs(stack: &Stack) -> Vec<(String, String, i64)> {
    let query = "select type, status, coalesce(retry_count, 0) as retries from background_jobs order by created_at, id";
    let read = |row: &Value| {
        let retries = row.get("retries").and_then(Value::as_i64).unwrap();
        (text_of(row, "type"), text_of(row, "status"), retries)
    };
    stack.rows(query).await.iter().map(read).collect()
}

pub(crate) fn job(kind: &str, status: &str, retries: i64) -> (String, String, i64) {
    (kind.to_owned(), status.to_owned(), retries)
}

/// Puts a job into the table past every check, as the app does.
pub(crate) async fn insert_job(stack: &Stack, kind: &str, params: &Value, max_retries: u32) {
    stack
        .sql(&format!(
            "insert into background_jobs (type, status, params, max_retries)
             values ('{kind}', 'pending', '{params}', {max_retries})"
        ))
        .await;
}

#[tokio::test]
async fn once_runs_what_is_due_of_every_type_and_leaves_other_types_alone() {
    let (stack, simulator, program) = prepared(6).await;
    insert_job(
        &stack,
        "run_scraper",
        &json!({ "neighborhood": "elm-park" }),
        3,
    )
    .await;
    run(&program, &["jobs", "enqueue", "embed_posts"]).await;
    run(
        &program,
        &[
            "jobs",
            "enqueue",
            "backfill_dimension",
            "--dimension",
            "kindness",
        ],
    )
    .await;
    run(&program, &["jobs", "enqueue", "rescore_all"]).await;
    let weights = r#"{"drama": 1, "kindness": 2}"#;
    let enqueue = [
        "jobs",
        "enqueue",
        "recompute_final_scores",
        "--activate",
        "--weights",
        weights,
    ];
    let saved = run(&program, &enqueue).await.json();
    let worked = run(&program, &["worker", "--once"]).await.json();
    assert_eq!(worked["status"], "complete");
    let flows: Vec<&str> = worked["flows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["flow"].as_str().unwrap())
        .collect();
    assert_eq!(flows, ["embed", "backfill", "rescore", "recompute"]);
    assert_eq!(
        jobs(&stack).await,
        [
            job("run_scraper", "pending", 0),
            job("embed_posts", "completed", 0),
            job("backfill_dimension", "completed", 0),
            job("rescore_all", "completed", 0),
            job("recompute_final_scores", "completed", 0),
            // The backfill's own.
            job("recompute_final_scores", "completed", 0),
        ]
    );
    assert_eq!(simulator.stats().embedding_requests, 1);
    assert_eq!(stack.count("select count(*) from post_embeddings").await, 6);
    assert_eq!(
        stack
            .count("select count(*) from llm_scores where scores ? 'kindness'")
            .await,
        6
    );
    let active = stack.rows("select active_weight_config() as id").await;
    assert_eq!(active[0]["id"], saved["weight_config_id"]);
    let progress = "select progress, total from background_jobs where type = 'rescore_all'";
    assert_eq!(stack.rows(progress).await[0]["progress"], 6);
    let again = run(&program, &["worker", "--once"]).await.json();
    assert_eq!(again["status"], "complete");
    assert!(again.get("flows").is_none());
}

#[tokio::test]
async fn a_job_that_makes_no_sense_fails_alone_and_is_not_tried_again() {
    let (stack, _simulator, program) = prepared(2).await;
    insert_job(
        &stack,
        "recompute_final_scores",
        &json!({ "weight_config_id": 7 }),
        3,
    )
    .await;
    insert_job(
        &stack,
        "backfill_dimension",
        &json!({ "dimension": "zest" }),
        3,
    )
    .await;
    insert_job(&stack, "backfill_dimension", &json!(["kindness"]), 3).await;
    insert_job(&stack, "rescore_all", &json!({}), 3).await;
    let worked = program.run(&["worker", "--once", "--output", "json"]).await;
    assert_eq!(worked.code, Some(4), "{}", worked.stderr);
    assert_eq!(worked.json()["status"], "partial");
    assert_eq!(
        jobs(&stack).await,
        [
            job("recompute_final_scores", "error", 0),
            job("backfill_dimension", "error", 0),
            job("backfill_dimension", "error", 0),
            job("rescore_all", "completed", 0),
        ]
    );
    let errors =
        "select error_message from background_jobs where status = 'error' order by created_at, id";
    let errors: Vec<String> = stack
        .rows(errors)
        .await
        .iter()
        .map(|row| text_of(row, "error_message"))
        .collect();
    assert!(errors[0].contains("weight_config_id is 7"), "{errors:?}");
    assert!(errors[1].contains("no dimension `zest`"), "{errors:?}");
    assert!(errors[2].contains("must name a dimension"), "{errors:?}");
}

#[tokio::test]
async fn a_refused_job_is_tried_again_up_to_its_retries_and_zero_is_none() {
    let (stack, simulator, program) = prepared(2).await;
    let quota = ConfigChange {
        faults: Some(Faults::only(Fault::Quota, 1.0)),
        ..ConfigChange::default()
    };
    simulator.change(quota).unwrap();
    insert_job(&stack, "rescore_all", &json!({}), 0).await;
    let worked = program.run(&["worker", "--once"]).await;
    assert_eq!(worked.code, Some(5), "{}", worked.stderr);
    assert_eq!(jobs(&stack).await, [job("rescore_all", "error", 0)]);

    stack.sql("delete from background_jobs").await;
    insert_job(&stack, "rescore_all", &json!({}), 1).await;
    assert_eq!(program.run(&["worker", "--once"]).await.code, Some(5));
    assert_eq!(jobs(&stack).await, [job("rescore_all", "pending", 1)]);
    // In its backoff it is not due.
    assert_eq!(program.run(&["worker", "--once"]).await.code, Some(0));
    stack
        .sql("update background_jobs set next_attempt_at = now()")
        .await;
    assert_eq!(program.run(&["worker", "--once"]).await.code, Some(5));
    assert_eq!(jobs(&stack).await, [job("rescore_all", "error", 1)]);

    // Retried by hand it has all its retries again, and the quota is back.
    let cured = ConfigChange {
        faults: Some(Faults::default()),
        ..ConfigChange::default()
    };
    simulator.change(cured).unwrap();
    let id = text_of(&stack.rows("select id from background_jobs").await[0], "id");
    assert_eq!(
        run(&program, &["jobs", "retry", &id]).await.json()["status"],
        "pending"
    );
    run(&program, &["worker", "--once"]).await;
    assert_eq!(jobs(&stack).await, [job("rescore_all", "completed", 0)]);
}

#[tokio::test]
async fn a_cancelled_job_stops_within_two_seconds_and_leaves_things_whole() {
    let (stack, simulator, program) = prepared(120).await;
    let latency = Some(Latency {
        fixed_ms: 200,
        ..Latency::default()
    });
    simulator
        .change(ConfigChange {
            latency,
            ..ConfigChange::default()
        })
        .unwrap();
    let job_id = run(&program, &["jobs", "enqueue", "rescore_all"])
        .await
        .json()["job_id"]
        .clone();
    run(&program, &["jobs", "enqueue", "recompute_final_scores"]).await;
    let mut worker = program.spawn(&["worker", "--once", "--output", "json"]);
    let done = "select count(*) from llm_scores where scores ? 'kindness'";
    until("some are scored", async || stack.count(done).await > 0).await;
    run(&program, &["jobs", "cancel", job_id.as_str().unwrap()]).await;
    let asked = tokio::time::Instant::now();
    until("the next job is done", async || {
        jobs(&stack)
            .await
            .iter()
            .any(|(_, status, _)| status == "completed")
    })
    .await;
    assert!(asked.elapsed().as_secs_f64() < 2.5, "{:?}", asked.elapsed());
    let status = worker.wait().await.unwrap();
    assert_eq!(status.code(), Some(0), "a cancel is no failure");
    assert_eq!(
        jobs(&stack).await,
        [
            job("rescore_all", "cancelled", 0),
            job("recompute_final_scores", "completed", 0)
        ]
    );
    assert!(stack.count(done).await < 120);
    assert_eq!(stack.count("select count(*) from work_items").await, 0);
    assert_eq!(stack.count("select count(*) from llm_scores").await, 120);
}

#[tokio::test]
async fn a_worker_that_is_told_to_stop_gives_its_job_back() {
    let (stack, simulator, program) = prepared(120).await;
    let latency = Some(Latency {
        fixed_ms: 200,
        ..Latency::default()
    });
    simulator
        .change(ConfigChange {
            latency,
            ..ConfigChange::default()
        })
        .unwrap();
    run(&program, &["jobs", "enqueue", "rescore_all"]).await;
    let mut worker = program.spawn(&["worker"]);
    let done = "select count(*) from llm_scores where scores ? 'kindness'";
    until("some are scored", async || stack.count(done).await > 0).await;
    let total = "select total from background_jobs";
    until("the total is told", async || {
        stack.rows(total).await == [json!({ "total": 120 })]
    })
    .await;
    terminate(worker.id().unwrap()).await;
    assert_eq!(worker.wait().await.unwrap().code(), Some(130));
    assert_eq!(jobs(&stack).await, [job("rescore_all", "pending", 0)]);
    assert_eq!(stack.count("select count(*) from work_items").await, 0);
}

#[tokio::test]
async fn the_job_of_a_killed_worker_is_taken_over_when_its_lease_lapses() {
    let (stack, simulator, program) = prepared(60).await;
    let latency = Some(Latency {
        fixed_ms: 100,
        ..Latency::default()
    });
    simulator
        .change(ConfigChange {
            latency,
            ..ConfigChange::default()
        })
        .unwrap();
    run(&program, &["jobs", "enqueue", "rescore_all"]).await;
    let mut worker = program.spawn(&["worker"]);
    let done = "select count(*) from llm_scores where scores ? 'kindness'";
    until("some are scored", async || stack.count(done).await > 0).await;
    worker.kill().await.unwrap();
    // Nobody takes a job whose lease holds.
    run(&program, &["worker", "--once"]).await;
    assert_eq!(jobs(&stack).await, [job("rescore_all", "running", 0)]);
    stack
        .sql("update background_jobs set leased_until = now(); update work_items set leased_until = now()")
        .await;
    run(&program, &["worker", "--once"]).await;
    assert_eq!(jobs(&stack).await, [job("rescore_all", "completed", 1)]);
    assert_eq!(stack.count(done).await, 60);

    // With no retry left a lapsed job ends as an error instead of going round for ever.
    stack
        .sql("update background_jobs set status = 'running', leased_until = now(), retry_count = max_retries")
        .await;
    run(&program, &["worker", "--once"]).await;
    assert_eq!(jobs(&stack).await, [job("rescore_all", "error", 3)]);
}

#[tokio::test]
async fn two_workers_complete_each_of_several_jobs_exactly_once() {
    let (stack, simulator, program) = prepared(10).await;
    run(&program, &["jobs", "enqueue", "rescore_all"]).await;
    run(&program, &["jobs", "enqueue", "embed_posts"]).await;
    run(
        &program,
        &[
            "jobs",
            "enqueue",
            "backfill_dimension",
            "--dimension",
            "kindness",
        ],
    )
    .await;
    for _ in 0..5 {
        run(&program, &["jobs", "enqueue", "recompute_final_scores"]).await;
    }
    let asked = stack.count("select count(*) from background_jobs").await;
    let (one, other) = tokio::join!(
        program.run(&["worker", "--once", "--output", "json"]),
        program.run(&["worker", "--once", "--output", "json"]),
    );
    assert_eq!(
        (one.code, other.code),
        (Some(0), Some(0)),
        "{}{}",
        one.stderr,
        other.stderr
    );
    let ran = |run: &Run| run.json()["flows"].as_array().map_or(0, Vec::len);
    assert_eq!(i64::try_from(ran(&one) + ran(&other)).unwrap(), asked);
    for (kind, status, retries) in jobs(&stack).await {
        assert_eq!((status.as_str(), retries), ("completed", 0), "{kind}");
    }
    assert_eq!(simulator.stats().embedding_requests, 1);
    // A text is asked about by the rescore, the backfill, or both, and by neither of them twice.
    assert!(simulator.stats().scored.values().all(|times| *times <= 2));
}

/// Whatever dies whenever: four workers share twenty jobs, and one of them is killed again and again.
#[tokio::test]
async fn twenty_jobs_complete_exactly_once_under_random_kills() {
    let (stack, simulator, program) = prepared(20).await;
    program.configure(&format!("[leases]\nseconds = 5\n{}", paced(&three(), 2)));
    let latency = Some(Latency {
        fixed_ms: 20,
        ..Latency::default()
    });
    simulator
        .change(ConfigChange {
            latency,
            ..ConfigChange::default()
        })
        .unwrap();
    stack
        .sql(
            "create table completions (job_id uuid);
             create function for_a_test() returns trigger language plpgsql as $$
               begin insert into completions values (new.id); return new; end $$;
             create trigger for_a_test after update on background_jobs for each row
               when (new.status = 'completed' and old.status <> 'completed') execute function for_a_test()",
        )
        .await;
    let kinds = [
        "recompute_final_scores",
        "rescore_all",
        "embed_posts",
        "recompute_final_scores",
    ];
    for kind in kinds.into_iter().cycle().take(20) {
        insert_job(&stack, kind, &json!({}), 100).await;
    }
    let mut workers: Vec<_> = (0..4)
        .map(|_| program.spawn(&["worker", "--quiet"]))
        .collect();
    let open = "select count(*) from background_jobs where status in ('pending', 'running')";
    let mut kills = 0;
    let began = tokio::time::Instant::now();
    while stack.count(open).await > 0 {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "it does not come to an end"
        );
        if kills < 10 {
            let victim = kills % workers.len();
            workers[victim].kill().await.unwrap();
            workers[victim] = program.spawn(&["worker", "--quiet"]);
            kills += 1;
        }
        // A live worker beats twice a second: this stands for the minute until a dead one's lease lapses.
        stack
            .sql(
                "update background_jobs set leased_until = now()
                   where status = 'running' and updated_at < now() - interval '2 seconds'",
            )
            .await;
        tokio::time::sleep(Duration::from_millis(200 + 90 * (kills as u64 % 5))).await;
    }
    drop(workers);
    let once = "select count(*) from (select job_id from completions group by job_id having count(*) = 1) c";
    let (once, all) = (
        stack.count(once).await,
        stack.count("select count(*) from completions").await,
    );
    stack
        .sql("drop function for_a_test cascade; drop table completions")
        .await;
    assert!(kills >= 5, "{kills} kills show little");
    assert_eq!((once, all), (20, 20));
    assert_eq!(
        stack
            .count("select count(*) from llm_scores where scores ? 'kindness'")
            .await,
        20
    );
    assert_eq!(
        stack.count("select count(*) from post_embeddings").await,
        20
    );
    assert_eq!(
        stack.count("select count(*) from post_score_chunks").await,
        0
    );
}

#[tokio::test]
async fn the_app_is_told_of_a_cut_over_once_and_its_failure_is_only_a_warning() {
    let stack = Stack::fresh().await;
    add_posts(&stack, 3).await;
    add_scores(&stack, 3).await;
    let app = App::start().await;
    let program = Program::on(&stack, "http://127.0.0.1:9/v1")
        .with("APP_URL", &app.url)
        .with("INTERNAL_API_SECRET", "hush");
    run(&program, &["jobs", "enqueue", "recompute_final_scores"]).await;
    let worked = run(&program, &["worker", "--once"]).await.json();
    let told = (
        "/api/admin/invalidate-active-config".to_owned(),
        "hush".to_owned(),
    );
    assert_eq!(app.told(), [told]);
    assert_eq!(worked["flows"][0]["warnings"], json!([]));

    app.answer(StatusCode::INTERNAL_SERVER_ERROR);
    let recomputed = run(&program, &["recompute"]).await.json();
    assert_eq!(app.told().len(), 2);
    assert_eq!(recomputed["status"], "complete");
    let warnings = recomputed["warnings"].to_string();
    assert!(warnings.contains("failed to notify the app"), "{warnings}");
    assert!(!warnings.contains("hush"), "{warnings}");
}

/// Asks a process to leave, as an init system does.
async fn terminate(process: u32) {
    let status = tokio::process::Command::new("kill")
        .args(["-TERM", &process.to_string()])
        .status()
        .await
        .unwrap();
    assert!(status.success());
}

/// What the app was told: the path, and the secret that came with it.
type Told = Arc<Mutex<(Vec<(String, String)>, StatusCode)>>;

/// A stand-in for the app whose cache is told of a cut-over.
struct App {
    url: String,
    state: Told,
}

impl App {
    async fn start() -> Self {
        let state: Told = Arc::new(Mutex::new((Vec::new(), StatusCode::OK)));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(hear).with_state(Arc::clone(&state));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, state }
    }

    fn told(&self) -> Vec<(String, String)> {
        self.state.lock().unwrap().0.clone()
    }

    fn answer(&self, status: StatusCode) {
        self.state.lock().unwrap().1 = status;
    }
}

async fn hear(State(state): State<Told>, uri: Uri, headers: HeaderMap) -> StatusCode {
    let secret = headers.get("x-internal-secret").unwrap().to_str().unwrap();
    let mut state = state.lock().unwrap();
    state.0.push((uri.path().to_owned(), secret.to_owned()));
    state.1
}
