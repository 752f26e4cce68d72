//! The one place that touches the network.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::error::{Error, ErrorKind};

/// Sends one request and reads the whole answer, whatever its status.
///
/// Implement it to send through another HTTP stack, to count or record, or to stand in for a server
/// in tests. Deadlines and repetitions are the client's: a transport does neither. The future may
/// be dropped at any time.
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

/// The transport of this crate: reqwest, with pooled connections, HTTP/2 where the server offers
/// it, and compressed answers.
#[derive(Clone, Debug)]
pub struct Http {
    client: reqwest::Client,
}

impl Http {
    /// Makes a pool of connections.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] where TLS cannot be set up.
    pub fn new() -> Result<Self, Error> {
        const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            // PostgREST does not redirect; following one could carry the key elsewhere.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("sluice-sdk/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| {
                Error::invalid("the HTTP client cannot be set up").with_source(error)
            })?;
        Ok(Self { client })
    }

    /// Sends through a client that is set up already: with a proxy, a certificate of your own. It
    /// should follow no redirects.
    pub fn with_client(client: reqwest::Client) -> Self {
        Self { client }
    }
}

impl Transport for Http {
    fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>> {
        Box::pin(async move {
            let (mut answer, response) = self.begin(request).await?;
            *answer.body_mut() = response.bytes().await.map_err(classified)?;
            Ok(answer)
        })
    }

    fn open(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Chunks>, TransportError>> {
        Box::pin(async move {
            let (answer, response) = self.begin(request).await?;
            Ok(answer.map(|_| response.bytes_stream().map_err(classified).boxed()))
        })
    }
}

impl Http {
    /// Sends a request and takes the head of the answer, with what will bring its body.
    async fn begin(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<(http::Response<Bytes>, reqwest::Response), TransportError> {
        let request = reqwest::Request::try_from(request).map_err(classified)?;
        let mut response = self.client.execute(request).await.map_err(classified)?;
        let mut answer = http::Response::new(Bytes::new());
        *answer.status_mut() = response.status();
        *answer.headers_mut() = std::mem::take(response.headers_mut());
        Ok((answer, response))
    }
}

/// Tells whether anything can have been sent. The URL, which holds values, is left out.
fn classified(error: reqwest::Error) -> TransportError {
    let error = error.without_url();
    if error.is_connect() {
        TransportError::connect(error)
    } else if error.is_builder() {
        TransportError::invalid(error)
    } else {
        TransportError::interrupted(error)
    }
}
