//! Queries of the crate `postgrest`, run through the SDK.

use postgrest::Postgrest;
use serde::Deserialize;
use serde_json::{Value, json};
use sluice_sdk::testing::{Fake, FakeResponse};
use sluice_sdk::{Client, Page, SecretString, col, query::RetryPolicy};

use crate::capped;

#[derive(Debug, PartialEq, Deserialize)]
struct Tool {
    id: i64,
    name: String,
}

/// Someone else's server, where nobody listens.
fn old() -> Postgrest {
    Postgrest::new("http://127.0.0.1:9/rest/v1").insert_header("apikey", "old-key")
}

fn client(fake: &Fake) -> Client {
    Client::builder()
        .postgrest_url("http://new")
        .key(SecretString::from("sb_secret_new"))
        .retry(RetryPolicy::default().base(std::time::Duration::ZERO))
        .transport(fake.clone())
        .build()
        .unwrap()
}

#[tokio::test]
async fn taken_over_queries_return_rows_counts_and_errors() {
    let client = capped::client(
        "create table tools (id bigint primary key, name text not null unique);
         insert into tools values (1, 'saw'), (2, 'file, flat'), (3, 'plane')",
    )
    .await;
    let saw: Vec<Tool> = client
        .run(old().from("tools").eq("name", "saw"))
        .await
        .unwrap();
    let name = "saw".to_owned();
    assert_eq!(saw, [Tool { id: 1, name }]);

    let counted = old().from("tools").select("id").order("id").exact_count();
    let page: Page<Value> = client.run(counted).page().await.unwrap();
    assert_eq!((page.rows, page.total), (vec![json!({"id": 1})], Some(3)));

    let one: Tool = client
        .run(old().from("tools").eq("id", "3").single())
        .await
        .unwrap();
    assert_eq!(one.name, "plane");

    let double = old().from("tools").insert(r#"{"id":9,"name":"saw"}"#);
    let error = client.run::<Vec<Tool>>(double).await.unwrap_err();
    assert!(error.is_unique_violation("tools_name_key"), "{error}");
    assert!(!format!("{error} {error:?}").contains("old-key"));

    // The comma splits an unquoted value, so the row is not found.
    let lost: Vec<Tool> = client
        .run(old().from("tools").in_("name", ["file, flat"]))
        .await
        .unwrap();
    let found = client
        .table("tools")
        .filter(col("name").in_(["file, flat"]))
        .await
        .unwrap();
    assert_eq!((lost.len(), found.len()), (0, 1));
}

#[tokio::test]
async fn a_read_is_retried_and_a_write_only_if_declared_idempotent() {
    let fake = Fake::new(|_| FakeResponse::interrupted());
    let client = client(&fake);
    let sent = || fake.requests().len();
    let read = client.run::<Value>(old().from("t").select("a"));
    assert_eq!(read.await.unwrap_err().retries(), 4);
    assert_eq!(sent(), 5);
    let write = || client.run::<Value>(old().from("t").upsert("[]"));
    assert_eq!(write().await.unwrap_err().retries(), 0);
    assert_eq!(sent(), 6);
    assert_eq!(write().idempotent().await.unwrap_err().retries(), 4);
    assert_eq!(sent(), 11);
}

#[tokio::test]
async fn an_error_names_the_call_without_its_values() {
    let fake = Fake::new(|_| FakeResponse::error(404, "PGRST205", "no such table"));
    let query = old().from("t").select("a").eq("b", "hunter2");
    let error = client(&fake).run::<Value>(query).await.unwrap_err();
    let told = "GET /t?select=a&b=eq.…: PGRST205: no such table";
    assert_eq!(error.to_string(), told);
}
