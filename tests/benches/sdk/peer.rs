//! The same operations by each client, as its documentation says.

use postgrest::Postgrest;
use rp_postgrest::Postgrest as RpPostgrest;
use rust_supabase_sdk::SupabaseClient;
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sluice_sdk::{Client, Function, Table};

use super::{Asked, Operation, ROWS};

/// The client.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Peer {
    ByHand,
    Sdk,
    RpPostgrest,
    RustSupabaseSdk,
    Postgrest,
}

pub(crate) const PEERS: [Peer; 5] = [
    Peer::ByHand,
    Peer::Sdk,
    Peer::RpPostgrest,
    Peer::RustSupabaseSdk,
    Peer::Postgrest,
];

impl Peer {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ByHand => "by hand",
            Self::Sdk => "SDK",
            Self::RpPostgrest => "`rp-postgrest`",
            Self::RustSupabaseSdk => "`rust_supabase_sdk`",
            Self::Postgrest => "`postgrest`",
        }
    }

    /// Whether it can do this. `postgrest` always requests the written rows.
    pub(crate) fn can(self, operation: Operation) -> bool {
        let counts = [
            Operation::Insert(Asked::Count),
            Operation::Upsert(Asked::Count),
        ];
        self != Self::Postgrest || !counts.contains(&operation)
    }
}

#[derive(Clone, Debug, Serialize, Deserialize, Table)]
#[table(name = "readings")]
pub(crate) struct Reading {
    #[table(primary_key)]
    id: i64,
    code: String,
    sensor: i32,
    level: Option<f64>,
    note: String,
}

#[derive(Serialize, Function)]
#[function(name = "add", returns = Vec<i64>, read_only)]
struct Add {
    a: i64,
    b: i64,
}

const SUM: Add = Add { a: 1, b: 2 };

pub(crate) fn reading(id: i64) -> Reading {
    Reading {
        id,
        code: format!("code, ({id})"),
        sensor: i32::try_from(id % 7).unwrap(),
        level: (id % 5 != 0).then(|| id as f64 / 8.0),
        note: "a note on what was measured, and where, ".repeat(4),
    }
}

/// The clients of one server, each with its own connection.
pub(crate) struct Clients {
    url: String,
    key: SecretString,
    by_hand: reqwest::Client,
    sdk: Client,
    rp_postgrest: RpPostgrest,
    rust_supabase_sdk: SupabaseClient,
    postgrest: Postgrest,
    codes: Vec<String>,
    rows: Vec<Reading>,
}

const COLUMNS: &str = "id,code,sensor,level,note";

impl Clients {
    /// The clients of the project at this address.
    pub(crate) fn new(project: &str, key: &SecretString) -> Self {
        let url = format!("{project}/rest/v1");
        let secret = key.expose_secret();
        let sdk = Client::builder().postgrest_url(&url).key(key.clone());
        let rp_postgrest = RpPostgrest::new(&url).unwrap();
        Self {
            key: key.clone(),
            by_hand: reqwest::Client::builder()
                .tcp_nodelay(true)
                .build()
                .unwrap(),
            // One request of 1,000 rows, as the others send it.
            sdk: sdk.chunk_rows(1_000).build().unwrap(),
            rp_postgrest: rp_postgrest.insert_header("apikey", secret).unwrap(),
            rust_supabase_sdk: SupabaseClient::new(project, secret, None),
            postgrest: Postgrest::new(&url).insert_header("apikey", secret),
            codes: (1..=50).map(|at| reading(at * 7).code).collect(),
            rows: (1..=ROWS).map(reading).collect(),
            url,
        }
    }

