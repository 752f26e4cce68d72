//! The transport of this crate.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use http::Uri;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper_util::client::proxy::matcher::Matcher;

use super::direct::Direct;
use super::encoder::{Encoder, Encoding, is_refusal};
use super::{Chunks, Transport, TransportError};
use crate::error::Error;

pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
pub(super) const USER_AGENT: &str = concat!("sluice-sdk/", env!("CARGO_PKG_VERSION"));

/// The transport of this crate: pooled connections, HTTP/2 where the server offers it, compressed
/// answers. Redirects are not followed, since PostgREST makes none and one could carry the key
/// elsewhere.
///
/// Where the system names a proxy (`HTTPS_PROXY` and its kin), requests go through reqwest, which
/// knows proxies. Otherwise they go through hyper, on which reqwest stands too: that spares what
/// reqwest does for each request in case of a redirect, a good third of the work of a small one.
#[derive(Clone, Debug)]
pub struct Http {
    engine: Engine,
    encoder: Option<Arc<Encoder>>,
}

#[derive(Clone, Debug)]
enum Engine {
    Direct(Direct),
    Reqwest(reqwest::Client),
}

/// What brings the body of an answer.
pub(super) type AnswerBody = UnsyncBoxBody<Bytes, TransportError>;

impl Http {
    /// Makes a pool of connections.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) where TLS cannot be set up.
    pub fn new() -> Result<Self, Error> {
        let engine = if system_names_a_proxy() {
            Engine::Reqwest(reqwest_client().map_err(unusable)?)
        } else {
            Engine::Direct(Direct::new().map_err(unusable)?)
        };
        Ok(Self::of(engine))
    }

    /// Sends through a client that is set up already: with a proxy, a certificate of your own. It
    /// should follow no redirects.
    pub fn with_client(client: reqwest::Client) -> Self {
        Self::of(Engine::Reqwest(client))
    }

    /// Compresses the bodies of requests, from a few KiB on.
    ///
    /// PostgREST itself reads no compressed bodies; a gateway before it may. A server that refuses
    /// one gets it again as it is, and plain ones from then on.
    #[must_use]
    pub fn compressing(self, encoding: Encoding) -> Self {
        Self {
            encoder: Some(Arc::new(Encoder::new(encoding))),
            ..self
        }
    }

    fn of(engine: Engine) -> Self {
        Self {
            engine,
            encoder: None,
        }
    }

    async fn send_as_it_is(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Bytes>, TransportError> {
        let (head, body) = self.engine.begin(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(http::Response::from_parts(head, body))
    }

    /// Sends a request with its body compressed, and as it is where the server does not take that.
    async fn send_encoded(
        &self,
        request: http::Request<Bytes>,
        encoder: &Encoder,
    ) -> Result<http::Response<Bytes>, TransportError> {
        let Some(shorter) = encoder.encode(&request).await else {
            return self.send_as_it_is(request).await;
        };
        let answer = self.send_as_it_is(shorter).await?;
        if !is_refusal(&answer) {
            return Ok(answer);
        }
        // The server could not read the body, so it has done nothing with it.
        let answer = self.send_as_it_is(request).await?;
        if !is_refusal(&answer) {
            encoder.stop();
        }
        Ok(answer)
    }
}

impl Transport for Http {
    fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>> {
        match &self.encoder {
            Some(encoder) => Box::pin(self.send_encoded(request, encoder)),
            None => Box::pin(self.send_as_it_is(request)),
        }
    }

    fn open(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'_, Result<http::Response<Chunks>, TransportError>> {
        Box::pin(async move {
            let response = self.engine.begin(request).await?;
            Ok(response.map(|body| body.into_data_stream().boxed()))
        })
    }
}

impl Engine {
    /// Sends a request and takes the head of the answer, with what will bring its body.
    async fn begin(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<AnswerBody>, TransportError> {
        match self {
            Self::Direct(direct) => direct.begin(request).await,
            Self::Reqwest(client) => {
                let request = reqwest::Request::try_from(request).map_err(classified)?;
                let response = client.execute(request).await.map_err(classified)?;
                let response: http::Response<reqwest::Body> = response.into();
                Ok(response.map(|body| body.map_err(classified).boxed_unsync()))
            }
        }
    }
}

/// Whether there is a proxy for an address that no list of exceptions names.
fn system_names_a_proxy() -> bool {
    let proxies = Matcher::from_system();
    let has = |uri| proxies.intercept(&Uri::from_static(uri)).is_some();
    has("http://any.invalid") || has("https://any.invalid")
}

fn reqwest_client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .user_agent(USER_AGENT)
        .build()
}

fn unusable(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::invalid("the HTTP client cannot be set up").with_source(error)
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
