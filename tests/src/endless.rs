//! A database that makes its posts on the fly and forgets what is written: for loads that no database
//! on this machine would hold. It answers only what the embed flow asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use uuid::Uuid;

/// The server.
pub struct Endless {
    url: String,
    state: Arc<Posts>,
    task: JoinHandle<()>,
}

/// How many posts there are, how many were handed out, and what came back.
#[derive(Default)]
struct Posts {
    total: u64,
    words: usize,
    claimed: AtomicU64,
    stored: AtomicU64,
    requests: AtomicU64,
}

impl Endless {
    /// Starts with so many posts of so many words each.
    pub async fn start(total: u64, words: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Posts {
            total,
            words,
            ..Posts::default()
        });
        let router = Router::new()
            .route("/rpc/{function}", post(answer))
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(Arc::clone(&state));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, state, task }
    }

    /// Its PostgREST address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Embeddings that were written.
    pub fn stored(&self) -> u64 {
        self.state.stored.load(Ordering::Relaxed)
    }

    /// Requests that were answered.
    pub fn requests(&self) -> u64 {
        self.state.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    State(posts): State<Arc<Posts>>,
    Path(function): Path<String>,
    Json(arguments): Json<Value>,
) -> (StatusCode, Json<Value>) {
    posts.requests.fetch_add(1, Ordering::Relaxed);
    let listed = |name: &str| {
        arguments
            .get(name)
            .and_then(Value::as_array)
            .map_or(0, Vec::len)
    };
    let answered = match function.as_str() {
        "pipeline_status" => json!({ "posts": posts.total, "embedding_dimensions": 1536 }),
        "claim_work" => posts.claim(
            arguments
                .get("p_limit")
                .and_then(Value::as_u64)
                .unwrap_or_default(),
        ),
        "store_embeddings" => {
            let rows = listed("p_rows");
            posts.stored.fetch_add(rows as u64, Ordering::Relaxed);
            json!(rows)
        }
        "extend_work" => arguments.get("p_post_ids").cloned().unwrap_or_default(),
        "finish_work" | "release_work" => json!(listed("p_post_ids")),
        _ => {
            return (
                StatusCode::NOT_FOUND,
                Json(json!({ "code": "PGRST202", "message": function })),
            );
        }
    };
    (StatusCode::OK, Json(answered))
}

impl Posts {
    /// The next posts, each with a text of its own.
    fn claim(&self, limit: u64) -> Value {
        let first = self.claimed.fetch_add(limit, Ordering::Relaxed);
        let last = (first + limit).min(self.total);
        let rows: Vec<Value> = (first..last).map(|number| self.post(number)).collect();
        // A pass ends with the posts; the next one begins with none left.
        let next = (last < self.total && !rows.is_empty()).then(|| Uuid::from_u128(last.into()));
        json!({ "rows": rows, "next_after": next, "waiting": 0, "leased_elsewhere": 0 })
    }

    fn post(&self, number: u64) -> Value {
        let text = format!(
            "post {number} {}",
            "neighbours and their dogs ".repeat(self.words / 4)
        );
        json!({ "id": Uuid::from_u128(u128::from(number) + 1), "text": text, "attempts": 0 })
    }
}
