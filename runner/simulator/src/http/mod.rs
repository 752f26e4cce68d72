//! The server: its start, its end and its routes.

mod batches;
mod files;
mod handler;
mod models;
mod step;
mod worker;

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
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    config::{Config, ConfigChange},
    error_response::ErrorResponse,
    ledger::Ledger,
    limit::MAX_BODY_BYTES,
    request::Route,
    stats::Stats,
};
use handler::{SharedState, handle};

/// A running simulator. It stops when it is dropped; [`shutdown`](Self::shutdown) waits for the end.
#[derive(Debug)]
pub struct Simulator {
    address: SocketAddr,
    shared: Arc<SharedState>,
    task: JoinHandle<io::Result<()>>,
    end: DropGuard,
}

/// Starts a simulator on 127.0.0.1, inside this process.
///
/// # Errors
/// If the port is taken, or the configuration is invalid
/// ([`InvalidInput`](io::ErrorKind::InvalidInput)).
pub async fn start(config: Config) -> io::Result<Simulator> {
    config
        .check()
        .map_err(|wrong| io::Error::new(io::ErrorKind::InvalidInput, wrong))?;
    let listener = TcpListener::bind(("127.0.0.1", config.port)).await?;
    let address = listener.local_addr()?;
    // Small responses are sent at once, not held back to be joined with later ones.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "responses may be delayed");
        }
    });
    let shared = Arc::new(SharedState::new(config));
    let end = CancellationToken::new();
    let serve = axum::serve(listener, routes(Arc::clone(&shared)))
        .with_graceful_shutdown(end.clone().cancelled_owned());
    Ok(Simulator {
        address,
        shared,
        task: tokio::spawn(serve.into_future()),
        end: end.drop_guard(),
    })
}

impl Simulator {
    /// The part of the URL before `/embeddings`: `http://127.0.0.1:PORT/v1`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// What was counted so far.
    pub fn stats(&self) -> Stats {
        self.shared.state().stats()
    }

    /// What everything cost so far.
    pub fn ledger(&self) -> Ledger {
        self.shared.state().ledger()
    }

    /// Forgets all requests, as `POST /simulate/reset` does.
    pub fn reset(&self) {
        self.shared.state().reset();
    }

    /// Changes faults, limits, latency or batches, as `PUT /simulate/faults` does.
    ///
    /// # Errors
    /// If the change is invalid. Nothing is changed then.
    pub fn change(&self, change: ConfigChange) -> Result<(), String> {
        self.shared.state().change(change)
    }

    /// Stops accepting requests and waits for those in flight, but at most one second.
    pub async fn shutdown(mut self) {
        drop(self.end);
        let ended = timeout(Duration::from_secs(1), &mut self.task).await;
        if ended.is_err() {
            self.task.abort();
        }
    }
}

fn routes(shared: Arc<SharedState>) -> Router {
    let handled_at = |route| {
        post(move |State(shared): AxumState, parts: Parts, body: Bytes| {
            handle(shared, route, parts, body)
        })
    };
    let (embeddings, chat) = (handled_at(Route::Embeddings), handled_at(Route::Chat));
    Router::new()
        .route("/v1/embeddings", embeddings.clone())
        .route("/v1/chat/completions", chat.clone())
        .route("/v1/responses", handled_at(Route::Responses))
        .route("/openai/deployments/{name}/embeddings", embeddings)
        .route("/openai/deployments/{name}/chat/completions", chat)
        .merge(models::routes())
        .merge(files::routes())
        .merge(batches::routes())
        .route("/simulate/stats", get(stats))
        .route("/simulate/ledger", get(ledger))
        .route("/simulate/reset", post(reset))
        .route("/simulate/faults", put(faults))
        .fallback(unknown)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(shared)
}

type SharedRoutes = Router<Arc<SharedState>>;

type AxumState = State<Arc<SharedState>>;

async fn stats(State(shared): AxumState) -> Json<Stats> {
    Json(shared.state().stats())
}

async fn ledger(State(shared): AxumState) -> Json<Ledger> {
    Json(shared.state().ledger())
}

async fn reset(State(shared): AxumState) -> StatusCode {
    shared.state().reset();
    StatusCode::NO_CONTENT
}

async fn faults(State(shared): AxumState, body: Bytes) -> Response {
    let change = serde_json::from_slice::<ConfigChange>(&body).map_err(|error| error.to_string());
    match change.and_then(|change| shared.state().change(change)) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(wrong) => (StatusCode::BAD_REQUEST, wrong).into_response(),
    }
}

async fn unknown(method: Method, uri: Uri) -> ErrorResponse {
    ErrorResponse::unknown_url(method.as_str(), uri.path())
}
