//! `sluice worker --listen`: metrics and health, for Prometheus and container platforms.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::error::Error;
use crate::worker::Monitor;

/// Serves until the result is dropped.
pub(super) async fn serve(
    address: SocketAddr,
    monitor: &Monitor,
) -> Result<AbortOnDropHandle<()>, Error> {
    let cannot = |error| {
        Error::Usage(format!(
            "failed to listen on {address}: {error}; choose another with --listen"
        ))
    };
    let listener = TcpListener::bind(address).await.map_err(cannot)?;
    let at = listener.local_addr().map_err(cannot)?;
    tracing::info!("metrics are at http://{at}/metrics, health at http://{at}/health");
    let routes = Router::new()
        .route("/metrics", get(metrics))
        .route("/health", get(health))
        .with_state(monitor.clone());
    Ok(AbortOnDropHandle::new(tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, routes).await {
            tracing::error!(%error, "the metrics are no longer served");
        }
    })))
}

async fn metrics(State(monitor): State<Monitor>) -> impl IntoResponse {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], monitor.metrics())
}

async fn health(State(monitor): State<Monitor>) -> (StatusCode, String) {
    match monitor.trouble() {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(trouble) => (StatusCode::SERVICE_UNAVAILABLE, format!("{trouble}\n")),
    }
}
