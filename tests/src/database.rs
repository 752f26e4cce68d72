//! SQL against the stack's database, to prepare it and to look at it from outside the flows.

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio_postgres::NoTls;

/// Where SQL goes.
#[derive(Debug, Clone)]
pub(crate) enum Sql {
    /// To the embedded server's own endpoint.
    Embedded {
        /// The server.
        url: String,
        /// Its secret key.
        key: SecretString,
    },
    /// To a Postgres from outside.
    Outside {
        /// Its connection string.
        url: String,
    },
}

impl Sql {
    /// Runs statements.
    pub(crate) async fn run(&self, sql: &str) -> Result<(), String> {
        match self {
            Self::Embedded { url, key } => embedded(url, key, sql).await.map(drop),
            Self::Outside { url } => {
                let (client, connection) = tokio_postgres::connect(url, NoTls)
                    .await
                    .map_err(|error| error.to_string())?;
                let connection = tokio::spawn(connection);
                let result = client
                    .batch_execute(sql)
                    .await
                    .map_err(|error| format!("{error:?}"));
                drop(client);
                connection.abort();
                result
            }
        }
    }

    /// The rows of a query, as JSON objects.
    pub(crate) async fn rows(&self, query: &str) -> Result<Vec<Value>, String> {
        let sql = format!("select coalesce(json_agg(t), '[]')::text as rows from ({query}) t");
        let text = match self {
            Self::Embedded { url, key } => {
                let answer = embedded(url, key, &sql).await?;
                answer
                    .pointer("/0/rows")
                    .and_then(Value::as_str)
                    .unwrap_or("[]")
                    .to_owned()
            }
            Self::Outside { url } => {
                let (client, connection) = tokio_postgres::connect(url, NoTls)
                    .await
                    .map_err(|error| error.to_string())?;
                let connection = tokio::spawn(connection);
                let row = client
                    .query_one(&sql, &[])
                    .await
                    .map_err(|error| format!("{error:?}"))?;
                connection.abort();
                row.get(0)
            }
        };
        serde_json::from_str(&text).map_err(|error| error.to_string())
    }
}

async fn embedded(url: &str, key: &SecretString, sql: &str) -> Result<Value, String> {
    let request = reqwest::Client::builder()
        .build()
        .map_err(|error| error.to_string())?;
    let answer = request
        .post(format!("{url}/sql"))
        .header("apikey", key.expose_secret())
        .body(sql.to_owned())
        .send()
        .await
        .map_err(|error| error.to_string())?;
    let failed = !answer.status().is_success();
    let text = answer.text().await.map_err(|error| error.to_string())?;
    if failed {
        Err(text)
    } else {
        serde_json::from_str(&text).map_err(|error| error.to_string())
    }
}
