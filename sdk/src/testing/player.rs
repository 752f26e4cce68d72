//! Responses from recorded exchanges.

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::SharedList;
use super::exchange::{Exchange, RecordedRequest};
use super::snapshot::Snapshot;
use crate::client::{Transport, TransportError};

/// A transport that replays recorded exchanges, each once, in any order.
///
/// A request gets the response of the first remaining exchange with the same method, path and body.
/// If there is none, the error shows the request: the script has changed.
#[derive(Clone, Debug)]
pub struct Player {
    left: SharedList<Exchange>,
    requests: SharedList<RecordedRequest>,
}

impl Player {
    /// Replays `exchanges`.
    pub fn new(exchanges: Vec<Exchange>) -> Self {
        let player = Self {
            left: SharedList::default(),
            requests: SharedList::default(),
        };
        *player.left.lock() = exchanges;
        player
    }

    /// The exchanges that were not requested. Assert that it is empty if the test should request
    /// all.
    pub fn left(&self) -> Vec<Exchange> {
        self.left.lock().clone()
    }

    /// The requests so far as text, for `insta::assert_snapshot!`. A request that no exchange matches is among them.
    pub fn snapshot(&self) -> String {
        Snapshot::joined(&self.requests.lock(), &[])
    }

    fn response(&self, request: &RecordedRequest) -> Option<Exchange> {
        let mut left = self.left.lock();
        let position = left
            .iter()
            .position(|exchange| fits(&exchange.request, request))?;
        Some(left.remove(position))
    }
}

impl Transport for Player {
    fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>> {
        Box::pin(async move {
            let request = RecordedRequest::of(&request);
            self.requests.lock().push(request.clone());
            match self.response(&request) {
                Some(exchange) => Ok(exchange.response.to_response()),
                None => Err(TransportError::invalid(format!(
                    "no recorded exchange matches this request:\n{}",
                    Snapshot::new(&request, &[])
                ))),
            }
        })
    }
}

fn fits(kept: &RecordedRequest, asked: &RecordedRequest) -> bool {
    kept.method == asked.method
        && kept.path == asked.path
        && same_json(kept.body.as_deref(), asked.body.as_deref())
}

fn same_json(kept: Option<&str>, asked: Option<&str>) -> bool {
    let read = |body: Option<&str>| body.map(serde_json::from_str::<serde_json::Value>)?.ok();
    kept == asked || (kept.is_some() && asked.is_some() && read(kept) == read(asked))
}
