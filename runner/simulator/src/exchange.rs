//! From a request to its answer: the one path that both endpoints share.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    http::{
        HeaderMap, HeaderName, HeaderValue, Uri,
        header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE},
        request::Parts,
    },
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt, stream};
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep_until},
};

use super::{
    Config, Fault, Style,
    question::{Endpoint, Question},
    refusal::Refusal,
    state::{RateHeaders, Receipt, Rejection, State},
};

/// What all handlers share.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    start: Instant,
}

impl Shared {
    pub(super) fn new(config: Config) -> Self {
        Self {
            state: Mutex::new(State::new(config)),
            start: Instant::now(),
        }
    }

    /// The state; it holds counters that are right after each step, so a panic elsewhere is no
    /// reason to stop.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }
}

/// Answers a request, or refuses it, to the end even if its asker hangs up meanwhile: what was
/// admitted is worked on and billed.
pub(super) async fn exchange(
    shared: Arc<Shared>,
    endpoint: Endpoint,
    parts: Parts,
    body: Bytes,
) -> Response {
    let work = tokio::spawn(async move {
        match answer(&shared, endpoint, &parts, body).await {
            Ok(response) => response,
            Err(rejection) => {
                let Rejection {
                    number,
                    refusal,
                    rate,
                } = *rejection;
                with_headers(refusal.into_response(), number, rate)
            }
        }
    });
    work.await
        .unwrap_or_else(|_| Refusal::server_error().into_response())
}

async fn answer(
    shared: &Shared,
    endpoint: Endpoint,
    parts: &Parts,
    body: Bytes,
) -> Result<Response, Box<Rejection>> {
    let arrived = shared.now();
    // Counting tokens and hashing words take milliseconds that timers must not wait for.
    let question = compute(move || Question::read(endpoint, &body)).await;
    let ticket = {
        let mut state = shared.state();
        let style = state.style();
        let question = check_version(style, &parts.uri).and(question);
        state.admit(endpoint, key(style, &parts.headers), question, arrived)?
    };
    let (ticket, reply) = compute(move || {
        let reply = ticket.question.answer(ticket.fault, ticket.style);
        (ticket, reply)
    })
    .await;
    let Receipt { delay, rate } = shared.state().bill(&ticket, &reply, shared.now());
    // The time that the work took is part of the latency, not added to it.
    sleep_until(shared.start + arrived + delay).await;
    Ok(with_headers(
        respond(reply.body, ticket.fault),
        ticket.number,
        rate,
    ))
}

/// Works on a thread where it keeps nobody waiting.
///
/// # Panics
/// Where the work does.
async fn compute<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    spawn_blocking(work).await.expect("the work does not panic")
}

/// The key, from where this style of server looks for it.
fn key(style: Style, headers: &HeaderMap) -> Option<&str> {
    if style == Style::Azure {
        return headers.get(API_KEY)?.to_str().ok();
    }
    headers
        .get(AUTHORIZATION)?
        .to_str()
        .ok()?
        .strip_prefix("Bearer ")
        .map(str::trim)
}

/// Azure finds nothing without the version of its protocol.
fn check_version(style: Style, uri: &Uri) -> Result<(), Refusal> {
    let mut pairs = uri.query().unwrap_or_default().split('&');
    if style != Style::Azure || pairs.any(|pair| pair.starts_with("api-version=")) {
        return Ok(());
    }
    Err(Refusal::no_version())
}

/// Sends the answer, broken where the fault is one of those that break it on the way.
fn respond(mut body: Vec<u8>, fault: Option<Fault>) -> Response {
    let length = body.len();
    match fault {
        Some(Fault::Drop) => {
            body.truncate(length / 2);
            // The pause sends off what there is; without it the answer would not even begin.
            let broken = async {
                tokio::task::yield_now().await;
                Err(io::Error::from(io::ErrorKind::ConnectionReset))
            };
            let body = Body::from_stream(stream::iter([Ok(body)]).chain(stream::once(broken)));
            let headers = [
                (CONTENT_TYPE, JSON.to_owned()),
                (CONTENT_LENGTH, length.to_string()),
            ];
            (headers, body).into_response()
        }
        Some(Fault::TruncatedJson) => {
            body.truncate(length / 2);
            ([(CONTENT_TYPE, JSON)], body).into_response()
        }
        Some(Fault::NotJson) => (
            [(CONTENT_TYPE, "text/html")],
            "<html><body>502 Bad Gateway</body></html>",
        )
            .into_response(),
        _ => ([(CONTENT_TYPE, JSON)], body).into_response(),
    }
}

const JSON: &str = "application/json";
const API_KEY: &str = "api-key";

fn with_headers(mut response: Response, number: u64, rate: RateHeaders) -> Response {
    let id = ("x-request-id", format!("req_simulated_{number}"));
    for (name, value) in rate.into_iter().chain([id]) {
        if let Ok(value) = HeaderValue::try_from(value) {
            response
                .headers_mut()
                .insert(HeaderName::from_static(name), value);
        }
    }
    response
}
