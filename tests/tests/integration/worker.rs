//! Background jobs: enqueued, claimed by lease, run, cancelled, retried, taken over.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use serde_json::{Value, json};
use sluice_runner::simulator::{Fault, Faults, Simulator};
use sluice_tests::{Program, Run, Service, Stack, signal};

use crate::support::scores::{KIND, add_posts, add_scores, paced, program, scored, three};
use crate::support::{set_faults, slow_down, text_of, until};

/// A stack with this many posts scored by a rubric of two dimensions, and the program with one of three.
pub(crate) async fn prepared(posts: u32) -> (Stack, Simulator, Program) {
    let (stack, simulator) = scored(posts).await;
    let program = program(&stack, &simulator, &three());
    (stack, simulator, program)
}

/// Type, status and retries of every job, in the order in which they were enqueued.
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

/// Inserts a job without any check, as the app does.
pub(crate) async fn insert_job(stack: &Stack, kind: &str, params: &Value, max_retries: u32) {
    stack
        .sql(&format!(
            "insert into background_jobs (type, status, params, max_retries)
             values ('{kind}', 'pending', '{params}', {max_retries})"
        ))
        .await;
}

#[tokio::test]
async fn once_runs_all_due_jobs_of_known_types_and_no_others() {
    let (stack, simulator, program) = prepared(6).await;
    insert_job(
        &stack,
        "run_scraper",
        &json!({ "neighborhood": "elm-park" }),
        3,
    )
    .await;
    program.complete(&["jobs", "enqueue", "embed_posts"]).await;
    program
        .complete(&[
            "jobs",
            "enqueue",
            "backfill_dimension",
            "--dimension",
            "kindness",
        ])
        .await;
    program.complete(&["jobs", "enqueue", "rescore_all"]).await;
    let weights = r#"{"drama": 1, "kindness": 2}"#;
    let enqueue = [
        "jobs",
        "enqueue",
        "recompute_final_scores",
        "--activate",
        "--weights",
        weights,
    ];
    let saved = program.json(&enqueue).await;
    let worked = program.json(&["worker", "--once"]).await;
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
            // The backfill enqueued this one.
            job("recompute_final_scores", "completed", 0),
        ]
    );
    assert_eq!(simulator.stats().embedding_requests, 1);
    assert_eq!(stack.count("select count(*) from post_embeddings").await, 6);
    assert_eq!(stack.count(KIND).await, 6);
    let active = stack.rows("select active_weight_config() as id").await;
    assert_eq!(active[0]["id"], saved["weight_config_id"]);
    let progress = "select progress, total from background_jobs where type = 'rescore_all'";
    assert_eq!(stack.rows(progress).await[0]["progress"], 6);
    let again = program.json(&["worker", "--once"]).await;
    assert_eq!(again["status"], "complete");
    assert!(again.get("flows").is_none());
}

