//! The transport against real sockets: connections, redirects, compression, broken answers. Each
//! through hyper, and through reqwest as where a proxy is in between.

use std::io::Write;
use std::process::Command;
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};
use sluice_sdk::{Client, Encoding, ErrorKind, Http, RetryPolicy};

use crate::server::{Reaction, Server, answer};

const ROW: &[u8] = br#"[{"id":1}]"#;

fn row() -> Reaction {
    Reaction::Answer(answer(200, "", ROW))
}

fn engines() -> [Http; 2] {
    let reqwest = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build();
    [Http::new().unwrap(), Http::with_client(reqwest.unwrap())]
}

fn client(server: &Server, http: Http) -> Client {
    Client::builder()
        .postgrest_url(server.url())
        .retry(RetryPolicy::default().base(Duration::ZERO))
        .transport(http)
        .build()
        .unwrap()
}

#[tokio::test]
async fn requests_share_a_connection() {
    for http in engines() {
        let server = Server::start(|_| row()).await;
        let db = client(&server, http);
        for _ in 0..3 {
            db.table("t").await.unwrap();
        }
        let connections: Vec<usize> = server.seen().iter().map(|seen| seen.connection).collect();
        assert_eq!(connections, [0, 0, 0]);
    }
}

#[tokio::test]
async fn a_connection_that_the_server_has_closed_is_replaced_even_for_a_write() {
    for http in engines() {
        let server = Server::start(|seen| match seen.connection {
            0 => Reaction::Last(answer(200, "", ROW)),
            _ => row(),
        })
        .await;
        let db = client(&server, http);
        db.call("f", &json!({})).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        db.call("f", &json!({})).await.unwrap();
        assert_eq!(server.seen().len(), 2);
    }
}

#[tokio::test]
async fn a_connection_that_breaks_is_made_again_for_a_read_and_not_for_a_write() {
    for http in engines() {
        let server = Server::start(|seen| {
            if seen.connection == 0 || seen.head.starts_with("POST") {
                Reaction::HangUp
            } else {
                row()
            }
        })
        .await;
        let db = client(&server, http);
        assert_eq!(db.table("t").await.unwrap(), [json!({"id": 1})]);
        assert_eq!(server.seen().len(), 2);
        let error = db.call("f", &json!({})).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Interrupted);
        assert_eq!(server.seen().len(), 3);
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_an_interruption() {
    for http in engines() {
        let server = Server::start(|_| {
            let whole = answer(200, "", ROW);
            Reaction::Last(whole[..whole.len() - 3].to_vec())
        })
        .await;
        let error = client(&server, http)
            .call("f", &json!({}))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Interrupted);
    }
}

#[tokio::test]
async fn a_port_where_no_one_listens_is_no_connection() {
    for http in engines() {
        let server = Server::start(|_| row()).await;
        let db = client(&server, http);
        drop(server);
        tokio::time::sleep(Duration::from_millis(50)).await;
        let error = db.call("f", &json!({})).await.unwrap_err();
        assert_eq!((error.kind(), error.retries()), (ErrorKind::Connect, 4));
    }
}

#[tokio::test]
async fn a_redirect_is_an_error_and_takes_the_key_nowhere() {
    for http in engines() {
        let elsewhere = Server::start(|_| row()).await;
        let headers = format!("location: {}/t\r\n", elsewhere.url());
        let server = Server::start(move |_| Reaction::Answer(answer(307, &headers, b""))).await;
        let error = client(&server, http).table("t").await.unwrap_err();
        assert_eq!(error.status().unwrap(), 307);
        assert!(elsewhere.seen().is_empty());
    }
}

