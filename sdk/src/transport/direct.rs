//! Connections to a server that no proxy stands before: a pool of hyper, with what of an HTTP client
//! PostgREST needs.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, header};
use http_body_util::{BodyExt, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{self, Client as Pool};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls_platform_verifier::BuilderVerifierExt;
use tower_http::decompression::Decompression;
use tower_service::Service;

use super::TransportError;
use super::network::{AnswerBody, CONNECT_TIMEOUT, USER_AGENT};

/// A pool of connections, with HTTP/2 where the server offers it, that asks for compressed answers
/// and follows no redirects.
#[derive(Clone, Debug)]
pub(super) struct Direct {
    pool: Pool<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Direct {
    /// Trusts the servers that the system trusts.
    pub(super) fn new() -> Result<Self, rustls::Error> {
        let provider = CryptoProvider::get_default().cloned();
        let provider = provider.unwrap_or_else(|| Arc::new(aws_lc_rs::default_provider()));
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_platform_verifier()?
            .with_no_client_auth();
        Ok(Self::with_tls(tls))
    }

    fn with_tls(tls: ClientConfig) -> Self {
        // How long a connection may carry nothing before the system asks whether it is still there.
        const KEEPALIVE: Duration = Duration::from_secs(15);
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        tcp.set_keepalive(Some(KEEPALIVE));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(tcp);
        let pool = Pool::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .build(connector);
        Self { pool }
    }

    /// Sends a request and takes the head of the answer, with what will bring its body.
    pub(super) async fn begin(
        &self,
        mut request: http::Request<Bytes>,
    ) -> Result<http::Response<AnswerBody>, TransportError> {
        request
            .headers_mut()
            .entry(header::USER_AGENT)
            .or_insert(HeaderValue::from_static(USER_AGENT));
        let sending = Decompression::new(&self.pool).call(request.map(Full::new));
        let response = sending.await.map_err(classified)?;
        Ok(response.map(|body| body.map_err(TransportError::interrupted).boxed_unsync()))
    }
}

/// Tells whether anything can have been done.
fn classified(error: legacy::Error) -> TransportError {
    if error.is_connect() || is_unprocessed(&error) {
        TransportError::connect(error)
    } else {
        TransportError::interrupted(error)
    }
}

/// Whether an HTTP/2 server said that it did nothing with the request: it refused it, or closes the
/// connection in good order (RFC 9113, section 8.7).
fn is_unprocessed(error: &legacy::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
            let closing = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
            return error.is_remote() && (refused || closing);
        }
        cause = error.source();
    }
    false
}
