//! The transport against real sockets: connections, redirects, compressed responses, broken ones, proxies.

use std::process::Command;
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::json;
use sluice_sdk::{Client, error::ErrorKind, query::RetryPolicy};

use crate::server::{Reaction, Server, answer};

const ROW: &[u8] = br#"[{"id":1}]"#;

fn row() -> Reaction {
    Reaction::Answer(answer(200, "", ROW))
}

fn client(server: &Server) -> Client {
    Client::builder()
        .postgrest_url(server.url())
        .retry(RetryPolicy::default().base(Duration::ZERO))
        .build()
        .unwrap()
}

#[tokio::test]
async fn requests_share_a_connection() {
    let server = Server::start(|_| row()).await;
    let db = client(&server);
    for _ in 0..3 {
        db.table("t").await.unwrap();
    }
    let connections: Vec<usize> = server.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 0, 0]);
}

#[tokio::test]
async fn a_connection_that_the_server_closed_is_replaced_even_for_a_write() {
    let server = Server::start(|seen| match seen.connection {
        0 => Reaction::Last(answer(200, "", ROW)),
        _ => row(),
    })
    .await;
    let db = client(&server);
    db.rpc_by_name("f", &json!({})).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    db.rpc_by_name("f", &json!({})).await.unwrap();
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_broken_connection_is_retried_for_a_read_and_not_for_a_write() {
    let server = Server::start(|seen| {
        if seen.connection == 0 || seen.head.starts_with("POST") {
            Reaction::HangUp
        } else {
            row()
        }
    })
    .await;
    let db = client(&server);
    assert_eq!(db.table("t").await.unwrap(), [json!({"id": 1})]);
    assert_eq!(server.seen().len(), 2);
    let error = db.rpc_by_name("f", &json!({})).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Interrupted);
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn a_response_that_breaks_off_is_an_interruption() {
    let server = Server::start(|_| {
        let whole = answer(200, "", ROW);
        Reaction::Last(whole[..whole.len() - 3].to_vec())
    })
    .await;
    let error = client(&server)
        .rpc_by_name("f", &json!({}))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Interrupted);
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_a_connect_error() {
    let server = Server::start(|_| row()).await;
    let db = client(&server);
    drop(server);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let error = db.rpc_by_name("f", &json!({})).await.unwrap_err();
    assert_eq!((error.kind(), error.retries()), (ErrorKind::Connect, 4));
}

#[tokio::test]
async fn a_redirect_is_an_error_and_takes_the_key_nowhere() {
    let elsewhere = Server::start(|_| row()).await;
    let headers = format!("location: {}/t\r\n", elsewhere.url());
    let server = Server::start(move |_| Reaction::Answer(answer(307, &headers, b""))).await;
    let error = client(&server).table("t").await.unwrap_err();
    assert_eq!(error.status().unwrap(), 307);
    assert!(elsewhere.seen().is_empty());
}

#[tokio::test]
async fn compressed_responses_are_requested_and_read() {
    // ROW in each format. The Brotli one is a stored block between its header and its end.
    let gzip = b"\x1f\x8b\x08\0\0\0\0\0\x02\x03\x8b\xae\x56\xca\x4c\x51\xb2\x32\xac\x8d\x05\0\x64\xa8\xe5\x68\x0a\0\0\0";
    let brotli = b"\x90\0\x10[{\"id\":1}]\x03";
    for (name, body) in [("gzip", gzip.to_vec()), ("br", brotli.to_vec())] {
        let headers = format!("content-encoding: {name}\r\n");
        let server = Server::start(move |_| Reaction::Answer(answer(200, &headers, &body))).await;
        let db = client(&server);
        assert_eq!(db.table("t").await.unwrap(), [json!({"id": 1})]);
        let streamed: Vec<_> = db.table("t").read().stream().collect().await;
        assert_eq!(streamed[0].as_ref().unwrap(), &json!({"id": 1}));
        let accepted = server.seen()[0]
            .header("accept-encoding")
            .unwrap()
            .to_owned();
        assert!(
            accepted.contains("gzip") && accepted.contains("br"),
            "{accepted}"
        );
    }
}

#[tokio::test]
async fn rows_arrive_before_the_response_ends() {
    // The server promises ten more bytes and never sends them.
    let server = Server::start(|_| {
        let head = b"HTTP/1.1 200 x\r\ncontent-length: 20\r\n\r\n";
        Reaction::Answer([&head[..], b"[{\"id\":1},"].concat())
    })
    .await;
    let mut rows = client(&server).table("t").read().stream();
    assert_eq!(rows.next().await.unwrap().unwrap(), json!({"id": 1}));
}

/// The variable that tells the child process of the test below where to send.
const TARGET: &str = "SLUICE_TEST_TARGET";

#[tokio::test]
#[ignore = "the next test runs it in a child process"]
async fn send_one_request() {
    #[expect(clippy::disallowed_methods, reason = "the parent process sets it")]
    let url = std::env::var(TARGET).unwrap();
    let db = Client::builder()
        .postgrest_url(url)
        .retry(RetryPolicy::never())
        .build()
        .unwrap();
    db.table("t").await.unwrap();
}

/// reqwest reads the proxy variables of its process, so a child process makes the request.
#[tokio::test]
async fn a_proxy_from_the_environment_is_used() {
    let proxy = Server::start(|_| row()).await;
    let ask = |variables: [(&'static str, String); 2]| {
        let test = std::env::current_exe().unwrap();
        tokio::task::spawn_blocking(move || {
            let status = Command::new(test)
                .args(["--ignored", "--exact", "wire::send_one_request"])
                .env(TARGET, "http://db.invalid")
                .env_remove("no_proxy")
                .envs(variables)
                .output();
            status.unwrap().status.success()
        })
    };
    let through = |exceptions: &str| {
        let url = proxy.url().to_owned();
        ask([("http_proxy", url), ("NO_PROXY", exceptions.to_owned())])
    };
    assert!(through("localhost").await.unwrap());
    assert!(proxy.seen()[0].head.starts_with("GET http://db.invalid/t "));
    // No such host exists, so the request fails without the proxy.
    assert!(!through("db.invalid").await.unwrap());
    assert_eq!(proxy.seen().len(), 1);
}