#[tokio::test]
async fn compressed_answers_are_asked_for_and_read() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(ROW).unwrap();
    let mut brotli = Vec::new();
    brotli::BrotliCompress(
        &mut &*ROW,
        &mut brotli,
        &brotli::enc::BrotliEncoderParams::default(),
    )
    .unwrap();
    for (name, body) in [("gzip", gzip.finish().unwrap()), ("br", brotli)] {
        for http in engines() {
            let (headers, body) = (format!("content-encoding: {name}\r\n"), body.clone());
            let server =
                Server::start(move |_| Reaction::Answer(answer(200, &headers, &body))).await;
            let db = client(&server, http);
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
}

#[tokio::test]
async fn rows_come_before_the_answer_ends() {
    for http in engines() {
        // Ten bytes are promised and never come.
        let server = Server::start(|_| {
            let head = b"HTTP/1.1 200 x\r\ncontent-length: 20\r\n\r\n";
            Reaction::Answer([&head[..], b"[{\"id\":1},"].concat())
        })
        .await;
        let mut rows = client(&server, http).table("t").read().stream();
        assert_eq!(rows.next().await.unwrap().unwrap(), json!({"id": 1}));
    }
}

/// A body that is worth compressing.
fn large() -> Value {
    json!({"text": "rain, ".repeat(2_000)})
}

#[tokio::test]
async fn a_large_body_is_compressed_where_that_is_asked_for() {
    for encoding in [Encoding::Gzip, Encoding::Brotli] {
        for http in engines() {
            let server = Server::start(|_| row()).await;
            client(&server, http.clone())
                .call("f", &large())
                .await
                .unwrap();
            let db = client(&server, http.compressing(encoding));
            db.call("f", &large()).await.unwrap();
            db.call("f", &json!({"text": "short".repeat(200)}))
                .await
                .unwrap();
            let [plain, large_one, short] = &server.seen()[..] else {
                panic!("three requests");
            };
            assert!(plain.header("content-encoding").is_none());
            assert!(large_one.header("content-encoding").is_some());
            assert!(large_one.body.len() < 1_000, "{}", large_one.body.len());
            assert_eq!(large_one.decoded(), large().to_string());
            assert!(short.header("content-encoding").is_none());
        }
    }
}

/// Which of the requests that `calls` large calls make are compressed.
async fn compressed(
    calls: usize,
    react: impl Fn(bool) -> Reaction + Send + Sync + 'static,
) -> Vec<bool> {
    let server = Server::start(move |seen| react(seen.header("content-encoding").is_some())).await;
    let db = Client::builder()
        .postgrest_url(server.url())
        .compress_bodies(Encoding::Gzip)
        .build()
        .unwrap();
    for _ in 0..calls {
        // Whether it succeeds is the server's choice.
        let _answer = db.call("f", &large()).await;
    }
    let seen = server.seen();
    seen.iter()
        .map(|seen| seen.header("content-encoding").is_some())
        .collect()
}

#[tokio::test]
async fn a_server_that_takes_no_compressed_bodies_gets_plain_ones_from_then_on() {
    let no_json =
        br#"{"code":"PGRST102","message":"Empty or invalid json","details":null,"hint":null}"#;
    for refusal in [answer(415, "", b""), answer(400, "", no_json)] {
        let made = compressed(2, move |is_compressed| {
            if is_compressed {
                Reaction::Answer(refusal.clone())
            } else {
                row()
            }
        });
        assert_eq!(made.await, [true, false, false]);
    }
}

#[tokio::test]
async fn a_refusal_for_another_reason_says_nothing_about_compression() {
    let always = |_| Reaction::Answer(answer(415, "", b""));
    assert_eq!(compressed(2, always).await, [true, false, true, false]);
    let bad_value =
        br#"{"code":"22P02","message":"invalid input syntax","details":null,"hint":null}"#;
    let made = compressed(2, |_| Reaction::Answer(answer(400, "", bad_value)));
    assert_eq!(made.await, [true, true]);
}

#[test]
fn a_transport_of_ones_own_is_not_compressed_from_outside() {
    let build = || {
        Client::builder()
            .postgrest_url("http://x")
            .transport(Http::new()?)
            .compress_bodies(Encoding::Gzip)
            .build()
    };
    assert_eq!(build().unwrap_err().kind(), ErrorKind::Invalid);
}

/// The variable by which the test below tells its child where to send.
const TARGET: &str = "SLUICE_TEST_TARGET";

#[tokio::test]
#[ignore = "the child of the next test"]
async fn send_one_request() {
    #[expect(
        clippy::disallowed_methods,
        reason = "it is this process that is configured"
    )]
    let url = std::env::var(TARGET).unwrap();
    let db = Client::builder()
        .postgrest_url(url)
        .retry(RetryPolicy::never())
        .build()
        .unwrap();
    db.table("t").await.unwrap();
}

/// A process reads where its proxies are once, so the request is made by a process of its own.
#[tokio::test]
async fn a_proxy_that_the_system_names_is_used() {
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
    // There is no such host, so without the proxy nothing is reached.
    assert!(!through("db.invalid").await.unwrap());
    assert_eq!(proxy.seen().len(), 1);
}
