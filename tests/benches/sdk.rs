//! What the SDK costs, compared with the same requests by hand (with reqwest and serde) and with
//! the crate `postgrest`. Run `cargo bench -p sluice-tests --bench sdk --
//! instructions|canned|embedded` (without a name, all run). docs/benchmarks.md has the figures from
//! one machine.
//!
//! - `instructions`: counted by valgrind, which must be installed, in a process that only sends.
//! - `canned`: wall time against a server in another process that returns fixed bytes.
//! - `embedded`: wall time against the embedded Supabase.
//!
//! Each prints its table in the format of that page.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has failed")]
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(
    clippy::indexing_slicing,
    reason = "a benchmark that cannot run has failed"
)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use axum::Router;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use postgrest::Postgrest;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sluice_runner::local::{LocalOptions, Server};
use sluice_sdk::{Client, Function, Table};

const ROWS: i64 = 1_000;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["serve"] => serve().await,
        ["send", url, operation, peer, times] => {
            let operation = OPERATIONS
                .into_iter()
                .find(|it| it.name() == operation)
                .unwrap();
            let peer = PEERS.into_iter().find(|it| it.name() == peer).unwrap();
            send(url, operation, peer, times.parse().unwrap()).await;
        }
        [] => {
            instructions();
            canned().await;
            embedded().await;
        }
        ["instructions"] => instructions(),
        ["canned"] => canned().await,
        ["embedded"] => embedded().await,
        _ => panic!("name instructions, canned or embedded"),
    }
}

/// The operation.
#[derive(Clone, Copy, PartialEq)]
enum Operation {
    /// The rows of 50 codes, which need quotes.
    In,
    /// 1,000 rows.
    Read,
    /// An upsert of 1,000 rows in one request that returns only the count.
    Upsert,
    /// A call of a function of two numbers.
    Call,
}

const OPERATIONS: [Operation; 4] = [
    Operation::In,
    Operation::Read,
    Operation::Upsert,
    Operation::Call,
];

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::In => "in-50",
            Self::Read => "read-1000",
            Self::Upsert => "upsert-1000",
            Self::Call => "rpc",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::In => "`in` of 50 quoted texts",
            Self::Read => "read of 1,000 rows",
            Self::Upsert => "upsert of 1,000 rows, one request",
            Self::Call => "call of a function",
        }
    }
}

/// The client.
#[derive(Clone, Copy, PartialEq)]
enum Peer {
    ByHand,
    Sdk,
    Postgrest,
}

const PEERS: [Peer; 3] = [Peer::ByHand, Peer::Sdk, Peer::Postgrest];

impl Peer {
    fn name(self) -> &'static str {
        match self {
            Self::ByHand => "by-hand",
            Self::Sdk => "sdk",
            Self::Postgrest => "postgrest",
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize, Table)]
#[table(name = "readings")]
struct Reading {
    #[table(primary_key)]
    id: i64,
    code: String,
    sensor: i32,
    level: Option<f64>,
    note: String,
}

#[derive(Serialize, Function)]
#[function(name = "add", returns = i64)]
struct Add {
    a: i64,
    b: i64,
}

fn reading(id: i64) -> Reading {
    Reading {
        id,
        code: format!("code, ({id})"),
        sensor: i32::try_from(id % 7).unwrap(),
        level: (id % 5 != 0).then(|| id as f64 / 8.0),
        note: "a note on what was measured, and where, ".repeat(4),
    }
}

/// The three clients of one server, each with its own connection.
struct Clients {
    url: String,
    key: SecretString,
    by_hand: reqwest::Client,
    sdk: Client,
    postgrest: Postgrest,
    codes: Vec<String>,
    rows: Vec<Reading>,
}

const COLUMNS: &str = "id,code,sensor,level,note";

impl Clients {
    fn new(url: &str, key: &SecretString) -> Self {
        let sdk = Client::builder().postgrest_url(url).key(key.clone());
        Self {
            url: url.to_owned(),
            key: key.clone(),
            by_hand: reqwest::Client::builder()
                .tcp_nodelay(true)
                .build()
                .unwrap(),
            // One request of 1,000 rows, as the others send it.
            sdk: sdk.chunk_rows(1_000).build().unwrap(),
            postgrest: Postgrest::new(url).insert_header("apikey", key.expose_secret()),
            codes: (1..=50).map(|at| reading(at * 7).code).collect(),
            rows: (1..=ROWS).map(reading).collect(),
        }
    }

    async fn run(&self, operation: Operation, peer: Peer) {
        match peer {
            Peer::ByHand => self.by_hand(operation).await,
            Peer::Sdk => self.sdk(operation).await,
            Peer::Postgrest => self.postgrest(operation).await,
        }
    }

