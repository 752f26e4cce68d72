//! A fake database that makes up its posts and forgets what is written: for more posts than a real database on this
//! machine can hold. It supports only what the embed flow calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::service::Service;

/// The running fake.
pub struct Endless {
    service: Service,
    posts: Arc<Posts>,
}

/// The posts and counters. Only the handler of requests changes them.
#[derive(Default)]
struct Posts {
    total: u64,
    words: usize,
    claimed: AtomicU64,
    stored: AtomicU64,
    requests: AtomicU64,
}

impl Endless {
    /// Starts with `total` posts of `words` words each.
    pub async fn start(total: u64, words: usize) -> Self {
        let posts = Arc::new(Posts {
            total,
            words,
            ..Posts::default()
        });
        let router = Router::new()
            .route("/rpc/{function}", post(call))
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(Arc::clone(&posts));
        let service = Service::start(router).await;
        Self { service, posts }
    }

    /// Its PostgREST address.
    pub fn url(&self) -> &str {
        self.service.url()
    }

    /// How many embeddings were written.
    pub fn stored(&self) -> u64 {
        self.posts.stored.load(Ordering::Relaxed)
    }

    /// How many requests it has received.
    pub fn requests(&self) -> u64 {
        self.posts.requests.load(Ordering::Relaxed)
    }
}

async fn call(
    State(posts): State<Arc<Posts>>,
    Path(function): Path<String>,
    Json(arguments): Json<Value>,
) -> (StatusCode, Json<Value>) {
    posts.requests.fetch_add(1, Ordering::Relaxed);
    let length = |name: &str| {
        let list = arguments.get(name).and_then(Value::as_array);
        list.map_or(0, Vec::len)
    };
    let result = match function.as_str() {
        "estimate_work" => json!({ "posts": posts.total, "embedding_dimensions": 1536 }),
        "claim_work" => {
            let limit = arguments.get("p_limit").and_then(Value::as_u64);
            posts.claim(limit.unwrap_or_default())
        }
        "store_embeddings" => {
            let rows = length("p_rows");
            posts.stored.fetch_add(rows as u64, Ordering::Relaxed);
            json!(rows)
        }
        "extend_work" => arguments.get("p_post_ids").cloned().unwrap_or_default(),
        "finish_work" | "release_work" => json!(length("p_post_ids")),
        "record_run" => return (StatusCode::NO_CONTENT, Json(Value::Null)),
        _ => {
            let error = json!({ "code": "PGRST202", "message": function });
            return (StatusCode::NOT_FOUND, Json(error));
        }
    };
    (StatusCode::OK, Json(result))
}

impl Posts {
    /// The next posts, each with a text of its own.
    fn claim(&self, limit: u64) -> Value {
        let first = self.claimed.fetch_add(limit, Ordering::Relaxed);
        let last = (first + limit).min(self.total);
        let rows: Vec<Value> = (first..last).map(|number| self.post(number)).collect();
        // A pass ends with the last post. The next pass finds none.
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
