//! SQL on a test's database, to prepare it and to look at it from outside the flows.

use serde_json::Value;
use sluice_runner::local::Server;
use tokio_postgres::{Client, NoTls};

/// Where SQL goes.
pub(crate) enum Database {
    /// The embedded server.
    Embedded(Box<Server>),
    /// A Postgres that the environment names, by its connection string.
    Outside(String),
}

impl Database {
    /// Runs statements.
    pub(crate) async fn run(&self, sql: &str) -> Result<(), String> {
        match self {
            Self::Embedded(server) => {
                let ran = server.sql(sql).await;
                ran.map(drop).map_err(|error| error.to_string())
            }
            Self::Outside(url) => {
                let client = connect(url).await?;
                let ran = client.batch_execute(sql).await;
                ran.map_err(|error| format!("{error:?}"))
            }
        }
    }

    /// The rows of a query, as JSON objects.
    pub(crate) async fn rows(&self, query: &str) -> Result<Vec<Value>, String> {
        let sql = format!("select coalesce(json_agg(t), '[]')::text as rows from ({query}) t");
        let text = match self {
            Self::Embedded(server) => {
                let rows = server.sql(sql).await.map_err(|error| error.to_string())?;
                let rows = rows.first().and_then(|row| row.get("rows")?.as_str());
                rows.unwrap_or("[]").to_owned()
            }
            Self::Outside(url) => {
                let client = connect(url).await?;
                let row = client.query_one(&sql, &[]).await;
                row.map_err(|error| format!("{error:?}"))?.get(0)
            }
        };
        serde_json::from_str(&text).map_err(|error| error.to_string())
    }
}

/// A connection that ends with its client.
async fn connect(url: &str) -> Result<Client, String> {
    let connected = tokio_postgres::connect(url, NoTls).await;
    let (client, connection) = connected.map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    Ok(client)
}
