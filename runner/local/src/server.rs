//! The running server: a child that ends with its parent.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader, Lines};
use tokio::process::{Child, ChildStdin};
use tokio::time::timeout;

use super::{LocalError, child, install, node};

/// A start takes seconds. After this long, something is wrong.
const START_TIMEOUT: Duration = Duration::from_secs(120);
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// An error quotes this many lines of the server's stderr.
const LINES_KEPT: usize = 8;

/// How to run the server. The default is an empty database in memory, on a free port.
#[derive(Debug, Clone, Default)]
pub struct LocalOptions {
    /// The port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// Keeps the database in this folder, not in memory.
    pub data: Option<PathBuf>,
    /// Returns at most this many rows a request, as hosted Supabase does with 1000.
    pub max_rows: Option<u32>,
    /// Further API settings, by their names in Supabase's `config.toml`: `schemas`,
    /// `aggregates_enabled`.
    pub api: Map<String, Value>,
    /// Serves this Postgres (`postgres://…`) instead of an embedded one.
    pub database_url: Option<SecretString>,
    /// The migrations to apply at the start: (file name, SQL), in this order.
    pub migrations: &'static [(&'static str, &'static str)],
}

/// A running embedded Supabase. Dropping it stops it.
#[derive(Debug)]
pub struct Server {
    url: String,
    secret_key: SecretString,
    publishable_key: SecretString,
    child: Child,
    // The child ends when this pipe closes. The system closes it even after a SIGKILL.
    stdin: Option<ChildStdin>,
}

impl Server {
    /// Installs what is missing, starts the server with fresh keys, and waits until it serves.
    ///
    /// # Errors
    /// Each case of [`LocalError`], with what to do about it.
    pub async fn start(options: &LocalOptions) -> Result<Self, LocalError> {
        node::check().await?;
        let installed = install::ensure(options.migrations).await?;
        let secret_key = fresh_key("sb_secret_");
        let publishable_key = fresh_key("sb_publishable_");
        let mut command = child::command("node");
        command
            .arg(&installed.server)
            .env("DO_NOT_TRACK", "1")
            .env("SLUICE_LOCAL_PORT", options.port.to_string())
            .env("SLUICE_LOCAL_SECRET_KEY", secret_key.expose_secret())
            .env(
                "SLUICE_LOCAL_PUBLISHABLE_KEY",
                publishable_key.expose_secret(),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if let Some(migrations) = &installed.migrations {
            command.env("SLUICE_LOCAL_MIGRATIONS", migrations);
        }
        if let Some(data) = &options.data {
            install::create_private(data)?;
            command.env("SLUICE_LOCAL_DATA_DIR", data);
        }
        if let Some(rows) = options.max_rows {
            command.env("SLUICE_LOCAL_MAX_ROWS", rows.to_string());
        }
        if !options.api.is_empty() {
            let api = Value::Object(options.api.clone());
            command.env("SLUICE_LOCAL_API", api.to_string());
        }
        if let Some(url) = &options.database_url {
            command.env("SLUICE_LOCAL_DATABASE_URL", url.expose_secret());
        }
        let mut child = command.spawn().map_err(LocalError::start)?;
        let stdin = child.stdin.take();
        let url = ready(&mut child, options.port, &installed.server).await?;
        Ok(Self {
            url,
            secret_key,
            publishable_key,
            child,
            stdin,
        })
    }

    /// The project's URL. PostgREST is at `/rest/v1` below it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The key that acts as `service_role`.
    pub fn secret_key(&self) -> &SecretString {
        &self.secret_key
    }

    /// The key that acts as `anon`.
    pub fn publishable_key(&self) -> &SecretString {
        &self.publishable_key
    }

    /// Runs SQL statements as the database's owner, and returns the rows of the last statement.
    ///
    /// # Errors
    /// [`LocalError::Sql`], with the server's message.
    pub async fn sql(&self, statements: impl Into<String>) -> Result<Vec<Value>, LocalError> {
        let client = reqwest::Client::builder().build();
        let response = client
            .map_err(LocalError::sql)?
            .post(format!("{}/sql", self.url))
            .header("apikey", self.secret_key.expose_secret())
            .body(statements.into())
            .send()
            .await
            .map_err(LocalError::sql)?;
        let succeeded = response.status().is_success();
        let text = response.text().await.map_err(LocalError::sql)?;
        if succeeded {
            serde_json::from_str(&text).map_err(LocalError::sql)
        } else {
            Err(LocalError::sql(text))
        }
    }

    /// Waits until the server ends without having been stopped, which it should not.
    pub async fn ended(&mut self) {
        // An error here means that the child is gone as well.
        let _status = self.child.wait().await;
    }

    /// Stops the server and waits until the database is closed.
    pub async fn stop(mut self) {
        drop(self.stdin.take());
        if timeout(STOP_TIMEOUT, self.child.wait()).await.is_err() {
            let _already_gone = self.child.kill().await;
        }
    }
}

/// The one line that the server prints when it serves, or when it cannot.
#[derive(Deserialize)]
struct Line {
    url: Option<String>,
    error: Option<LineError>,
}

#[derive(Deserialize)]
struct LineError {
    kind: String,
    message: String,
    file: Option<String>,
}

/// Waits for that line, and returns the URL in it.
async fn ready(child: &mut Child, port: u16, program: &Path) -> Result<String, LocalError> {
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(LocalError::start("it has no output"));
    };
    let mut lines = BufReader::new(stdout).lines();
    let complaints = tokio::spawn(drain(BufReader::new(stderr).lines()));
    let silent = |_| LocalError::start(format!("no output for {} s", START_TIMEOUT.as_secs()));
    let line = timeout(START_TIMEOUT, lines.next_line())
        .await
        .map_err(silent)?
        .map_err(LocalError::start)?;
    let Some(line) = line else {
        let complaints = complaints.await.unwrap_or_default();
        return Err(ended_early(complaints, program));
    };
    tokio::spawn(drain(lines));
    let line: Line = serde_json::from_str(&line)
        .map_err(|_| LocalError::start(format!("expected its URL, got `{line}`")))?;
    match (line.url, line.error) {
        (Some(url), None) => Ok(url),
        (_, Some(error)) => Err(match error.kind.as_str() {
            "port_taken" => LocalError::PortTaken { port },
            "migration" => LocalError::Migration {
                file: error.file.unwrap_or_default(),
                message: error.message,
            },
            _ => LocalError::start(error.message),
        }),
        (None, None) => Err(LocalError::start("it printed no URL")),
    }
}

