//! The server: its start, its end and its routes.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{Method, StatusCode, Uri, request::Parts},
    response::{IntoResponse, Response},
    routing::{get, post, put},
    serve::ListenerExt,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    Change, Config, Stats,
    exchange::{Shared, exchange},
    model,
    question::Endpoint,
    refusal::Refusal,
};

/// A running stand-in. It ends when it is dropped; [`shutdown`](Self::shutdown) waits for that.
#[derive(Debug)]
pub struct Simulator {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<io::Result<()>>,
    end: DropGuard,
}

/// Starts a stand-in on 127.0.0.1, inside this process.
///
/// # Errors
/// Where the port is taken, or the configuration makes no sense
/// ([`InvalidInput`](io::ErrorKind::InvalidInput)).
pub async fn start(config: Config) -> io::Result<Simulator> {
    config
        .check()
        .map_err(|wrong| io::Error::new(io::ErrorKind::InvalidInput, wrong))?;
    let listener = TcpListener::bind(("127.0.0.1", config.port)).await?;
    let address = listener.local_addr()?;
    // Small answers must not wait for more to be sent along with them.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "answers may be delayed");
        }
    });
    let shared = Arc::new(Shared::new(config));
    let end = CancellationToken::new();
    let serve = axum::serve(listener, routes(Arc::clone(&shared)))
        .with_graceful_shutdown(end.clone().cancelled_owned());
    let task = tokio::spawn(serve.into_future());
    Ok(Simulator {
        address,
        shared,
        task,
        end: end.drop_guard(),
    })
}

impl Simulator {
    /// What stands in front of `/embeddings`: `http://127.0.0.1:PORT/v1`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// What has been counted so far.
    pub fn stats(&self) -> Stats {
        self.shared.state().stats()
    }

    /// Forgets all requests, as `POST /simulate/reset` does.
    pub fn reset(&self) {
        self.shared.state().reset();
    }

    /// Changes faults, limits or latency, as `PUT /simulate/faults` does.
    ///
    /// # Errors
    /// What is wrong with the change; nothing has changed then.
    pub fn change(&self, change: Change) -> Result<(), String> {
        self.shared.state().change(change)
    }

    /// Takes no more requests, and waits for those in flight, but no longer than a second.
    pub async fn shutdown(mut self) {
        drop(self.end);
        if timeout(Duration::from_secs(1), &mut self.task)
            .await
            .is_err()
        {
            self.task.abort();
        }
    }
}

/// More than the largest request that `OpenAI` takes.
const MAX_BODY_BYTES: usize = 64 << 20;

fn routes(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/embeddings", post(embeddings))
        .route("/v1/chat/completions", post(chat))
        .route("/openai/deployments/{name}/embeddings", post(embeddings))
        .route("/openai/deployments/{name}/chat/completions", post(chat))
        .route("/v1/models", get(models))
        .route("/simulate/stats", get(stats))
        .route("/simulate/reset", post(reset))
        .route("/simulate/faults", put(faults))
        .fallback(unknown)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(shared)
}

async fn embeddings(State(shared): State<Arc<Shared>>, parts: Parts, body: Bytes) -> Response {
    exchange(shared, Endpoint::Embeddings, parts, body).await
}

async fn chat(State(shared): State<Arc<Shared>>, parts: Parts, body: Bytes) -> Response {
    exchange(shared, Endpoint::Chat, parts, body).await
}

async fn models() -> Json<Value> {
    let data: Vec<Value> = model::names()
        .map(|id| json!({"id": id, "object": "model", "owned_by": "simulated"}))
        .collect();
    Json(json!({"object": "list", "data": data}))
}

async fn stats(State(shared): State<Arc<Shared>>) -> Json<Stats> {
    Json(shared.state().stats())
}

async fn reset(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.state().reset();
    StatusCode::NO_CONTENT
}

async fn faults(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let change = serde_json::from_slice::<Change>(&body).map_err(|error| error.to_string());
    match change.and_then(|change| shared.state().change(change)) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(wrong) => (StatusCode::BAD_REQUEST, wrong).into_response(),
    }
}

async fn unknown(method: Method, uri: Uri) -> Refusal {
    let message = format!("Unknown request URL: {method} {}.", uri.path());
    let status = StatusCode::NOT_FOUND;
    Refusal {
        status,
        param: None,
        ..Refusal::invalid("", message)
    }
    .with_code("unknown_url")
}
