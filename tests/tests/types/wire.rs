//! `--db-url`, against a few lines that speak Postgres's protocol: what the program asks for, and how
//! it reads the answer and the refusals.

use serde_json::json;
use sluice_tests::Program;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What a client sends before anything else to ask for TLS.
const SSL_REQUEST: u32 = 80_877_103;

/// A Postgres that answers one query with one text and has no TLS; the task gives the query.
async fn postgres(answer: String) -> (String, JoinHandle<Option<String>>) {
    postgres_that(move |_| async move { answer }).await
}

/// A Postgres that has the answer to its one query from any client that asks for it.
pub(crate) async fn postgres_that<F, A>(answer: F) -> (String, JoinHandle<Option<String>>)
where
    F: FnOnce(String) -> A + Send + 'static,
    A: Future<Output = String> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://u:hunter2@{}/d", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        serve(&mut stream, answer).await
    });
    (url, task)
}

async fn serve<A: Future<Output = String>>(
    stream: &mut TcpStream,
    answer: impl FnOnce(String) -> A,
) -> Option<String> {
    let mut startup = body(stream).await?;
    if startup.get(..4) == Some(&SSL_REQUEST.to_be_bytes()) {
        stream.write_all(b"N").await.ok()?;
        startup = body(stream).await?;
    }
    assert!(startup.windows(4).any(|part| part == b"user"));
    let authenticated = [message(b'R', &0_u32.to_be_bytes()), message(b'Z', b"I")];
    stream.write_all(&authenticated.concat()).await.ok()?;
    assert_eq!(stream.read_u8().await.ok()?, b'Q');
    let query = String::from_utf8(body(stream).await?).unwrap();
    let answer = answer(query.trim_end_matches('\0').to_owned()).await;
    // One column, called `catalog`, of the type text.
    let mut columns = b"\0\x01catalog\0".to_vec();
    columns.extend([
        0, 0, 0, 0, 0, 0, 0, 0, 0, 25, 255, 255, 255, 255, 255, 255, 0, 0,
    ]);
    let mut row = b"\0\x01".to_vec();
    row.extend(u32::try_from(answer.len()).unwrap().to_be_bytes());
    row.extend(answer.as_bytes());
    let answered = [
        message(b'T', &columns),
        message(b'D', &row),
        message(b'C', b"SELECT 1\0"),
        message(b'Z', b"I"),
    ];
    stream.write_all(&answered.concat()).await.ok()?;
    Some(query)
}

/// The body behind a length that counts itself.
async fn body(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let length = stream.read_u32().await.ok()?;
    let mut body = vec![0; usize::try_from(length).ok()?.checked_sub(4)?];
    stream.read_exact(&mut body).await.ok()?;
    Some(body)
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&[kind], &length[..], body].concat()
}

fn catalog() -> String {
    let table = json!({
        "schema": "it's", "name": "posts", "is_view": false, "row_type": 1, "comment": null,
        "insertable": false, "updatable": false, "columns": [], "foreign_keys": [],
    });
    json!({"schemas": ["it's"], "relations": [table], "functions": [], "types": []}).to_string()
}

#[tokio::test]
async fn the_catalog_is_read_by_one_simple_query() {
    let (url, task) = postgres(catalog()).await;
    let arguments = ["gen", "types", "--db-url", &url, "--schema", "it's"];
    let run = Program::bare().run(&arguments).await;
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.stdout.contains("#[table(schema = \"it's\")]"));
    assert!(run.stdout.starts_with("// @generated"));
    let query = task.await.unwrap().unwrap();
    assert!(query.contains("array[e'it''s']::text[]"), "{query}");
}

#[tokio::test]
async fn types_go_into_a_file_and_fit_it_then() {
    let program = Program::bare();
    let file = program.file("types.rs", "");
    let file = file.to_str().unwrap();
    for (option, code) in [("--check", 1), ("--file", 0), ("--check", 0)] {
        let (url, _task) = postgres(catalog()).await;
        let arguments = [
            "gen", "types", "--db-url", &url, "--schema", "it's", option, file,
        ];
        let run = program.run(&arguments).await;
        assert_eq!(
            run.code,
            Some(code),
            "{option}: {}{}",
            run.stdout,
            run.stderr
        );
    }
}

#[tokio::test]
async fn json_is_one_object_on_stdout() {
    let (url, _task) = postgres(catalog()).await;
    let arguments = [
        "gen", "types", "--db-url", &url, "--schema", "it's", "--output", "json",
    ];
    let run = Program::bare().run(&arguments).await;
    let types = run.json()["types"].as_str().unwrap().to_owned();
    assert!(types.contains("pub struct Posts {}"), "{types}");
}

#[tokio::test]
async fn what_cannot_be_encrypted_says_what_to_do() {
    let (url, _task) = postgres(catalog()).await;
    let url = format!("{url}?sslmode=require");
    let run = Program::bare()
        .run(&["gen", "types", "--db-url", &url])
        .await;
    assert_eq!(run.code, Some(6), "{}", run.stderr);
    assert!(run.stderr.contains("sslmode=disable"), "{}", run.stderr);
    assert!(!run.stderr.contains("hunter2"), "{}", run.stderr);
}

#[tokio::test]
async fn a_schema_that_is_not_there_is_an_error_of_usage() {
    let (url, _task) = postgres(catalog()).await;
    let run = Program::bare()
        .run(&["gen", "types", "--db-url", &url])
        .await;
    assert_eq!(run.code, Some(2), "{}", run.stderr);
    assert!(run.stderr.contains("no schema `public`"), "{}", run.stderr);
}

#[tokio::test]
async fn an_answer_that_is_no_catalog_is_an_error_of_the_database() {
    let (url, _task) = postgres("{}".to_owned()).await;
    let run = Program::bare()
        .run(&["gen", "types", "--db-url", &url])
        .await;
    assert_eq!(run.code, Some(6), "{}", run.stderr);
    assert!(run.stderr.contains("not understood"), "{}", run.stderr);
}
