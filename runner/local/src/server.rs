//! The running server: a child that ends with its parent.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader, Lines};
use tokio::process::{Child, ChildStdin, Command};

use super::{LocalError, install, node};

/// Starting takes seconds; past this something is wrong.
const START_TIMEOUT: Duration = Duration::from_secs(120);

/// Of what it complains about, this much is told.
const LINES_KEPT: usize = 8;

/// How to run it.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// Keep the database here; otherwise it lives in memory.
    pub data: Option<PathBuf>,
    /// Answer at most this many rows a request, as hosted Supabase does with 1000.
    pub max_rows: Option<u32>,
    /// Further settings of its API, by the names that Supabase's `config.toml` has for them:
    /// `schemas`, `aggregates_enabled`.
    pub api: Map<String, Value>,
    /// Serve this Postgres (`postgres://…`) instead of an embedded one.
    pub database_url: Option<SecretString>,
    /// Apply the migrations when it starts (the default of [`Server::start`] is to do so).
    pub skip_migrations: bool,
}

/// A running embedded Supabase. Dropping it stops it.
#[derive(Debug)]
pub struct Server {
    url: String,
    secret_key: SecretString,
    publishable_key: SecretString,
    child: Child,
    // The child leaves when this pipe closes, which the system does for us even after a SIGKILL.
    stdin: Option<ChildStdin>,
}

impl Server {
    /// Installs what is missing, starts the server with fresh keys, and waits until it serves.
    ///
    /// # Errors
    /// Each case of [`LocalError`], with what to do about it.
    pub async fn start(options: &Options) -> Result<Self, LocalError> {
        node::check().await?;
        let installed = install::ensure().await?;
        let secret_key = fresh_key("sb_secret_");
        let publishable_key = fresh_key("sb_publishable_");
        let mut command = Command::new("node");
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
        if !options.skip_migrations {
            command.env("SLUICE_LOCAL_MIGRATIONS", &installed.migrations);
        }
        if let Some(data) = &options.data {
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
        let mut child = command.spawn().map_err(start_error)?;
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

    /// The project's URL; PostgREST is at `/rest/v1` beneath it.
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

    /// Waits until the server ends by itself, which it should not.
    pub async fn ended(&mut self) {
        // An error here means that the child is gone as well.
        let _status = self.child.wait().await;
    }

    /// Stops it and waits until the database is closed.
    pub async fn stop(mut self) {
        drop(self.stdin.take());
        if tokio::time::timeout(Duration::from_secs(5), self.child.wait())
            .await
            .is_err()
        {
            let _already_gone = self.child.kill().await;
        }
    }
}

/// The one line that the server prints when it serves, or cannot.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
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

async fn ready(child: &mut Child, port: u16, program: &Path) -> Result<String, LocalError> {
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(start_error("no output"));
    };
    let mut lines = BufReader::new(stdout).lines();
    let complaints = tokio::spawn(drain(BufReader::new(stderr).lines()));
    let line = tokio::time::timeout(START_TIMEOUT, lines.next_line())
        .await
        .map_err(|_| start_error(format!("nothing heard for {} s", START_TIMEOUT.as_secs())))?
        .map_err(start_error)?;
    let Some(line) = line else {
        let mut said = complaints.await.unwrap_or_default();
        return Err(ended_early(said.make_contiguous(), program));
    };
    tokio::spawn(drain(lines));
    let line: Line = serde_json::from_str(&line)
        .map_err(|_| start_error(format!("it said `{line}` where its URL was expected")))?;
    match (line.url, line.error) {
        (Some(url), None) => Ok(url),
        (_, Some(error)) if error.kind == "port_taken" => Err(LocalError::PortTaken { port }),
        (_, Some(error)) if error.kind == "migration" => Err(LocalError::Migration {
            file: error.file.unwrap_or_default(),
            message: error.message,
        }),
        (_, Some(error)) => Err(start_error(error.message)),
        (None, None) => Err(start_error("it named no URL")),
    }
}

/// Keeps a pipe empty, so that a chatty library never blocks the server, and gives the last lines of it.
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

/// A program that says nothing and ends lacks a part of itself, most of the time: caches get cleaned.
fn ended_early(said: &[String], program: &Path) -> LocalError {
    let folder = program.parent().unwrap_or(program).display();
    start_error(format!(
        "it ended before it was ready; delete {folder} to have it installed anew\n{}",
        said.join("\n")
    ))
}

fn fresh_key(prefix: &str) -> SecretString {
    let id = uuid::Uuid::new_v4().simple();
    SecretString::from(format!("{prefix}{id}"))
}

fn start_error(message: impl std::fmt::Display) -> LocalError {
    LocalError::Start {
        message: message.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_that_ends_early_is_quoted_with_the_way_out() {
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
