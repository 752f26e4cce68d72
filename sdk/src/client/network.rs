//! The transport of this crate: reqwest.

use std::error::Error as _;
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

/// Decides whether anything can have been sent. The URL holds values, so only its host is shown.
fn classify(error: reqwest::Error) -> TransportError {
    let why = why_no_response(&error);
    let error = error.without_url();
    if error.is_connect() {
        TransportError::connect(error).because(why)
    } else if error.is_builder() {
        TransportError::invalid(error)
    } else {
        TransportError::interrupted(error)
    }
}

/// Why a request has no response, in a few words: "the name `x.test` does not resolve". The URL holds values, so only
/// its host is shown.
///
/// For programs that send with [`reqwest`] themselves. The errors of this crate have these words already.
pub fn why_no_response(error: &reqwest::Error) -> String {
    let host = error.url().and_then(|url| url.host_str());
    let host = host.unwrap_or("the host");
    // The libraries below tell the causes apart by their texts alone.
    let (mut causes, mut next) = (Vec::new(), error.source());
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    let last = causes.last().map_or("no cause is known", String::as_str);
    let said = |start| causes.iter().find_map(|cause| cause.strip_prefix(start));
    if said("tunnel error: ").is_some() {
        format!("the proxy makes no connection to {host} ({last})")
    } else if said("dns error").is_some() {
        format!("the name `{host}` does not resolve")
    } else if let Some(why) = said("invalid peer certificate: ") {
        format!("the certificate of {host} is not accepted ({why})")
    } else if error.is_timeout() {
        format!("{host} does not answer")
    } else {
        format!("{host}: {last}")
    }
}
