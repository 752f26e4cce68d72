//! What the SDK costs, compared with the same requests by hand (with reqwest and serde) and with
//! the crates `rp-postgrest`, `rust_supabase_sdk` and `postgrest`. Run `cargo bench -p sluice-tests --bench sdk --
//! instructions|canned|embedded|native|outside` (without a name, all run). docs/benchmarks.md has the figures
//! from one machine.
//!
//! - `instructions`: counted by valgrind, which must be installed, in a process that only sends.
//! - `canned`: wall time against a server in another process that returns fixed bytes.
//! - `embedded`: wall time against the embedded Supabase.
//! - `native`: the same with a Postgres of its own behind it, if `SLUICE_TEST_NATIVE=1` is set.
//! - `outside`: the same against the server that `SLUICE_TEST_POSTGREST_URL`, `SLUICE_TEST_DATABASE_URL` and
//!   `SLUICE_TEST_SERVICE_KEY` name. It replaces four objects there. The address ends with `/rest/v1`, because one of the
//!   crates knows no other.
//!
//! Each prints its table in the format of that page.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has failed")]
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(
    clippy::indexing_slicing,
    reason = "a benchmark that cannot run has failed"
)]

mod peer;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use axum::Router;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use sluice_runner::local::{LocalOptions, Server};
use sluice_tests::{Native, Outside, native_wanted};

use peer::{Clients, PEERS, Peer, Reading, reading};

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
                .find(|it| it.title() == operation)
                .unwrap();
            let peer = PEERS.into_iter().find(|it| it.name() == peer).unwrap();
            send(url, operation, peer, times.parse().unwrap()).await;
        }
        [] => {
            instructions();
            canned().await;
            embedded().await;
            native().await;
            outside().await;
        }
        ["instructions"] => instructions(),
        ["canned"] => canned().await,
        ["embedded"] => embedded().await,
        ["native"] => native().await,
        ["outside"] => outside().await,
        _ => panic!("name instructions, canned, embedded, native or outside"),
    }
}

/// The operation.
#[derive(Clone, Copy, PartialEq)]
enum Operation {
    /// The rows of 50 codes, which need quotes.
    In,
    /// 1,000 rows.
    Read,
    /// An insert of 1,000 rows in one request.
    Insert(Asked),
    /// An upsert of 1,000 rows in one request.
    Upsert(Asked),
    /// A call of a function of two numbers.
    Call,
}

/// What a write asks for in return.
#[derive(Clone, Copy, PartialEq)]
enum Asked {
    /// What the client asks for if nothing is said.
    Default,
    /// The number of written rows, and not the rows.
    Count,
    /// The written rows, read into a type.
    Rows,
}

const OPERATIONS: [Operation; 9] = [
    Operation::In,
    Operation::Read,
    Operation::Call,
    Operation::Insert(Asked::Default),
    Operation::Upsert(Asked::Default),
    Operation::Insert(Asked::Count),
    Operation::Upsert(Asked::Count),
    Operation::Insert(Asked::Rows),
    Operation::Upsert(Asked::Rows),
];

impl Operation {
    fn title(self) -> String {
        let (verb, asked) = match self {
            Self::In => return "`in` of 50 quoted texts".to_owned(),
            Self::Read => return "read of 1,000 rows".to_owned(),
            Self::Call => return "call of a function, one row".to_owned(),
            Self::Insert(asked) => ("insert", asked),
            Self::Upsert(asked) => ("upsert", asked),
        };
        let asked = match asked {
            Asked::Default => "default",
            Asked::Count => "count",
            Asked::Rows => "rows",
        };
        format!("{verb} of 1,000 rows, {asked}")
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
            peer.can(operation).then(|| {
                let spent = server.instructions(operation, peer, FEW + MORE)
                    - server.instructions(operation, peer, FEW);
                spent as f64 / MORE as f64 / 1e3
            })
        });
        let base = counts[0].unwrap();
        let cell = |count| format!("{count:.1} ({:.3})", count / base);
        print_row(operation, &counts.map(|count| count.map(cell)));
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
                &operation.title(),
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
        let answer: Response = if uri.path().contains("/rpc/") {
            json(StatusCode::OK, "[3]".to_owned())
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
    race(&Clients::new(&server.url, &"key".into()), 101, 10).await;
}

const TABLES: &str = "
    create table readings (
        id bigint primary key, code text not null unique, sensor int not null, level float8, note text
    );
    create table entries (id bigint, code text not null, sensor int not null, level float8, note text);
    create function empty_entries() returns void language sql as 'truncate entries';
    create function add(a bigint, b bigint) returns setof bigint language sql as 'select a + b';";

async fn embedded() {
    let server = Server::start(&LocalOptions::default()).await.unwrap();
    server.sql(TABLES).await.unwrap();
    race_at(&server, "Wall time, embedded").await;
}

async fn native() {
    if !native_wanted() {
        println!("\nnative: set SLUICE_TEST_NATIVE=1, and a Postgres is found or downloaded");
        return;
    }
    let database = Native::project(TABLES).await;
    let options = LocalOptions {
        database_url: Some(database.url().into()),
        ..LocalOptions::default()
    };
    let server = Server::start(&options).await.unwrap();
    race_at(&server, "Wall time, native").await;
}

async fn outside() {
    let Some(outside) = Outside::named() else {
        println!("\noutside: set SLUICE_TEST_POSTGREST_URL and what belongs to it");
        return;
    };
    let again =
        "drop table if exists readings, entries; drop function if exists empty_entries, add";
    outside.prepare(&format!("{again}; {TABLES}")).await;
    let clients = Clients::new(outside.project_url(), &outside.key);
    race_of(&clients, "Wall time, outside").await;
}

async fn race_at(server: &Server, title: &str) {
    race_of(&Clients::new(server.url(), server.secret_key()), title).await;
}

async fn race_of(clients: &Clients, title: &str) {
    let fill = Operation::Upsert(Asked::Default);
    clients.run(fill, Peer::Sdk).await;
    print_header(title);
    race(clients, 21, 2).await;
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
                if !PEERS[at].can(operation) {
                    continue;
                }
                if matches!(operation, Operation::Insert(_)) {
                    clients.empty_entries().await;
                }
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
        let cell = |times: &Vec<f64>| {
            let (low, median) = (quartile(times), times[times.len() / 2]);
            format!("{low:.0} · {median:.0} ({:.3})", low / base)
        };
        let cells = samples.map(|times| (!times.is_empty()).then(|| cell(&times)));
        print_row(operation, &cells);
    }
}

fn print_header(title: &str) {
    let names = PEERS.map(Peer::name).join(" | ");
    let lines = ["---"; PEERS.len()].join(" | ");
    println!("\n{title}\n\n| operation | {names} |\n| --- | {lines} |");
}

fn print_row(operation: Operation, cells: &[Option<String>]) {
    let cell = |cell: &Option<String>| cell.clone().unwrap_or_else(|| "–".to_owned());
    let cells: Vec<String> = cells.iter().map(cell).collect();
    println!("| {} | {} |", operation.title(), cells.join(" | "));
}