#[tokio::test]
async fn job_that_makes_no_sense_fails_alone_and_is_not_retried() {
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
async fn refused_job_is_retried_as_often_as_it_may_and_zero_means_never() {
    let (stack, simulator, program) = prepared(2).await;
    set_faults(&simulator, Faults::only(Fault::Quota, 1.0));
    insert_job(&stack, "rescore_all", &json!({}), 0).await;
    let worked = program.run(&["worker", "--once"]).await;
    assert_eq!(worked.code, Some(5), "{}", worked.stderr);
    assert_eq!(jobs(&stack).await, [job("rescore_all", "error", 0)]);

    stack.sql("delete from background_jobs").await;
    insert_job(&stack, "rescore_all", &json!({}), 1).await;
    assert_eq!(program.run(&["worker", "--once"]).await.code, Some(5));
    assert_eq!(jobs(&stack).await, [job("rescore_all", "pending", 1)]);
    // It is not due during its backoff.
    assert_eq!(program.run(&["worker", "--once"]).await.code, Some(0));
    stack
        .sql("update background_jobs set next_attempt_at = now()")
        .await;
    assert_eq!(program.run(&["worker", "--once"]).await.code, Some(5));
    assert_eq!(jobs(&stack).await, [job("rescore_all", "error", 1)]);

    // After `jobs retry` it has all its retries again. The quota is back.
    set_faults(&simulator, Faults::default());
    let id = text_of(&stack.rows("select id from background_jobs").await[0], "id");
    assert_eq!(
        program.json(&["jobs", "retry", &id]).await["status"],
        "pending"
    );
    program.complete(&["worker", "--once"]).await;
    assert_eq!(jobs(&stack).await, [job("rescore_all", "completed", 0)]);
}

#[tokio::test]
async fn cancelled_job_stops_within_two_seconds_and_leaves_no_work() {
    let (stack, simulator, program) = prepared(120).await;
    slow_down(&simulator, 200);
    let job_id = program.json(&["jobs", "enqueue", "rescore_all"]).await["job_id"].clone();
    program
        .complete(&["jobs", "enqueue", "recompute_final_scores"])
        .await;
    let mut worker = program.spawn(&["worker", "--once", "--output", "json"]);
    until("some are scored", async || stack.count(KIND).await > 0).await;
    program
        .complete(&["jobs", "cancel", job_id.as_str().unwrap()])
        .await;
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
    assert_eq!(status.code(), Some(0), "a cancelled job is not a failure");
    assert_eq!(
        jobs(&stack).await,
        [
            job("rescore_all", "cancelled", 0),
            job("recompute_final_scores", "completed", 0)
        ]
    );
    assert!(stack.count(KIND).await < 120);
    assert_eq!(stack.count("select count(*) from work_items").await, 0);
    assert_eq!(stack.count("select count(*) from llm_scores").await, 120);
}

#[tokio::test]
async fn stopped_worker_releases_its_job() {
    let (stack, simulator, program) = prepared(120).await;
    slow_down(&simulator, 200);
    program.complete(&["jobs", "enqueue", "rescore_all"]).await;
    let worker = program.spawn(&["worker", "--json"]);
    until("some are scored", async || stack.count(KIND).await > 0).await;
    let total = "select total from background_jobs";
    until("the total is known", async || {
        stack.rows(total).await == [json!({ "total": 120 })]
    })
    .await;
    signal(worker.id(), "TERM");
    let run = program.end(worker, Duration::from_secs(10)).await;
    assert_eq!(run.code, Some(130), "{}", run.stderr);
    let reason = "stopped by a signal; the job that was running is due again";
    assert_eq!(run.json()["reason"], reason);
    assert_eq!(jobs(&stack).await, [job("rescore_all", "pending", 0)]);
    assert_eq!(stack.count("select count(*) from work_items").await, 0);
}

#[tokio::test]
async fn idle_worker_that_is_stopped_says_that_no_job_was_running() {
    let (stack, _simulator, program) = prepared(3).await;
    program.complete(&["jobs", "enqueue", "embed_posts"]).await;
    let reason = "stopped by a signal; no job was running";
    for json in [true, false] {
        let arguments: &[&str] = if json {
            &["worker", "--json"]
        } else {
            &["worker"]
        };
        let worker = program.spawn(arguments);
        let done = "select count(*) from background_jobs where status = 'completed'";
        until("the job is done", async || stack.count(done).await == 1).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        signal(worker.id(), "TERM");
        let run = program.end(worker, Duration::from_secs(10)).await;
        assert_eq!(run.code, Some(130), "{}", run.stderr);
        if json {
            assert_eq!(run.json()["reason"], reason);
        } else {
            assert_eq!(run.stdout.trim_end(), reason);
        }
    }
}

#[tokio::test]
async fn job_of_a_killed_worker_is_taken_over_when_its_lease_lapses() {
    let (stack, simulator, program) = prepared(60).await;
    slow_down(&simulator, 100);
    program.complete(&["jobs", "enqueue", "rescore_all"]).await;
    let mut worker = program.spawn(&["worker"]);
    until("some are scored", async || stack.count(KIND).await > 0).await;
    worker.kill().await.unwrap();
    // No other worker takes a job while its lease holds.
    program.complete(&["worker", "--once"]).await;
    assert_eq!(jobs(&stack).await, [job("rescore_all", "running", 0)]);
    stack
        .sql("update background_jobs set leased_until = now(); update work_items set leased_until = now()")
        .await;
    program.complete(&["worker", "--once"]).await;
    assert_eq!(jobs(&stack).await, [job("rescore_all", "completed", 1)]);
    assert_eq!(stack.count(KIND).await, 60);

    // A lapsed job without a retry left ends as an error. It is not taken over again.
    stack
        .sql("update background_jobs set status = 'running', leased_until = now(), retry_count = max_retries")
        .await;
    program.complete(&["worker", "--once"]).await;
    assert_eq!(jobs(&stack).await, [job("rescore_all", "error", 3)]);
}

#[tokio::test]
async fn two_workers_complete_each_of_several_jobs_exactly_once() {
    let (stack, simulator, program) = prepared(10).await;
    program.complete(&["jobs", "enqueue", "rescore_all"]).await;
    program.complete(&["jobs", "enqueue", "embed_posts"]).await;
    program
        .complete(&[
            "jobs",
            "enqueue",
            "backfill_dimension",
            "--dimension",
            "kindness",
        ])
        .await;
    for _ in 0..5 {
        program
            .complete(&["jobs", "enqueue", "recompute_final_scores"])
            .await;
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
    // The rescore and the backfill may both score a text, but neither does so twice.
    assert!(simulator.stats().scored.values().all(|times| *times <= 2));
}

/// Four workers share twenty jobs, and every so often one of the workers is killed.
#[tokio::test]
async fn twenty_jobs_complete_exactly_once_under_random_kills() {
    let (stack, simulator, program) = prepared(20).await;
    program.configure(&format!("[leases]\nseconds = 5\n{}", paced(&three(), 2)));
    slow_down(&simulator, 20);
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
            "the jobs do not end"
        );
        if kills < 10 {
            let victim = kills % workers.len();
            workers[victim].kill().await.unwrap();
            workers[victim] = program.spawn(&["worker", "--quiet"]);
            kills += 1;
        }
        // A live worker sends two heartbeats a second. This shortens the minute until the lease of a dead one lapses.
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
    assert!(kills >= 5, "{kills} kills prove little");
    assert_eq!((once, all), (20, 20));
    assert_eq!(stack.count(KIND).await, 20);
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
async fn worker_serves_metrics_and_health() {
    let (stack, simulator, program) = prepared(6).await;
    program.complete(&["jobs", "enqueue", "embed_posts"]).await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let worker = program.spawn(&["worker", "--listen", &address]);
    let get = async |path: &str| {
        let response = reqwest::get(format!("http://{address}{path}")).await.ok()?;
        Some((response.status().as_u16(), response.text().await.ok()?))
    };
    let ended = "sluice_jobs_total{type=\"embed_posts\",status=\"complete\"} 1\n";
    until("the job is counted", async || {
        get("/metrics")
            .await
            .is_some_and(|(_, page)| page.contains(ended))
    })
    .await;
    let (_, page) = get("/metrics").await.unwrap();
    let tokens = format!(
        "sluice_tokens_total{{direction=\"input\"}} {}\n",
        simulator.stats().input_tokens
    );
    for line in [
        "sluice_rows_total{outcome=\"written\"} 6\n",
        "sluice_provider_requests_total 1\n",
        &tokens,
    ] {
        assert!(page.contains(line), "{line} is missing in {page}");
    }
    assert_eq!(get("/health").await, Some((200, "ok\n".to_owned())));
    // The address is taken, which a second worker says at once.
    let second = program.run(&["worker", "--listen", &address]).await;
    assert_eq!(second.code, Some(2), "{}", second.stderr);
    signal(worker.id(), "TERM");
    let run = program.end(worker, Duration::from_secs(10)).await;
    assert_eq!(run.code, Some(130), "{}", run.stderr);
    assert_eq!(stack.count("select count(*) from post_embeddings").await, 6);
}

/// The log lines in JSON, each with the ids of its run and its batch.
#[tokio::test]
async fn log_lines_name_their_run_flow_and_batch() {
    let (_stack, simulator, program) = prepared(6).await;
    set_faults(&simulator, Faults::only(Fault::RateLimit, 0.5));
    program.configure("[embedding]\nbatch_size = 1\n");
    let program = program.with("SLUICE_LOG", "sluice=debug");
    let run = program
        .run(&["embed", "--log-format", "json", "--json"])
        .await;
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let lines = run.stderr.lines().filter(|line| line.starts_with('{'));
    let lines: Vec<Value> = lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let spans = |line: &Value, key: &str| {
        let spans = line["spans"].as_array().map_or(&[][..], Vec::as_slice);
        spans.iter().find_map(|span| span.get(key).cloned())
    };
    let runs: std::collections::BTreeSet<String> = lines
        .iter()
        .filter_map(|line| spans(line, "run"))
        .map(|run| run.to_string())
        .collect();
    assert_eq!(runs.len(), 1, "{}", run.stderr);
    let batched = lines.iter().find(|line| spans(line, "batch").is_some());
    let batched = batched.unwrap_or_else(|| panic!("no line of a batch: {}", run.stderr));
    assert_eq!(spans(batched, "flow"), Some(json!("embed")));
    let odd = program
        .with("SLUICE_LOG", "sluice=loud")
        .run(&["status"])
        .await;
    assert!(
        odd.stderr.contains("SLUICE_LOG is left out"),
        "{}",
        odd.stderr
    );
}

#[tokio::test]
async fn app_is_notified_of_a_cut_over_once_and_its_failure_is_only_a_warning() {
    let stack = Stack::fresh().await;
    add_posts(&stack, 3).await;
    add_scores(&stack, 3).await;
    let app = App::start().await;
    let program = Program::on(&stack, "http://127.0.0.1:9/v1")
        .with("APP_URL", app.service.url())
        .with("INTERNAL_API_SECRET", "hush");
    program
        .complete(&["jobs", "enqueue", "recompute_final_scores"])
        .await;
    let worked = program.json(&["worker", "--once"]).await;
    let notification = (
        "/api/admin/invalidate-active-config".to_owned(),
        "hush".to_owned(),
    );
    assert_eq!(app.notifications(), [notification]);
    assert_eq!(worked["flows"][0]["warnings"], json!([]));

    app.respond(StatusCode::INTERNAL_SERVER_ERROR);
    let recomputed = program.json(&["recompute"]).await;
    assert_eq!(app.notifications().len(), 2);
    assert_eq!(recomputed["status"], "complete");
    let warnings = recomputed["warnings"].to_string();
    assert!(warnings.contains("failed to notify the app"), "{warnings}");
    assert!(!warnings.contains("hush"), "{warnings}");
}

/// The notifications: path and secret of each. And the status that the app responds with.
type Notified = Arc<Mutex<(Vec<(String, String)>, StatusCode)>>;

/// A fake of the app that is notified of a cut-over.
struct App {
    service: Service,
    state: Notified,
}

impl App {
    async fn start() -> Self {
        let state: Notified = Arc::new(Mutex::new((Vec::new(), StatusCode::OK)));
        let router = Router::new()
            .fallback(notified)
            .with_state(Arc::clone(&state));
        let service = Service::start(router).await;
        Self { service, state }
    }

    fn notifications(&self) -> Vec<(String, String)> {
        self.state.lock().unwrap().0.clone()
    }

    fn respond(&self, status: StatusCode) {
        self.state.lock().unwrap().1 = status;
    }
}

async fn notified(State(state): State<Notified>, uri: Uri, headers: HeaderMap) -> StatusCode {
    let secret = headers.get("x-internal-secret").unwrap().to_str().unwrap();
    let mut state = state.lock().unwrap();
    state.0.push((uri.path().to_owned(), secret.to_owned()));
    state.1
}
