//! A proxy that records every request to a service and passes it on.

use std::collections::HashMap;
use std::fmt::Write;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri};
use axum::response::IntoResponse;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use crate::service::Service;

/// A request as it went over the wire, and what came back.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// Its method.
    pub method: String,
    /// Its path and query, percent-decoded for reading.
    pub target: String,
    /// Its `Prefer` header.
    pub prefer: Option<String>,
    /// Its `traceparent` header.
    pub traceparent: Option<String>,
    /// Its body, if it is JSON and the recorder keeps bodies.
    pub body: Value,
    /// The status of the response.
    pub status: u16,
    /// The size of the response's body.
    pub response_bytes: usize,
}

/// A proxy in front of one service.
pub struct Recorder {
    service: Service,
    seen: Arc<Mutex<Vec<Exchange>>>,
}

/// What a test does after the service has responded and before the client has the response.
type Interlude = Arc<dyn Fn(&Exchange) -> Pending + Send + Sync>;
type Pending = Pin<Box<dyn Future<Output = ()> + Send>>;

#[derive(Clone)]
struct Upstream {
    root: String,
    client: reqwest::Client,
    seen: Arc<Mutex<Vec<Exchange>>>,
    keeps_bodies: bool,
    interlude: Interlude,
}

impl Exchange {
    /// The method and the path, without the query.
    pub fn action(&self) -> String {
        let path = self.target.split('?').next().unwrap_or_default();
        format!("{} {path}", self.method)
    }
}

impl Recorder {
    /// Starts in front of a service.
    pub async fn start(upstream: &str) -> Self {
        Self::serve(upstream, true, |_| Box::pin(async {})).await
    }

    /// Starts in front of a service and keeps no bodies: for loads whose bodies would not fit into memory.
    pub async fn start_lean(upstream: &str) -> Self {
        Self::serve(upstream, false, |_| Box::pin(async {})).await
    }

    /// Starts in front of a service and does something between each response and its delivery, such as
    /// what another runner might do just then.
    pub async fn start_with(
        upstream: &str,
        interlude: impl Fn(&Exchange) -> Pending + Send + Sync + 'static,
    ) -> Self {
        Self::serve(upstream, true, interlude).await
    }

    async fn serve(
        upstream: &str,
        keeps_bodies: bool,
        interlude: impl Fn(&Exchange) -> Pending + Send + Sync + 'static,
    ) -> Self {
        let seen = Arc::default();
        let state = Upstream {
            root: upstream.trim_end_matches('/').to_owned(),
            client: reqwest::Client::builder().build().unwrap(),
            seen: Arc::clone(&seen),
            keeps_bodies,
            interlude: Arc::new(interlude),
        };
        let router = Router::new().fallback(forward).with_state(state);
        let service = Service::start(router).await;
        Self { service, seen }
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        self.service.url()
    }

    /// What it has seen, in the order of the responses.
    pub fn seen(&self) -> Vec<Exchange> {
        self.seen.lock().unwrap().clone()
    }

    /// How many requests it has seen with this method and path, such as `POST /posts`.
    pub fn count(&self, action: &str) -> usize {
        let seen = self.seen.lock().unwrap();
        seen.iter()
            .filter(|exchange| exchange.action() == action)
            .count()
    }

    /// What it has seen, for a snapshot: one entry a request, with names in place of ids and vectors.
    pub fn snapshot(&self) -> Value {
        let mut names = Names::default();
        let line = |mut exchange: Exchange| {
            let mut line = Map::new();
            if let Some(body) = exchange.body.as_object_mut() {
                // The record of a run names this machine and this day.
                body.retain(|name, _| !matches!(name.as_str(), "p_host" | "p_state"));
            }
            let request = format!("{} {}", exchange.method, names.text(&exchange.target));
            line.insert("request".to_owned(), request.into());
            if let Some(prefer) = exchange.prefer {
                line.insert("prefer".to_owned(), prefer.into());
            }
            if !exchange.body.is_null() {
                line.insert("body".to_owned(), names.value(exchange.body));
            }
            line.insert("status".to_owned(), exchange.status.into());
            Value::Object(line)
        };
        self.seen().into_iter().map(line).collect()
    }
}

async fn forward(
    State(upstream): State<Upstream>,
    method: Method,
    uri: Uri,
    mut headers: HeaderMap,
    body: Bytes,
) -> impl IntoResponse {
    let target = uri
        .path_and_query()
        .map(ToString::to_string)
        .unwrap_or_default();
    headers.remove("host");
    headers.remove("content-length");
    // Without this header the response comes uncompressed, so its size is the size of its content.
    headers.remove("accept-encoding");
    let header = |name| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.map(str::to_owned)
    };
    let (prefer, traceparent) = (header("prefer"), header("traceparent"));
    let request = upstream
        .client
        .request(method.clone(), format!("{}{target}", upstream.root))
        .headers(headers)
        .body(body.clone());
    let Ok(response) = request.send().await else {
        return (StatusCode::BAD_GATEWAY, HeaderMap::new(), Bytes::new());
    };
    let (status, mut headers) = (response.status(), response.headers().clone());
    headers.remove("transfer-encoding");
    headers.remove(HeaderName::from_static("content-length"));
    let received = response.bytes().await.unwrap_or_default();
    let kept = upstream
        .keeps_bodies
        .then(|| serde_json::from_slice(&body).ok());
    let exchange = Exchange {
        method: method.to_string(),
        target: percent_decode_str(&target).decode_utf8_lossy().into_owned(),
        prefer,
        traceparent,
        body: kept.flatten().unwrap_or(Value::Null),
        status: status.as_u16(),
        response_bytes: received.len(),
    };
    let interlude = (upstream.interlude)(&exchange);
    upstream.seen.lock().unwrap().push(exchange);
    // In a task of its own, because it may break the connection that this handler serves.
    tokio::spawn(interlude).await.unwrap();
    (status, headers, received)
}

/// Names for what differs between runs. The same id has the same name in a whole snapshot.
#[derive(Default)]
struct Names {
    ids: HashMap<String, usize>,
}

impl Names {
    fn value(&mut self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(&text)),
            Value::Array(items) => items.into_iter().map(|item| self.value(item)).collect(),
            Value::Object(fields) => fields
                .into_iter()
                .map(|(key, value)| (key, self.value(value)))
                .collect(),
            other => other,
        }
    }

    fn text(&mut self, text: &str) -> String {
        if text.starts_with("[-") || text.starts_with("[0") {
            let dimensions = text.split(',').count();
            return format!("<vector of {dimensions}>");
        }
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, id, after)) = find_id(rest) {
            let next = self.ids.len() + 1;
            let number = *self.ids.entry(id.to_owned()).or_insert(next);
            out.push_str(before);
            let _ = write!(out, "<id {number}>");
            rest = after;
        }
        out + rest
    }
}

/// The first UUID of a text, with the text before and after it.
fn find_id(text: &str) -> Option<(&str, &str, &str)> {
    const LENGTH: usize = 36;
    (0..text.len().saturating_sub(LENGTH - 1)).find_map(|start| {
        let id = text.get(start..start + LENGTH)?;
        uuid::Uuid::parse_str(id).ok()?;
        Some((text.get(..start)?, id, text.get(start + LENGTH..)?))
    })
}
