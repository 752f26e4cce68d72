//! From a request to its response. All endpoints share this path.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    body::{Body, Bytes},
    http::{
        HeaderMap, Uri,
        header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE},
        request::Parts,
    },
    response::{AppendHeaders, IntoResponse, Response},
};
use futures_util::{StreamExt, stream};
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep_until},
};

use crate::{
    answer::SimulatedResponse,
    config::{Config, Style},
    error_response::ErrorResponse,
    fault::Fault,
    request::{ParsedRequest, Route},
    state::SimulatorState,
};

/// What all handlers share.
#[derive(Debug)]
pub(super) struct SharedState {
    state: Mutex<SimulatorState>,
    start: Instant,
    /// The time of the start, in seconds of the Unix epoch.
    unix_start: u64,
}

impl SharedState {
    pub(super) fn new(config: Config) -> Self {
        #[expect(clippy::disallowed_methods, reason = "files and batches have dates")]
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            state: Mutex::new(SimulatorState::new(config)),
            start: Instant::now(),
            unix_start: since_epoch.unwrap_or_default().as_secs(),
        }
    }

    /// Now, since the start.
    pub(super) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Now, in seconds of the Unix epoch.
    pub(super) fn unix_now(&self) -> u64 {
        self.unix_start + self.now().as_secs()
    }

    /// Locks the state. Its counters are right after each step, so a panic elsewhere does not matter.
    pub(super) fn state(&self) -> MutexGuard<'_, SimulatorState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers or refuses a request. The task of its own makes sure that an admitted request is answered
/// and billed even if the client hangs up.
pub(super) async fn handle(
    shared: Arc<SharedState>,
    route: Route,
    parts: Parts,
    body: Bytes,
) -> Response {
    let work = tokio::spawn(async move { answer(&shared, route, &parts, body).await });
    let answer = work
        .await
        .unwrap_or_else(|_| Err(ErrorResponse::server_error()));
    answer.unwrap_or_else(IntoResponse::into_response)
}

async fn answer(
    shared: &SharedState,
    route: Route,
    parts: &Parts,
    body: Bytes,
) -> Result<Response, ErrorResponse> {
    let arrived = shared.now();
    let request = compute(move || ParsedRequest::read(route, &body)).await;
    let admitted = {
        let mut state = shared.state();
        let style = state.style();
        let request = check_version(style, &parts.uri).and(request);
        state.admit(route, key(style, &parts.headers), request, arrived)?
    };
    let unix_time = shared.unix_now();
    let (admitted, response) = compute(move || {
        let mut admitted = admitted;
        admitted.terms.unix_time = unix_time;
        let response = SimulatedResponse::to(&admitted.request, &admitted.terms);
        (admitted, response)
    })
    .await;
    let now = shared.now();
    let (delay, headers) = shared.state().bill(&admitted, &response, now);
    // The latency includes the time that the work took.
    sleep_until(shared.start + arrived + delay).await;
    let now = shared.now();
    shared.state().sent(&admitted, now);
    let response = send(response.body, admitted.terms.fault);
    Ok((AppendHeaders(headers), response).into_response())
}

/// Runs work on another thread. Counting tokens and hashing words take milliseconds, which would
/// delay timers.
///
/// # Panics
/// If the work panics.
pub(super) async fn compute<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    spawn_blocking(work).await.expect("the work does not panic")
}

/// The key, from the header that this style of server reads.
pub(super) fn key(style: Style, headers: &HeaderMap) -> Option<&str> {
    if style == Style::Azure {
        return headers.get("api-key")?.to_str().ok();
    }
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    value.strip_prefix("Bearer ").map(str::trim)
}

/// Azure finds nothing without the version of its protocol.
fn check_version(style: Style, uri: &Uri) -> Result<(), ErrorResponse> {
    let mut pairs = uri.query().unwrap_or_default().split('&');
    if style != Style::Azure || pairs.any(|pair| pair.starts_with("api-version=")) {
        return Ok(());
    }
    Err(ErrorResponse::no_version())
}

const JSON: &str = "application/json";

/// Sends half of the body, and then closes the connection.
pub(super) fn half(body: &Bytes) -> Response {
    // Without the pause, the connection would close before the first half is sent.
    let broken = async {
        tokio::task::yield_now().await;
        Err(io::Error::from(io::ErrorKind::ConnectionReset))
    };
    let headers = [
        (CONTENT_TYPE, JSON.to_owned()),
        (CONTENT_LENGTH, body.len().to_string()),
    ];
    let half = Ok(body.slice(..body.len() / 2));
    let body = Body::from_stream(stream::iter([half]).chain(stream::once(broken)));
    (headers, body).into_response()
}

/// Sends the body, damaged if the fault says so.
fn send(mut body: Vec<u8>, fault: Option<Fault>) -> Response {
    let length = body.len();
    match fault {
        Some(Fault::Drop) => half(&body.into()),
        Some(Fault::NotJson) => {
            let page = "<html><body>502 Bad Gateway</body></html>";
            ([(CONTENT_TYPE, "text/html")], page).into_response()
        }
        _ => {
            if fault == Some(Fault::TruncatedJson) {
                body.truncate(length / 2);
            }
            ([(CONTENT_TYPE, JSON)], body).into_response()
        }
    }
}
