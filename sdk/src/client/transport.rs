//! How requests are sent.

use std::error::Error as StdError;
use std::fmt;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};

use crate::error::{Error, ErrorKind};

/// Sends one request and reads the whole response, whatever its status.
///
/// Implement it to send through another HTTP library, to count or record requests, or to replace a
/// server in tests. The client is responsible for deadlines and retries. The future may be dropped
/// at any time.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// use bytes::Bytes;
/// use futures_util::future::BoxFuture;
/// use sluice_sdk::{Client, Error, client::{Http, Transport, TransportError}};
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
    /// Sends `request`, whose URI is absolute, and reads the response.
    fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>>;

    /// Sends `request`, and returns the response's body piece by piece. By default there is one
    /// piece, the whole body.
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

/// A body in the pieces in which it arrives.
pub type Chunks = BoxStream<'static, Result<Bytes, TransportError>>;

/// Why there is no response.
#[derive(Debug)]
pub struct TransportError {
    kind: ErrorKind,
    /// More about it, without a value of the request.
    why: Option<String>,
    source: Box<dyn StdError + Send + Sync>,
}

impl TransportError {
    /// No connection was made, so nothing was sent.
    pub fn connect(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self {
            kind: ErrorKind::Connect,
            why: None,
            source: source.into(),
        }
    }

    /// Says why, such as "the name `x` does not resolve".
    pub(super) fn because(self, why: String) -> Self {
        Self {
            why: Some(why),
            ..self
        }
    }

    /// The connection broke after something was sent. The outcome is unknown.
    pub fn interrupted(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self {
            kind: ErrorKind::Interrupted,
            why: None,
            source: source.into(),
        }
    }

    /// The request cannot be sent.
    pub fn invalid(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self {
            kind: ErrorKind::Invalid,
            why: None,
            source: source.into(),
        }
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            ErrorKind::Connect => "no connection could be made",
            ErrorKind::Invalid => "the request cannot be sent",
            _ => "the connection broke before the response was complete",
        })?;
        match &self.why {
            Some(why) => write!(f, ": {why}"),
            None => Ok(()),
        }
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
