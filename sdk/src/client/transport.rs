//! The one place that touches the network.

use std::error::Error as StdError;
use std::fmt;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};

use crate::error::{Error, ErrorKind};

/// Sends one request and reads the whole answer, whatever its status.
///
/// Implement it to send through another HTTP stack, to count or record, or to stand in for a server
/// in tests. Deadlines and repetitions are the client's: a transport does neither. The future may
/// be dropped at any time.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// use bytes::Bytes;
/// use futures_util::future::BoxFuture;
/// use sluice_sdk::{Client, Error, Http, Transport, TransportError};
///
/// /// Counts what is sent through another transport.
/// struct Counting {
///     inner: Http,
///     requests: Arc<AtomicU64>,
/// }
///
/// impl Transport for Counting {
///     fn send(
///         &self,
///         request: http::Request<Bytes>,
///     ) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>> {
///         self.requests.fetch_add(1, Ordering::Relaxed);
///         self.inner.send(request)
///     }
/// }
///
/// # fn run() -> Result<Client, Error> {
/// let requests = Arc::default();
/// let transport = Counting { inner: Http::new()?, requests: Arc::clone(&requests) };
/// Client::builder().supabase_url("https://x.supabase.co").transport(transport).build()
/// # }
/// ```
pub trait Transport: Send + Sync + 'static {
    /// Sends `request`, whose URI is absolute, and reads the answer.
    fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>>;

    /// Sends `request` and gives the answer's body as it comes. Unless it is implemented, that is
    /// the whole body at once.
    fn open(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Chunks>, TransportError>> {
        Box::pin(async move {
            let response = self.send(request).await?;
            Ok(response.map(|body| stream::once(std::future::ready(Ok(body))).boxed()))
        })
    }
}

/// A body in the pieces it comes in.
pub type Chunks = BoxStream<'static, Result<Bytes, TransportError>>;

/// Why no answer came.
#[derive(Debug)]
pub struct TransportError {
    kind: ErrorKind,
    source: Box<dyn StdError + Send + Sync>,
}

impl TransportError {
    /// No connection was made: nothing was sent.
    pub fn connect(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self {
            kind: ErrorKind::Connect,
            source: source.into(),
        }
    }

    /// The connection broke after something had been sent: the outcome is unknown.
    pub fn interrupted(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self {
            kind: ErrorKind::Interrupted,
            source: source.into(),
        }
    }

    /// The request is one that cannot be sent.
    pub fn invalid(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self {
            kind: ErrorKind::Invalid,
            source: source.into(),
        }
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            ErrorKind::Connect => "no connection could be made",
            ErrorKind::Invalid => "the request cannot be sent",
            _ => "the connection broke before the answer was complete",
        })
    }
}

impl StdError for TransportError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.source)
    }
}

impl From<TransportError> for Error {
    fn from(error: TransportError) -> Self {
        Self::new(error.kind, error.to_string()).with_source(error.source)
    }
}
