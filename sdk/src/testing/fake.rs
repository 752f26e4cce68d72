//! Responses made by a function.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::SharedList;
use super::exchange::RecordedRequest;
use super::snapshot::Snapshot;
use crate::client::{Transport, TransportError};

/// A transport that makes its responses by a function, and records the requests.
///
/// Clones share what is recorded: give one to the client, and keep one in the test.
#[derive(Clone)]
pub struct Fake {
    respond: Arc<dyn Fn(&RecordedRequest) -> FakeResponse + Send + Sync>,
    requests: SharedList<RecordedRequest>,
    hidden: Vec<String>,
}

/// The response of a [`Fake`].
#[derive(Debug)]
pub struct FakeResponse {
    outcome: Result<http::Response<Bytes>, TransportError>,
}

impl FakeResponse {
    /// Rows, or a function's value.
    pub fn json(status: u16, body: &Value) -> Self {
        let reply = Self::text(status, body.to_string());
        reply.header("content-type", "application/json; charset=utf-8")
    }

    /// A body that is not JSON: comma-separated values, a gateway's page.
    pub fn text(status: u16, body: impl Into<Bytes>) -> Self {
        let mut response = http::Response::new(body.into());
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
        Self {
            outcome: Ok(response),
        }
    }

    /// A write that affected this many rows and returns none.
    pub fn affected(rows: u64) -> Self {
        Self::text(204, "").header("content-range", &format!("*/{rows}"))
    }

    /// An error as PostgREST sends it.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        Self::json(
            status,
            &json!({"code": code, "message": message, "details": null, "hint": null}),
        )
    }

    /// No connection: nothing was sent.
    pub fn unreachable() -> Self {
        Self {
            outcome: Err(TransportError::connect("connection refused")),
        }
    }

    /// A connection that breaks before the response.
    pub fn interrupted() -> Self {
        Self {
            outcome: Err(TransportError::interrupted("connection reset")),
        }
    }

    /// Adds a header, unless its value is invalid.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        if let (Ok(response), Ok(value)) = (&mut self.outcome, HeaderValue::from_str(value)) {
            response
                .headers_mut()
                .insert(HeaderName::from_static(name), value);
        }
        self
    }

    /// Adds how long to wait before another attempt.
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        self.header(header::RETRY_AFTER.as_str(), &seconds.to_string())
    }
}

impl Fake {
    /// Makes responses by `respond`.
    pub fn new(respond: impl Fn(&RecordedRequest) -> FakeResponse + Send + Sync + 'static) -> Self {
        Self {
            respond: Arc::new(respond),
            requests: SharedList::default(),
            hidden: Vec::new(),
        }
    }

    /// Hides these members of bodies in snapshots.
    #[must_use]
    pub fn hiding(mut self, members: &[&str]) -> Self {
        self.hidden = members.iter().map(ToString::to_string).collect();
        self
    }

    /// The requests so far, in order.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.requests.lock().clone()
    }

    /// The requests so far as text, for `insta::assert_snapshot!`.
    pub fn snapshot(&self) -> String {
        Snapshot::joined(&self.requests(), &self.hidden)
    }
}

impl Transport for Fake {
    fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>> {
        Box::pin(async move {
            let request = RecordedRequest::of(&request);
            self.requests.lock().push(request.clone());
            (self.respond)(&request).outcome
        })
    }
}

impl fmt::Debug for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fake")
            .field("requests", &self.requests.lock().len())
            .finish_non_exhaustive()
    }
}