/// Reads a pipe to its end, so that log output never blocks the server. Returns the last lines.
async fn drain<R: AsyncRead + Unpin>(mut lines: Lines<BufReader<R>>) -> VecDeque<String> {
    let mut last = VecDeque::new();
    while let Ok(Some(line)) = lines.next_line().await {
        tracing::debug!(line, "embedded Supabase");
        if last.len() == LINES_KEPT {
            last.pop_front();
        }
        last.push_back(line);
    }
    last
}

/// Most often the server ends early because a cache cleaner has deleted some of its files.
fn ended_early(complaints: VecDeque<String>, program: &Path) -> LocalError {
    let folder = program.parent().unwrap_or(program).display();
    let complaints = Vec::from(complaints).join("\n");
    LocalError::start(format!(
        "it ended before it was ready; delete {folder} to install it again\n{complaints}"
    ))
}

fn fresh_key(prefix: &str) -> SecretString {
    let id = uuid::Uuid::new_v4().simple();
    SecretString::from(format!("{prefix}{id}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::process::Command;

    #[tokio::test]
    async fn error_of_an_early_end_quotes_the_server_and_says_what_to_delete() {
        let mut child = Command::new("node")
            .args([
                "-e",
                "for (let i = 0; i < 20; i++) console.error('line ' + i)",
            ])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let program = Path::new("/cache/server-1/server.mjs");
        let said = ready(&mut child, 0, program).await.unwrap_err().to_string();
        assert!(said.contains("delete /cache/server-1"), "{said}");
        assert!(said.ends_with("line 18\nline 19"), "{said}");
        assert!(!said.contains("line 11"), "{said}");
    }
}
