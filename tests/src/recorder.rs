//! A recorder: a proxy that notes every request which a flow makes, on the wire, and passes it on.

use std::collections::HashMap;
use std::fmt::Write;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri};
use axum::response::IntoResponse;
use serde_json::{Map, Value};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A request as it went over the wire, and the status of its answer.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// Its method.
    pub method: String,
    /// Its path and query, percent-decoded for reading.
    pub target: String,
    /// Its `Prefer` header.
    pub prefer: Option<String>,
    /// Its body, where it is JSON and the recorder keeps bodies.
    pub body: Value,
    /// What was answered.
    pub status: u16,
    /// The size of the answer's body.
    pub answer_bytes: usize,
}

/// A proxy in front of one service.
pub struct Recorder {
    url: String,
    seen: Arc<Mutex<Vec<Exchange>>>,
    task: JoinHandle<()>,
}

/// What is done after the service has answered and before its client hears of it.
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
    /// The method and the path: what is asked of what, without how.
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

    /// Starts in front of a service, and keeps no bodies: for loads whose bodies would not fit into memory.
    pub async fn start_lean(upstream: &str) -> Self {
        Self::serve(upstream, false, |_| Box::pin(async {})).await
    }

    /// Starts in front of a service, and does something between each answer and its delivery: what
    /// another runner might do just then.
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
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::default();
        let state = Upstream {
            root: upstream.trim_end_matches('/').to_owned(),
            client: reqwest::Client::builder().build().unwrap(),
            seen: Arc::clone(&seen),
            keeps_bodies,
            interlude: Arc::new(interlude),
        };
        let router = Router::new().fallback(forward).with_state(state);
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, seen, task }
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it has seen, in the order of the answers.
    pub fn seen(&self) -> Vec<Exchange> {
        self.seen.lock().unwrap().clone()
    }

    /// How many requests it has seen with this method and path, as `POST /posts`.
    pub fn count(&self, action: &str) -> usize {
        let seen = self.seen.lock().unwrap();
        seen.iter()
            .filter(|exchange| exchange.action() == action)
            .count()
    }

    /// What it has seen, for a snapshot: one line a request, ids and vectors replaced by names.
    pub fn snapshot(&self) -> Value {
        let mut names = Names::default();
        let line = |exchange: Exchange| {
            let mut line = Map::new();
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

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
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
    // What is passed on is what was seen: neither side of the proxy is compressed.
    headers.remove("accept-encoding");
    let prefer = headers
        .get("prefer")
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let request = upstream
        .client
        .request(method.clone(), format!("{}{target}", upstream.root))
        .headers(headers)
        .body(body.clone());
    let Ok(answer) = request.send().await else {
        return (StatusCode::BAD_GATEWAY, HeaderMap::new(), Bytes::new());
    };
    let (status, mut headers) = (answer.status(), answer.headers().clone());
    headers.remove("transfer-encoding");
    headers.remove(HeaderName::from_static("content-length"));
    let answered = answer.bytes().await.unwrap_or_default();
    let kept = upstream
        .keeps_bodies
        .then(|| serde_json::from_slice(&body).ok());
    let exchange = Exchange {
        method: method.to_string(),
        target: decode(&target),
        prefer,
        body: kept.flatten().unwrap_or(Value::Null),
        status: status.as_u16(),
        answer_bytes: answered.len(),
    };
    let interlude = (upstream.interlude)(&exchange);
    upstream.seen.lock().unwrap().push(exchange);
    // In a task of its own: it goes on to its end where it breaks the very connection that it serves.
    tokio::spawn(interlude).await.unwrap();
    (status, headers, answered)
}

/// Names for what differs from run to run: the same id gets the same name all over a snapshot.
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

/// The first UUID of a text, with what stands before and after it.
fn find_id(text: &str) -> Option<(&str, &str, &str)> {
    const LENGTH: usize = 36;
    (0..text.len().saturating_sub(LENGTH - 1)).find_map(|start| {
        let id = text.get(start..start + LENGTH)?;
        uuid::Uuid::parse_str(id).ok()?;
        Some((text.get(..start)?, id, text.get(start + LENGTH..)?))
    })
}

fn decode(target: &str) -> String {
    let bytes = target.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let hex = (*byte == b'%')
            .then(|| target.get(at + 1..at + 3))
            .flatten();
        let decoded = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(decoded.unwrap_or(*byte));
        at += if decoded.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}
