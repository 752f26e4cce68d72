//! Connections to a server that no proxy stands before: a pool of hyper, with what of an HTTP client
//! PostgREST needs.

use std::error::Error as StdError;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Uri, header};
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

type BoxError = Box<dyn StdError + Send + Sync>;

/// A pool of connections, with HTTP/2 where the server offers it, that asks for compressed answers
/// and follows no redirects.
#[derive(Clone, Debug)]
pub(super) struct Direct {
    pool: Arc<Pool<Prompt<HttpsConnector<HttpConnector>>, Full<Bytes>>>,
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
            .build(Prompt(connector));
        Self {
            pool: Arc::new(pool),
        }
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
        let sending = Decompression::new(&*self.pool).call(request.map(Full::new));
        let response = sending.await.map_err(classified)?;
        Ok(response.map(|body| body.map_err(TransportError::interrupted).boxed_unsync()))
    }
}

/// A connector that gives up in time, whatever keeps it: a server may take a connection and then be
/// silent about TLS. Nothing has been sent by then, which a deadline of the request would not tell.
#[derive(Clone, Debug)]
struct Prompt<C>(C);

impl<C> Service<Uri> for Prompt<C>
where
    C: Service<Uri, Error = BoxError>,
    C::Future: Send + 'static,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<C::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, server: Uri) -> Self::Future {
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT, self.0.call(server));
        Box::pin(async move { connecting.await? })
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

#[cfg(test)]
mod tests {
    use http::Version;
    use rustls::pki_types::PrivateKeyDer;
    use rustls::{RootCertStore, ServerConfig};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::server::TlsStream;

    use super::*;
    use crate::error::{Error, ErrorKind};

    /// A server on one side, which offers these protocols; on the other what trusts it.
    struct Peers {
        listener: TcpListener,
        acceptor: TlsAcceptor,
        direct: Direct,
        url: String,
    }

    impl Peers {
        async fn new(protocols: &[&str]) -> Self {
            let name = "localhost".to_owned();
            let rcgen::CertifiedKey { cert, signing_key } =
                rcgen::generate_simple_self_signed([name]).unwrap();
            let mut roots = RootCertStore::empty();
            roots.add(cert.der().clone()).unwrap();
            let client = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
            let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
            let mut server =
                ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
                    .with_safe_default_protocol_versions()
                    .unwrap()
                    .with_no_client_auth()
                    .with_single_cert(vec![cert.der().clone()], key)
                    .unwrap();
            server.alpn_protocols = protocols
                .iter()
                .map(|name| name.as_bytes().to_vec())
                .collect();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            Self {
                listener,
                acceptor: Arc::new(server).into(),
                direct: Direct::with_tls(client),
                url: format!("https://localhost:{port}/t"),
            }
        }

        /// Sends a request while the server does as `serve` says with the connection.
        async fn exchange<S: Future<Output = ()>>(
            &self,
            serve: impl FnOnce(TlsStream<TcpStream>) -> S,
        ) -> Result<http::Response<AnswerBody>, TransportError> {
            let request = http::Request::get(&self.url).body(Bytes::new()).unwrap();
            let serving = async {
                let (stream, _) = self.listener.accept().await.unwrap();
                serve(self.acceptor.accept(stream).await.unwrap()).await;
                std::future::pending::<()>().await;
            };
            tokio::select! {
                answer = self.direct.begin(request) => answer,
                () = serving => unreachable!("it goes on for ever"),
            }
        }
    }

    /// Answers the first request over HTTP/2 by resetting it, or with an empty answer.
    async fn serve_http2(stream: TlsStream<TcpStream>, reset: Option<h2::Reason>) {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let (_, mut respond) = connection.accept().await.unwrap().unwrap();
        match reset {
            Some(reason) => respond.send_reset(reason),
            None => drop(
                respond
                    .send_response(http::Response::new(()), true)
                    .unwrap(),
            ),
        }
        // Nothing goes out but while the connection is asked for more.
        let _closed = connection.accept().await;
    }

    #[tokio::test]
    async fn http2_is_spoken_where_the_server_offers_it() {
        let peers = Peers::new(&["h2", "http/1.1"]).await;
        let answer = peers.exchange(|stream| serve_http2(stream, None)).await;
        assert_eq!(answer.unwrap().version(), Version::HTTP_2);

        let peers = Peers::new(&["http/1.1"]).await;
        let answer = peers.exchange(async |mut stream| {
            while stream.read_u8().await.unwrap() != b'\n' {}
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(answer).await.unwrap();
            stream.flush().await.unwrap();
        });
        assert_eq!(answer.await.unwrap().version(), Version::HTTP_11);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_silent_about_tls_is_no_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/t", listener.local_addr().unwrap());
        let request = http::Request::get(url).body(Bytes::new()).unwrap();
        let direct = Direct::new().unwrap();
        let asking = tokio::time::timeout(2 * CONNECT_TIMEOUT, direct.begin(request));
        let error = asking.await.unwrap().unwrap_err();
        assert_eq!(Error::from(error).kind(), ErrorKind::Connect);
    }

    #[tokio::test]
    async fn a_refused_stream_did_nothing_and_a_broken_one_may_have() {
        for (reason, kind) in [
            (h2::Reason::REFUSED_STREAM, ErrorKind::Connect),
            (h2::Reason::INTERNAL_ERROR, ErrorKind::Interrupted),
        ] {
            let peers = Peers::new(&["h2"]).await;
            let answer = peers
                .exchange(|stream| serve_http2(stream, Some(reason)))
                .await;
            assert_eq!(Error::from(answer.unwrap_err()).kind(), kind);
        }
    }
}