    async fn sdk(&self, operation: Operation) {
        let table = || self.sdk.from::<Reading>();
        match operation {
            Operation::In => {
                let codes = self.codes.iter().map(String::as_str);
                let rows = table().filter(Reading::CODE.in_(codes)).await.unwrap();
                assert_eq!(rows.len(), 50);
            }
            Operation::Read => assert_eq!(table().limit(1_000).await.unwrap().len(), 1_000),
            Operation::Upsert => {
                let upsert = table().upsert(&self.rows).on_conflict(Reading::ID);
                assert_eq!(upsert.await.unwrap().affected, 1_000);
            }
            Operation::Call => {
                assert_eq!(self.sdk.rpc(Add { a: 1, b: 2 }).await.unwrap(), 3);
            }
        }
    }

    /// What a careful author writes by hand for one request.
    async fn by_hand(&self, operation: Operation) {
        match operation {
            Operation::In => {
                let list: Vec<String> = self
                    .codes
                    .iter()
                    .map(|code| format!("\"{code}\""))
                    .collect();
                let list = format!("in.({})", list.join(","));
                let query = [("select", COLUMNS), ("code", &list)];
                let rows: Vec<Reading> = self.get("readings", &query).await;
                assert_eq!(rows.len(), 50);
            }
            Operation::Read => {
                let query = [("select", COLUMNS), ("limit", "1000")];
                let rows: Vec<Reading> = self.get("readings", &query).await;
                assert_eq!(rows.len(), 1_000);
            }
            Operation::Upsert => {
                let query = [("columns", COLUMNS), ("on_conflict", "id")];
                let prefer = "return=minimal,resolution=merge-duplicates,count=exact";
                let body = serde_json::to_vec(&self.rows).unwrap();
                let request = self.post("readings", &query, body).header("prefer", prefer);
                let answer = request.send().await.unwrap().error_for_status().unwrap();
                let range = answer.headers()["content-range"].to_str().unwrap();
                assert_eq!(range.rsplit('/').next(), Some("1000"));
            }
            Operation::Call => {
                let body = serde_json::to_vec(&Add { a: 1, b: 2 }).unwrap();
                let request = self.post("rpc/add", &[], body);
                let answer = request.send().await.unwrap().error_for_status().unwrap();
                let sum: i64 = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
                assert_eq!(sum, 3);
            }
        }
    }

    async fn get<V: serde::de::DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> V {
        let url = format!("{}/{path}", self.url);
        let url = reqwest::Url::parse_with_params(&url, query).unwrap();
        let request = self
            .by_hand
            .get(url)
            .header("apikey", self.key.expose_secret())
            .header("accept", "application/json");
        let answer = request.send().await.unwrap().error_for_status().unwrap();
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    }

    fn post(&self, path: &str, query: &[(&str, &str)], body: Vec<u8>) -> reqwest::RequestBuilder {
        let url = format!("{}/{path}", self.url);
        let url = if query.is_empty() {
            reqwest::Url::parse(&url).unwrap()
        } else {
            reqwest::Url::parse_with_params(&url, query).unwrap()
        };
        self.by_hand
            .post(url)
            .header("apikey", self.key.expose_secret())
            .header("accept", "application/json")
            .header("content-type", "application/json")
            .body(body)
    }

    async fn postgrest(&self, operation: Operation) {
        let table = || self.postgrest.from("readings");
        match operation {
            Operation::In => {
                // It does not quote: its caller must.
                let quoted = self.codes.iter().map(|code| format!("\"{code}\""));
                let answer = table().select(COLUMNS).in_("code", quoted).execute().await;
                let body = answer
                    .unwrap()
                    .error_for_status()
                    .unwrap()
                    .bytes()
                    .await
                    .unwrap();
                let rows: Vec<Reading> = serde_json::from_slice(&body).unwrap();
                assert_eq!(rows.len(), 50);
            }
            Operation::Read => {
                let answer = table().select(COLUMNS).limit(1_000).execute().await;
                let body = answer
                    .unwrap()
                    .error_for_status()
                    .unwrap()
                    .bytes()
                    .await
                    .unwrap();
                let rows: Vec<Reading> = serde_json::from_slice(&body).unwrap();
                assert_eq!(rows.len(), 1_000);
            }
            Operation::Upsert => {
                // It always requests the rows. They are received here, and not parsed.
                let body = serde_json::to_string(&self.rows).unwrap();
                let answer = table().upsert(body).on_conflict("id").execute().await;
                let body = answer
                    .unwrap()
                    .error_for_status()
                    .unwrap()
                    .bytes()
                    .await
                    .unwrap();
                assert!(!body.is_empty());
            }
            Operation::Call => {
                let body = serde_json::to_string(&Add { a: 1, b: 2 }).unwrap();
                let answer = self.postgrest.rpc("add", body).execute().await;
                let body = answer
                    .unwrap()
                    .error_for_status()
                    .unwrap()
                    .bytes()
                    .await
                    .unwrap();
                let sum: i64 = serde_json::from_slice(&body).unwrap();
                assert_eq!(sum, 3);
            }
        }
    }
}

/// Counts the instructions of each operation of each client, in thousands, by two runs that differ
/// only in the number of repetitions.
fn instructions() {
    const FEW: u64 = 20;
    const MORE: u64 = 100;
    let server = Canned::start();
    print_header("Instructions");
    for operation in OPERATIONS {
        let counts = PEERS.map(|peer| {
            let spent = server.instructions(operation, peer, FEW + MORE)
                - server.instructions(operation, peer, FEW);
            spent as f64 / MORE as f64 / 1e3
        });
        let cells = counts.map(|count| format!("{count:.1} ({:.3})", count / counts[0]));
        print_row(operation, &cells);
    }
}