    pub(crate) async fn run(&self, operation: Operation, peer: Peer) {
        match peer {
            Peer::ByHand => self.by_hand(operation).await,
            Peer::Sdk => self.sdk(operation).await,
            Peer::RpPostgrest => self.rp_postgrest(operation).await,
            Peer::RustSupabaseSdk => self.rust_supabase_sdk(operation).await,
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
            Operation::Insert(asked) => {
                let insert = self.sdk.table("entries").insert(&self.rows);
                if asked == Asked::Rows {
                    let written = insert.returning_rows::<Reading>().await.unwrap();
                    assert_eq!(written.rows.len(), 1_000);
                } else {
                    assert_eq!(insert.await.unwrap().affected, 1_000);
                }
            }
            Operation::Upsert(asked) => {
                let upsert = table().upsert(&self.rows).on_conflict(Reading::ID);
                if asked == Asked::Rows {
                    let written = upsert.returning_rows::<Reading>().await.unwrap();
                    assert_eq!(written.rows.len(), 1_000);
                } else {
                    assert_eq!(upsert.await.unwrap().affected, 1_000);
                }
            }
            Operation::Call => assert_eq!(self.sdk.rpc(SUM).await.unwrap(), [3]),
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
                let rows: Vec<Reading> = parsed(self.get("readings", &query)).await;
                assert_eq!(rows.len(), 50);
            }
            Operation::Read => {
                let query = [("select", COLUMNS), ("limit", "1000")];
                let rows: Vec<Reading> = parsed(self.get("readings", &query)).await;
                assert_eq!(rows.len(), 1_000);
            }
            Operation::Insert(asked) => {
                let query = [("columns", COLUMNS)];
                self.write("entries", &query, "count=exact", asked).await;
            }
            Operation::Upsert(asked) => {
                let query = [("columns", COLUMNS), ("on_conflict", "id")];
                let prefer = "resolution=merge-duplicates,count=exact";
                self.write("readings", &query, prefer, asked).await;
            }
            Operation::Call => {
                let body = serde_json::to_vec(&SUM).unwrap();
                let sums: Vec<i64> = parsed(self.post("rpc/add", &[], body)).await;
                assert_eq!(sums, [3]);
            }
        }
    }

    fn get(&self, path: &str, query: &[(&str, &str)]) -> reqwest::RequestBuilder {
        let url = format!("{}/{path}", self.url);
        let url = reqwest::Url::parse_with_params(&url, query).unwrap();
        self.by_hand
            .get(url)
            .header("apikey", self.key.expose_secret())
            .header("accept", "application/json")
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

    /// Writes the rows and looks at their number, or at the rows.
    async fn write(&self, path: &str, query: &[(&str, &str)], prefer: &str, asked: Asked) {
        let body = serde_json::to_vec(&self.rows).unwrap();
        let request = self.post(path, query, body);
        if asked == Asked::Rows {
            let request = request.header("prefer", format!("return=representation,{prefer}"));
            let rows: Vec<Reading> = parsed(request).await;
            assert_eq!(rows.len(), 1_000);
            return;
        }
        let request = request.header("prefer", format!("return=minimal,{prefer}"));
        let answer = request.send().await.unwrap().error_for_status().unwrap();
        let range = answer.headers()["content-range"].to_str().unwrap();
        assert_eq!(range.rsplit('/').next(), Some("1000"));
    }

    /// Empties the table without a key, so that it does not grow.
    pub(crate) async fn empty_entries(&self) {
        let request = self.post("rpc/empty_entries", &[], b"{}".to_vec());
        request.send().await.unwrap().error_for_status().unwrap();
    }

    async fn rp_postgrest(&self, operation: Operation) {
        use rp_postgrest::Count;

        let from = |table| self.rp_postgrest.from(table);
        match operation {
            Operation::In => {
                let read = from("readings")
                    .select(COLUMNS)
                    .in_values("code", &self.codes);
                let rows: Vec<Reading> = read.fetch().await.unwrap();
                assert_eq!(rows.len(), 50);
            }
            Operation::Read => {
                let read = from("readings").select(COLUMNS).limit(1_000);
                let rows: Vec<Reading> = read.fetch().await.unwrap();
                assert_eq!(rows.len(), 1_000);
            }
            Operation::Insert(asked) | Operation::Upsert(asked) => {
                let write = if operation == Operation::Insert(asked) {
                    from("entries").insert_json(&self.rows)
                } else {
                    from("readings").upsert_json(&self.rows).on_conflict("id")
                };
                // It requests the written rows by default.
                if asked == Asked::Count {
                    assert_eq!(write.execute_count(Count::Exact).await.unwrap(), 1_000);
                } else {
                    let rows: Vec<Reading> = write.fetch().await.unwrap();
                    assert_eq!(rows.len(), 1_000);
                }
            }
            Operation::Call => {
                let call = self.rp_postgrest.rpc_json("add", &SUM);
                assert_eq!(call.fetch::<Vec<i64>>().await.unwrap(), [3]);
            }
        }
    }

    async fn rust_supabase_sdk(&self, operation: Operation) {
        use rust_supabase_sdk::postgrest::CountMode;

        let from = |table| self.rust_supabase_sdk.from(table);
        match operation {
            Operation::In => {
                let read = from("readings").select(COLUMNS).is_in("code", &self.codes);
                assert_eq!(read.returns::<Reading>().await.unwrap().len(), 50);
            }
            Operation::Read => {
                let read = from("readings").select(COLUMNS).limit(1_000);
                assert_eq!(read.returns::<Reading>().await.unwrap().len(), 1_000);
            }
            Operation::Insert(asked) | Operation::Upsert(asked) => {
                let write = if operation == Operation::Insert(asked) {
                    from("entries").insert(&self.rows)
                } else {
                    from("readings").upsert(&self.rows).on_conflict("id")
                };
                match asked {
                    // It requests nothing by default.
                    Asked::Default => assert!(write.await.unwrap().is_empty()),
                    Asked::Count => {
                        let write = write.count(CountMode::Exact);
                        let (_, count) = write.execute_with_count().await.unwrap();
                        assert_eq!(count, Some(1_000));
                    }
                    Asked::Rows => {
                        let write = write.select_returning("*").returns::<Reading>();
                        assert_eq!(write.await.unwrap().len(), 1_000);
                    }
                }
            }
            Operation::Call => {
                let arguments = serde_json::to_value(&SUM).unwrap();
                let sums = self.rust_supabase_sdk.rpc_call("add", arguments);
                assert_eq!(sums.await.unwrap(), [json!(3)]);
            }
        }
    }

    async fn postgrest(&self, operation: Operation) {
        let from = |table| self.postgrest.from(table);
        let rows = || serde_json::to_string(&self.rows).unwrap();
        let builder = match operation {
            Operation::In => {
                // It does not quote: its caller must.
                let quoted = self.codes.iter().map(|code| format!("\"{code}\""));
                from("readings").select(COLUMNS).in_("code", quoted)
            }
            Operation::Read => from("readings").select(COLUMNS).limit(1_000),
            Operation::Insert(_) => from("entries").insert(rows()),
            Operation::Upsert(_) => from("readings").upsert(rows()).on_conflict("id"),
            Operation::Call => {
                let body = serde_json::to_string(&SUM).unwrap();
                self.postgrest.rpc("add", body)
            }
        };
        let answer = builder.execute().await.unwrap().error_for_status().unwrap();
        let body = answer.bytes().await.unwrap();
        match operation {
            // It always requests the written rows. By default it leaves them to the caller as text.
            Operation::Insert(Asked::Default) | Operation::Upsert(Asked::Default) => {
                assert!(!body.is_empty());
            }
            Operation::In | Operation::Read | Operation::Insert(_) | Operation::Upsert(_) => {
                let rows: Vec<Reading> = serde_json::from_slice(&body).unwrap();
                assert!(rows.len() >= 50);
            }
            Operation::Call => {
                let sums: Vec<i64> = serde_json::from_slice(&body).unwrap();
                assert_eq!(sums, [3]);
            }
        }
    }
}

async fn parsed<V: DeserializeOwned>(request: reqwest::RequestBuilder) -> V {
    let answer = request.send().await.unwrap().error_for_status().unwrap();
    serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
}
