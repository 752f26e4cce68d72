//! The transport over TLS: HTTP/2, and what an HTTP/2 server refuses.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use sluice_sdk::{
    Client, Error,
    client::{Http, Transport},
    error::ErrorKind,
    query::RetryPolicy,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::server::TlsStream;

/// A server that offers some protocols, and a transport that trusts its certificate.
struct Peers {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    http: Http,
    url: String,
}

impl Peers {
    async fn new(protocols: &[&str]) -> Self {
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let trusted = reqwest::Certificate::from_der(cert.der()).unwrap();
        let client = reqwest::Client::builder()
            .tls_certs_only([trusted])
            .no_proxy()
            .build();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let mut server = ServerConfig::builder()
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
            http: Http::with_client(client.unwrap()),
            url: format!("https://localhost:{port}"),
        }
    }

    /// Runs `work` while the server treats its first connection as `serve` says.
    async fn exchange<O, S: Future<Output = ()>>(
        &self,
        work: impl Future<Output = O>,
        serve: impl FnOnce(TlsStream<TcpStream>) -> S,
    ) -> O {
        let serving = async {
            let (stream, _) = self.listener.accept().await.unwrap();
            serve(self.acceptor.accept(stream).await.unwrap()).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            result = work => result,
            () = serving => unreachable!("the server never ends"),
        }
    }

    /// Makes a call that may write, and that the client sends once.
    async fn write(&self) -> Result<serde_json::Value, Error> {
        let db = Client::builder()
            .postgrest_url(&self.url)
            .retry(RetryPolicy::never())
            .transport(self.http.clone())
            .build();
        db?.rpc_by_name("f", &json!({})).await
    }

    async fn version<S: Future<Output = ()>>(
        &self,
        serve: impl FnOnce(TlsStream<TcpStream>) -> S,
    ) -> http::Version {
        let request = http::Request::get(&self.url).body(Bytes::new()).unwrap();
        let response = self.exchange(self.http.send(request), serve).await;
        response.unwrap().version()
    }
}

/// Resets the first streams of an HTTP/2 connection for these reasons, and answers all others.
async fn serve_http2(stream: TlsStream<TcpStream>, resets: Vec<h2::Reason>) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    let mut resets = resets.into_iter();
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        match resets.next() {
            Some(reason) => respond.send_reset(reason),
            None => drop(
                respond
                    .send_response(http::Response::new(()), true)
                    .unwrap(),
            ),
        }
    }
}

#[tokio::test]
async fn http2_is_used_if_the_server_offers_it() {
    let peers = Peers::new(&["h2", "http/1.1"]).await;
    let version = peers.version(|stream| serve_http2(stream, Vec::new()));
    assert_eq!(version.await, http::Version::HTTP_2);

    let peers = Peers::new(&["http/1.1"]).await;
    let version = peers.version(async |mut stream| {
        while stream.read_u8().await.unwrap() != b'\n' {}
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(answer).await.unwrap();
        stream.flush().await.unwrap();
    });
    assert_eq!(version.await, http::Version::HTTP_11);
}

/// `REFUSED_STREAM` says that the server did nothing with the request (RFC 9113, section 8.7), so reqwest
/// sends even a write again, twice at most.
#[tokio::test]
async fn a_refused_stream_is_sent_again_and_a_broken_one_is_not() {
    use h2::Reason;
    let refused = Reason::REFUSED_STREAM;
    let peers = Peers::new(&["h2"]).await;
    let answer = peers.exchange(peers.write(), |stream| {
        serve_http2(stream, vec![refused; 2])
    });
    assert_eq!(answer.await.unwrap(), json!(null));

    for resets in [vec![refused; 3], vec![Reason::INTERNAL_ERROR]] {
        let peers = Peers::new(&["h2"]).await;
        let answer = peers.exchange(peers.write(), |stream| serve_http2(stream, resets));
        assert_eq!(answer.await.unwrap_err().kind(), ErrorKind::Interrupted);
    }
}

/// Nobody vouches for the certificate of this server.
#[tokio::test]
async fn a_certificate_that_is_not_accepted_is_named() {
    let Peers {
        listener,
        acceptor,
        url,
        ..
    } = Peers::new(&["h2"]).await;
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        acceptor.accept(stream).await.map(|_| ())
    });
    let db = Client::builder()
        .postgrest_url(url)
        .retry(RetryPolicy::never());
    let error = db.build().unwrap().table("t").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);
    let expected =
        "GET /t: no connection could be made: the certificate of localhost is not accepted";
    assert!(error.to_string().starts_with(expected), "{error}");
    assert!(serving.await.unwrap().is_err());
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_named() {
    let db = Client::builder()
        .supabase_url("https://project-of-nobody.invalid")
        .retry(RetryPolicy::never());
    let error = db.build().unwrap().table("t").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);
    let expected = "GET /t: no connection could be made: the name `project-of-nobody.invalid` does not resolve";
    assert_eq!(error.to_string(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_the_tls_handshake_is_a_connect_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/t", listener.local_addr().unwrap());
    let request = http::Request::get(url).body(Bytes::new()).unwrap();
    let http = Http::new().unwrap();
    let sending = tokio::time::timeout(Duration::from_secs(20), http.send(request));
    let error = sending.await.unwrap().unwrap_err();
    assert_eq!(Error::from(error).kind(), ErrorKind::Connect);
}
