//! The transport of this crate: reqwest.

use std::mem;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};

use super::{Chunks, Transport, TransportError};
use crate::error::Error;

/// The default transport: [`reqwest`] with pooled connections, HTTP/2 if the server offers it, and
/// compressed responses. A proxy that the environment names (`HTTPS_PROXY` and its like) is used.
///
/// Redirects are not followed. PostgREST sends none, and one could carry the key to another server.
#[derive(Clone, Debug)]
pub struct Http {
    client: reqwest::Client,
}

impl Http {
    /// Makes a pool of connections.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::error::ErrorKind::Invalid) if TLS or the proxy cannot be set up.
    pub fn new() -> Result<Self, Error> {
        const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
        // PostgREST closes idle connections after 30 s. A request sent at that moment would be lost.
        const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .build();
        let client = client.map_err(|error| {
            Error::invalid("the HTTP client cannot be set up").with_source(error)
        })?;
        Ok(Self { client })
    }

    /// Sends through a client of your own, such as one with a client certificate. It should follow
    /// no redirects.
    pub fn with_client(client: reqwest::Client) -> Self {
        Self { client }
    }

    /// Sends a request. Returns the head of the response, and what reads its body.
    async fn start(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<(http::Response<()>, reqwest::Response), TransportError> {
        let request = reqwest::Request::try_from(request).map_err(classify)?;
        let mut response = self.client.execute(request).await.map_err(classify)?;
        let mut head = http::Response::new(());
        *head.status_mut() = response.status();
        *head.version_mut() = response.version();
        *head.headers_mut() = mem::take(response.headers_mut());
        Ok((head, response))
    }
}

impl Transport for Http {
    fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>> {
        Box::pin(async move {
            let (head, response) = self.start(request).await?;
            let body = response.bytes().await.map_err(classify)?;
            Ok(head.map(|()| body))
        })
    }

    fn open(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Chunks>, TransportError>> {
        Box::pin(async move {
            let (head, response) = self.start(request).await?;
            let chunks = stream::try_unfold(response, |mut response| async move {
                let chunk = response.chunk().await.map_err(classify)?;
                Ok(chunk.map(|chunk| (chunk, response)))
            });
            Ok(head.map(|()| chunks.boxed()))
        })
    }
}

/// Decides whether anything can have been sent. The URL holds values, so it is left out.
fn classify(error: reqwest::Error) -> TransportError {
    let error = error.without_url();
    if error.is_connect() {
        TransportError::connect(error)
    } else if error.is_builder() {
        TransportError::invalid(error)
    } else {
        TransportError::interrupted(error)
    }
}