/// A process that returns fixed bytes. It ends with this one.
struct Canned {
    child: Child,
    url: String,
}

impl Canned {
    fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("serve")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut url).unwrap();
        let url = url.trim().to_owned();
        Self { child, url }
    }

    fn instructions(&self, operation: Operation, peer: Peer, times: u64) -> u64 {
        let output = Command::new("valgrind")
            .args([
                "--tool=cachegrind",
                "--cache-sim=no",
                "--cachegrind-out-file=/dev/null",
            ])
            .arg(std::env::current_exe().unwrap())
            .args([
                "send",
                &self.url,
                operation.name(),
                peer.name(),
                &times.to_string(),
            ])
            .output()
            .unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        let line = told
            .lines()
            .find(|line| line.contains("I ") && line.contains("refs:"));
        let count = line
            .unwrap_or_else(|| panic!("{told}"))
            .rsplit(' ')
            .next()
            .unwrap();
        count.replace(',', "").parse().unwrap()
    }
}

impl Drop for Canned {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

async fn send(url: &str, operation: Operation, peer: Peer, times: u64) {
    let clients = Clients::new(url, &"key".into());
    for _ in 0..times {
        clients.run(operation, peer).await;
    }
}

async fn serve() {
    let rows: Vec<Reading> = (1..=ROWS).map(reading).collect();
    let all = serde_json::to_string(&rows).unwrap();
    let few = serde_json::to_string(&rows[..50]).unwrap();
    let answer = move |method: Method, uri: Uri, headers: HeaderMap, _: axum::body::Bytes| {
        let json = |status, body: String| {
            let headers = [
                ("content-type", "application/json"),
                ("content-range", "*/1000"),
            ];
            (status, headers, body).into_response()
        };
        let answer: Response = if uri.path() == "/rpc/add" {
            json(StatusCode::OK, "3".to_owned())
        } else if method == Method::GET {
            let is_list = uri.query().unwrap_or_default().contains("code=in.");
            json(
                StatusCode::OK,
                if is_list { few.clone() } else { all.clone() },
            )
        } else {
            let minimal = headers["prefer"]
                .to_str()
                .unwrap()
                .contains("return=minimal");
            json(
                StatusCode::CREATED,
                if minimal { String::new() } else { all.clone() },
            )
        };
        std::future::ready(answer)
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("http://{}", listener.local_addr().unwrap());
    axum::serve(listener, Router::new().fallback(answer))
        .await
        .unwrap();
}

async fn canned() {
    let server = Canned::start();
    print_header("Wall time, canned");
    race(&Clients::new(&server.url, &"key".into()), 201, 10).await;
}

async fn embedded() {
    let server = Server::start(&LocalOptions::default()).await.unwrap();
    let prepare = "create table readings (
                id bigint primary key, code text not null unique, sensor int not null, level float8, note text
             );
             create function add(a bigint, b bigint) returns bigint language sql as 'select a + b'";
    server.sql(prepare).await.unwrap();
    let url = format!("{}/rest/v1", server.url());
    let clients = Clients::new(&url, server.secret_key());
    clients.run(Operation::Upsert, Peer::Sdk).await;
    print_header("Wall time, embedded");
    race(&clients, 41, 3).await;
}

/// Times each operation of each client, in microseconds: the lower quartile and the median over
/// `rounds` of `times` repetitions. The clients take turns in each round, and each begins equally
/// often. Other load only adds time, and the lower quartile leaves most of it out. The ratio is
/// that of the lower quartiles.
async fn race(clients: &Clients, rounds: usize, times: u32) {
    for operation in OPERATIONS {
        let mut samples = [const { Vec::new() }; PEERS.len()];
        for round in 0..=rounds {
            for turn in 0..PEERS.len() {
                let at = (round + turn) % PEERS.len();
                let started = Instant::now();
                for _ in 0..times {
                    clients.run(operation, PEERS[at]).await;
                }
                // The first round connects.
                if round > 0 {
                    samples[at].push(started.elapsed().as_secs_f64() * 1e6 / f64::from(times));
                }
            }
        }
        for times in &mut samples {
            times.sort_by(f64::total_cmp);
        }
        let quartile = |times: &Vec<f64>| times[times.len() / 4];
        let base = quartile(&samples[0]);
        let cells = samples.map(|times| {
            let (low, median) = (quartile(&times), times[times.len() / 2]);
            format!("{low:.0} · {median:.0} ({:.3})", low / base)
        });
        print_row(operation, &cells);
    }
}

fn print_header(title: &str) {
    println!("\n{title}\n\n| operation | by hand | SDK | `postgrest` |\n| --- | --- | --- | --- |");
}

fn print_row(operation: Operation, cells: &[String]) {
    println!("| {} | {} |", operation.title(), cells.join(" | "));
}
