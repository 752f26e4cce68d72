//! Records what goes through a transport.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::SharedList;
use super::exchange::{Exchange, RecordedRequest, RecordedResponse};
use super::snapshot::Snapshot;
use crate::client::{Transport, TransportError};

/// A transport that records every exchange that goes through another.
///
/// Clones share what is recorded: give one to the client, and keep one in the test.
#[derive(Clone, Debug)]
pub struct Recorder<T> {
    inner: Arc<T>,
    kept: SharedList<Exchange>,
    hidden: Vec<String>,
}

impl<T: Transport> Recorder<T> {
    /// Records what goes through `inner`.
    pub fn new(inner: T) -> Self {
        Self {
            inner: Arc::new(inner),
            kept: SharedList::default(),
            hidden: Vec::new(),
        }
    }

    /// Hides these members of bodies in snapshots: values that differ each time, or personal data.
    #[must_use]
    pub fn hiding(mut self, members: &[&str]) -> Self {
        self.hidden = members.iter().map(ToString::to_string).collect();
        self
    }

    /// The exchanges so far, in the order of their responses.
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.kept.lock().clone()
    }

    /// The requests so far as text, for `insta::assert_snapshot!`.
    pub fn snapshot(&self) -> String {
        let requests: Vec<RecordedRequest> = self
            .exchanges()
            .into_iter()
            .map(|exchange| exchange.request)
            .collect();
        Snapshot::joined(&requests, &self.hidden)
    }
}

impl<T: Transport> Transport for Recorder<T> {
    fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>> {
        Box::pin(async move {
            let kept = RecordedRequest::of(&request);
            let response = self.inner.send(request).await?;
            let exchange = Exchange {
                name: String::new(),
                request: kept,
                response: RecordedResponse::of(&response),
            };
            self.kept.lock().push(exchange);
            Ok(response)
        })
    }
}
