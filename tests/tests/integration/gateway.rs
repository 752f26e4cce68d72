//! Commands behind a gateway that answers in place of PostgREST.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use sluice_tests::{Service, Stack};

use crate::support::posts::line;
use crate::support::text_of;
use crate::worker::prepared;

/// When the gateway answers for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// Instead of passing the request on.
    Untouched,
    /// After the database has done what the request says.
    Done,
}

/// Answers the first request of each method and path with a page of its own, and passes all others on.
struct Gateway {
    service: Service,
    answered: Arc<Mutex<HashSet<(Method, String)>>>,
}

impl Gateway {
    /// Starts in front of a stack. It answers only on paths that end so.
    async fn before(stack: &Stack, status: u16, when: When, end: &'static str) -> Self {
        let root = stack.postgrest_url().to_owned();
        let client = reqwest::Client::builder().build().unwrap();
        let answered = Arc::<Mutex<HashSet<(Method, String)>>>::default();
        let seen = Arc::clone(&answered);
        let page = (StatusCode::from_u16(status).unwrap(), "<html>sorry</html>");
        let forward = move |request: Request| {
            let (client, root) = (client.clone(), root.clone());
            let path = request.uri().path().to_owned();
            let action = (request.method().clone(), path.clone());
            let is_first = path.ends_with(end) && seen.lock().unwrap().insert(action);
            async move {
                if is_first && when == When::Untouched {
                    return (page.0, page.1.into());
                }
                let (parts, body) = request.into_parts();
                let body = to_bytes(body, usize::MAX).await.unwrap();
                let mut headers = parts.headers;
                headers.remove("host");
                headers.remove("accept-encoding");
                let url = format!("{root}{}", parts.uri);
                let request = client.request(parts.method, url).headers(headers);
                let response = request.body(body).send().await.unwrap();
                let status = response.status();
                let body = response.bytes().await.unwrap();
                if is_first {
                    return (page.0, page.1.into());
                }
                (status, body)
            }
        };
        Self {
            service: Service::start(Router::new().fallback(forward)).await,
            answered,
        }
    }
}

#[tokio::test]
async fn job_is_enqueued_once_if_a_gateway_answers_in_place_of_the_database() {
    let (stack, _simulator, program) = prepared(1).await;
    let count = async |table: &str| stack.count(&format!("select count(*) from {table}")).await;
    let gateway = Gateway::before(&stack, 503, When::Done, "/enqueue_job").await;
    let program = program.with("POSTGREST_URL", gateway.service.url());
    let job = program.json(&["jobs", "enqueue", "rescore_all"]).await;
    assert_eq!(count("background_jobs").await, 1);
    let listed = program.json(&["jobs", "list"]).await;
    assert_eq!(listed[0]["id"], job["job_id"]);

    let gateway = Gateway::before(&stack, 503, When::Done, "/save_and_recompute").await;
    let program = program.with("POSTGREST_URL", gateway.service.url());
    let (kind, weights) = ("recompute_final_scores", r#"{"drama": 2}"#);
    let before = count("weight_configs").await;
    let enqueue = ["jobs", "enqueue", kind, "--weights", weights];
    let saved = program.json(&enqueue).await;
    assert_eq!(count("background_jobs").await, 2);
    assert_eq!(count("weight_configs").await, before + 1);
    let config = text_of(&saved, "weight_config_id");
    let query = format!("select count(*) from weight_configs where id = '{config}'");
    assert_eq!(stack.count(&query).await, 1);
}

/// A gateway that had no answer once is asked again.
#[tokio::test]
async fn commands_that_may_be_repeated_outlive_one_bad_answer() {
    let (stack, _simulator, mut program) = prepared(3).await;
    let lines: Vec<String> = (0..4)
        .map(|at| line(&format!("Quarter {at}"), &format!("post {at}")))
        .collect();
    let file = program.file("posts.jsonl", lines.join("\n"));
    let store = ["store", file.to_str().unwrap()];
    for (status, when) in [
        (520, When::Untouched),
        (522, When::Untouched),
        (503, When::Done),
        (524, When::Done),
    ] {
        for command in [&["status"][..], &["plan"], &["rank"], &store] {
            let gateway = Gateway::before(&stack, status, when, "").await;
            program = program.with("POSTGREST_URL", gateway.service.url());
            program.complete(command).await;
            let answered = gateway.answered.lock().unwrap().len();
            assert!(answered > 0, "{command:?}: {status} {when:?}");
        }
        let stored = "select count(*) from posts p join neighborhoods n on n.id = p.neighborhood_id
            where n.name like 'Quarter %'";
        assert_eq!(stack.count(stored).await, 4, "{status} {when:?}");
        let forget = "delete from posts where neighborhood_id in
                (select id from neighborhoods where name like 'Quarter %');
            delete from neighborhoods where name like 'Quarter %'";
        stack.sql(forget).await;
    }
}
