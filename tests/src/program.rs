//! The program itself, run as a process: what cron sees.

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use secrecy::ExposeSecret;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

use crate::Stack;

/// How to run `sluice`: with these variables in its environment, and none of the developer's.
pub struct Program {
    environment: Vec<(String, String)>,
    folder: tempfile::TempDir,
}

/// How a run ended.
#[derive(Debug)]
pub struct Run {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it printed on stdout, for programs.
    pub stdout: String,
    /// What it printed on stderr, for people.
    pub stderr: String,
}

impl Program {
    /// On a stack, with a provider at this address.
    pub fn on(stack: &Stack, openai_url: &str) -> Self {
        let environment = vec![
            ("POSTGREST_URL".to_owned(), stack.postgrest_url().to_owned()),
            (
                "SUPABASE_SERVICE_KEY".to_owned(),
                stack.key().expose_secret().to_owned(),
            ),
            ("OPENAI_BASE_URL".to_owned(), openai_url.to_owned()),
            ("OPENAI_API_KEY".to_owned(), "test-key".to_owned()),
        ];
        Self {
            environment,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// With nothing configured.
    pub fn bare() -> Self {
        Self {
            environment: Vec::new(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// With one more variable.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With this text as sluice.toml in the folder that it runs in.
    #[must_use]
    pub fn configured(self, toml: &str) -> Self {
        self.configure(toml);
        self
    }

    /// Writes (or overwrites) that sluice.toml.
    pub fn configure(&self, toml: &str) {
        std::fs::write(self.folder.path().join("sluice.toml"), toml).unwrap();
    }

    /// Writes a file into the folder that it runs in, and returns its path.
    pub fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, contents).unwrap();
        path
    }

    /// Runs it until it ends.
    pub async fn run(&self, arguments: &[&str]) -> Run {
        self.command(arguments)
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap()
            .into()
    }

    /// Runs it until it ends, with stdout there instead of in the result.
    pub async fn run_into(&self, arguments: &[&str], stdout: impl Into<Stdio>) -> Run {
        let mut command = self.command(arguments);
        let child = command.stdin(Stdio::null()).stdout(stdout).spawn();
        // The writing end of a pipe must not stay open here.
        drop(command);
        child.unwrap().wait_with_output().await.unwrap().into()
    }

    /// Runs it until it ends, which must be with exit code 0.
    pub async fn complete(&self, arguments: &[&str]) -> Run {
        let run = self.run(arguments).await;
        let Run { stdout, stderr, .. } = &run;
        assert_eq!(run.code, Some(0), "{arguments:?}: {stdout}{stderr}");
        run
    }

    /// The JSON that a run prints, which must end with exit code 0.
    pub async fn json(&self, arguments: &[&str]) -> Value {
        let arguments = [arguments, &["--output", "json"]].concat();
        self.complete(&arguments).await.json()
    }

    /// Runs it until it ends, with this input.
    pub async fn run_with_input(&self, arguments: &[&str], input: &[u8]) -> Run {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input).await.unwrap();
        drop(stdin);
        child.wait_with_output().await.unwrap().into()
    }

    /// Starts it. Dropping the result kills it.
    pub fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments)
            .stdin(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Starts it with an input that stays open. Dropping the result kills it.
    pub fn spawn_with_input(&self, arguments: &[&str]) -> Child {
        self.command(arguments)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Waits until a started run ends, which must be within this time.
    pub async fn end(&self, child: Child, within: Duration) -> Run {
        let ended = tokio::time::timeout(within, child.wait_with_output()).await;
        let ended = ended.unwrap_or_else(|_| panic!("it is still running after {within:?}"));
        ended.unwrap().into()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(built("sluice"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .envs(
                ["PATH", "HOME"]
                    .into_iter()
                    .filter_map(|name| Some((name, std::env::var(name).ok()?))),
            )
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }
}

impl Run {
    /// The one JSON object on stdout.
    pub fn json(&self) -> Value {
        let read = serde_json::from_str(&self.stdout);
        read.unwrap_or_else(|error| panic!("{error}: {}\n{}", self.stdout, self.stderr))
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Sends a signal (`TERM`, `INT`, `KILL`) to a process with the shell's `kill`, which every Unix has.
pub fn signal(process: Option<u32>, name: &str) {
    let id = process.expect("the process has ended before its signal");
    let kill = format!("kill -{name} {id}");
    let sent = std::process::Command::new("sh")
        .args(["-c", &kill])
        .status();
    assert!(sent.unwrap().success(), "no signal was sent");
}

/// Runs an example of the SDK as a process, with these arguments and this input.
pub async fn script(name: &str, arguments: &[&str], input: &str) -> Run {
    let mut command = Command::new(built(&format!("examples/{name}")));
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    child.wait_with_output().await.unwrap().into()
}

/// What cargo has built in the folder of the tests.
pub fn built(name: &str) -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let folder = tests.ancestors().nth(2).unwrap();
    let path = folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(
        path.exists(),
        "{} is not built: run the tests with --workspace",
        path.display()
    );
    path
}
