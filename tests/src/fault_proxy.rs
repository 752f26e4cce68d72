//! A gateway that has bad days: it stands in front of PostgREST, answers in its place, loses responses, breaks
//! connections and is slow, before or after the database has done what the request says.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::stream;

use crate::service::Service;

/// What a gateway does with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProxyFault {
    /// It answers with a page of this status.
    Status(u16, Moment),
    /// It breaks the connection.
    Drop(Moment),
    /// It passes the request on and the response back, slowly.
    Delay,
    /// Postgres, and not the gateway, fails with this SQLSTATE and does nothing.
    Code(&'static str),
}

/// When a gateway fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Moment {
    /// Instead of passing the request on.
    Before,
    /// After the database has done what the request says.
    After,
}

impl ProxyFault {
    /// Every fault of a gateway.
    pub const ALL: [Self; 13] = [
        Self::Status(502, Moment::Before),
        Self::Status(502, Moment::After),
        Self::Status(503, Moment::Before),
        Self::Status(503, Moment::After),
        Self::Status(504, Moment::Before),
        Self::Status(504, Moment::After),
        Self::Status(520, Moment::Before),
        Self::Status(520, Moment::After),
        Self::Status(524, Moment::Before),
        Self::Status(524, Moment::After),
        Self::Drop(Moment::Before),
        Self::Drop(Moment::After),
        Self::Delay,
    ];
}

/// Decides about the request number `count` (from 0) with this method and path.
pub type Plan = Box<dyn Fn(&str, usize) -> Option<ProxyFault> + Send + Sync>;

/// A running proxy.
pub struct FaultProxy {
    service: Service,
    gateway: Arc<Gateway>,
}

struct Gateway {
    root: String,
    client: reqwest::Client,
    plan: Plan,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    counts: BTreeMap<String, usize>,
    dealt: Vec<(String, ProxyFault)>,
}

impl FaultProxy {
    /// Starts in front of the PostgREST at this URL.
    pub async fn start(upstream: &str, plan: Plan) -> Self {
        let gateway = Arc::new(Gateway {
            root: upstream.trim_end_matches('/').to_owned(),
            client: reqwest::Client::builder().build().unwrap(),
            plan,
            seen: Mutex::default(),
        });
        let router = Router::new()
            .fallback(pass)
            .with_state(Arc::clone(&gateway));
        Self {
            service: Service::start(router).await,
            gateway,
        }
    }

    /// Starts with a fault at the first request of each method and path, and at some of the others. The seed decides
    /// which.
    pub async fn seeded(upstream: &str, seed: u64) -> Self {
        Self::start(
            upstream,
            Box::new(move |action, count| draw(seed, action, count)),
        )
        .await
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        self.service.url()
    }

    /// How many requests came with this method and path, such as `POST /posts`.
    pub fn count(&self, action: &str) -> usize {
        self.gateway.seen().counts.get(action).copied().unwrap_or(0)
    }

    /// The faults so far, each with the method and path that it met.
    pub fn dealt(&self) -> Vec<(String, ProxyFault)> {
        self.gateway.seen().dealt.clone()
    }
}

impl Gateway {
    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a request. Returns what goes wrong with it.
    fn fault(&self, action: String) -> Option<ProxyFault> {
        let mut seen = self.seen();
        let count = seen.counts.entry(action.clone()).or_default();
        let fault = (self.plan)(&action, *count);
        *count += 1;
        seen.dealt.extend(fault.map(|fault| (action, fault)));
        fault
    }
}

/// The first request of an action always fails, half of the second ones do, and then one in ten.
fn draw(seed: u64, action: &str, count: usize) -> Option<ProxyFault> {
    let mut hasher = DefaultHasher::new();
    (seed, action, count).hash(&mut hasher);
    let drawn = hasher.finish();
    let fails = match count {
        0 => true,
        1 => drawn.is_multiple_of(2),
        _ => drawn.is_multiple_of(10),
    };
    let faults = ProxyFault::ALL;
    let place = usize::try_from(drawn / 16).unwrap_or_default() % faults.len();
    faults.get(place).copied().filter(|_| fails)
}

async fn pass(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let fault = gateway.fault(format!("{} {}", parts.method, parts.uri.path()));
    match fault {
        Some(ProxyFault::Status(status, Moment::Before)) => return page(status),
        Some(ProxyFault::Drop(Moment::Before)) => return broken(),
        Some(ProxyFault::Code(code)) => return failed(code),
        Some(ProxyFault::Delay) => tokio::time::sleep(Duration::from_millis(300)).await,
        _ => {}
    }
    let mut headers = parts.headers;
    for name in ["host", "content-length", "accept-encoding"] {
        headers.remove(name);
    }
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let url = format!("{}{}", gateway.root, parts.uri);
    let request = gateway.client.request(parts.method, url).headers(headers);
    let Ok(response) = request.body(body).send().await else {
        return page(502);
    };
    let (status, headers) = (response.status(), kept(response.headers()));
    let body = response.bytes().await.unwrap_or_default();
    match fault {
        Some(ProxyFault::Status(status, _)) => page(status),
        Some(ProxyFault::Drop(_)) => broken(),
        _ => (status, headers, body).into_response(),
    }
}

fn kept(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    headers.remove("transfer-encoding");
    headers.remove("content-length");
    headers
}

/// What gateways send in place of an answer.
fn page(status: u16) -> Response {
    let status = StatusCode::from_u16(status).unwrap();
    let html = "<html><head><title>Sorry</title></head><body>Something is wrong.</body></html>";
    (status, [("content-type", "text/html")], html).into_response()
}

/// An error of Postgres, as PostgREST passes it on.
fn failed(code: &str) -> Response {
    let body =
        format!(r#"{{"code":"{code}","message":"as the test wants","details":null,"hint":null}}"#);
    let json = [("content-type", "application/json; charset=utf-8")];
    (StatusCode::INTERNAL_SERVER_ERROR, json, body).into_response()
}

/// A response that ends with its connection, before its first byte of content.
fn broken() -> Response {
    let gone = io::Error::from(io::ErrorKind::ConnectionReset);
    Body::from_stream(stream::once(async { Err::<String, _>(gone) })).into_response()
}
