//! Answering from kept exchanges.

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::SharedList;
use super::exchange::{Exchange, RecordedRequest};
use super::snapshot::Snapshot;
use crate::client::{Transport, TransportError};

/// A transport that answers from kept exchanges, each once, in any order.
///
/// A request is answered by the first exchange left whose method, path and body are the same. A
/// request that none fits fails, and the error shows it: the script asks something else now.
#[derive(Clone, Debug)]
pub struct Player {
    left: SharedList<Exchange>,
}

impl Player {
    /// Answers from `exchanges`.
    pub fn new(exchanges: Vec<Exchange>) -> Self {
        let player = Self {
            left: SharedList::default(),
        };
        *player.left.lock() = exchanges;
        player
    }

    /// The exchanges that have not been asked for. A test that expects all of them to be asserts
    /// that this is empty.
    pub fn left(&self) -> Vec<Exchange> {
        self.left.lock().clone()
    }

    fn answer(&self, request: &RecordedRequest) -> Option<Exchange> {
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
            match self.answer(&request) {
                Some(exchange) => Ok(exchange.response.to_response()),
                None => Err(TransportError::invalid(format!(
                    "no exchange fits this request:\n{}",
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
