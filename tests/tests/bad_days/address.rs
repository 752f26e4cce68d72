//! Keys go only to addresses that their owner chose.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use secrecy::ExposeSecret;
use sluice_tests::{Program, Service, Stack};

const NOWHERE: &str = "http://127.0.0.1:9/v1";

/// The program with the keys of this stack in its environment, and no address.
fn with_keys(stack: &Stack) -> Program {
    Program::bare()
        .with("SUPABASE_SERVICE_KEY", stack.key().expose_secret())
        .with("OPENAI_API_KEY", "test-key")
}

#[tokio::test]
async fn address_from_the_folder_with_a_key_from_the_environment_is_named() {
    let stack = Stack::fresh().await;
    let url = stack.postgrest_url();
    let found = with_keys(&stack).configured(&format!("[supabase]\npostgrest_url = \"{url}\""));
    let run = found.complete(&["status"]).await;
    let said = "supabase.postgrest_url is from sluice.toml, and SUPABASE_SERVICE_KEY is from the environment";
    assert!(run.stderr.contains(said), "{}", run.stderr);
    assert!(run.stderr.contains(url), "{}", run.stderr);
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    // A file that is named is the user's choice.
    let run = found.complete(&["status", "--config", "sluice.toml"]).await;
    assert_eq!(run.stderr, "");

    let dot_env = with_keys(&stack);
    dot_env.file(
        ".env",
        format!("POSTGREST_URL={url}\nOPENAI_BASE_URL={NOWHERE}\n"),
    );
    let run = dot_env.complete(&["status"]).await;
    for name in ["POSTGREST_URL", "OPENAI_BASE_URL"] {
        let said = format!("{name} is from .env, and ");
        assert!(run.stderr.contains(&said), "{}", run.stderr);
    }
    assert_eq!(run.stderr.lines().count(), 2, "{}", run.stderr);

    let together = Program::bare();
    let key = stack.key();
    let key = key.expose_secret();
    together.file(
        ".env",
        format!("POSTGREST_URL={url}\nSUPABASE_SERVICE_KEY={key}\n"),
    );
    assert_eq!(together.complete(&["status"]).await.stderr, "");
}

#[tokio::test]
async fn plain_http_to_the_internet_must_be_allowed() {
    let key = ("SUPABASE_SERVICE_KEY", "sb_secret_x");
    for (name, url) in [
        ("SUPABASE_URL", "http://abc.supabase.co"),
        ("POSTGREST_URL", "http://8.8.8.8:3000"),
        ("OPENAI_BASE_URL", "http://api.openai.com/v1"),
    ] {
        let mut program = Program::bare().with(key.0, key.1).with(name, url);
        if name == "OPENAI_BASE_URL" {
            program = program.with("POSTGREST_URL", "http://127.0.0.1:9");
        }
        let store = ["store", "-", "--dry-run"];
        let run = program.run_with_input(&store, b"").await;
        assert_eq!(run.code, Some(2), "{name}: {}", run.stderr);
        assert!(run.stderr.contains(name), "{}", run.stderr);
        assert!(run.stderr.contains("--allow-http"), "{}", run.stderr);
        let allowed = [&store[..], &["--allow-http"]].concat();
        let run = program.run_with_input(&allowed, b"").await;
        assert_eq!(run.code, Some(0), "{name}: {}", run.stderr);
    }
}

/// Who was called with which secret.
type Calls = Arc<Mutex<Vec<String>>>;

async fn noted(
    State((calls, target)): State<(Calls, String)>,
    headers: HeaderMap,
) -> impl IntoResponse {
    let secret = headers.get("x-internal-secret").unwrap();
    calls
        .lock()
        .unwrap()
        .push(secret.to_str().unwrap().to_owned());
    let location = format!("{target}/api/admin/invalidate-active-config");
    (
        StatusCode::TEMPORARY_REDIRECT,
        [(header::LOCATION, location)],
    )
}

#[tokio::test]
async fn internal_secret_follows_no_redirect() {
    let stack = Stack::fresh().await;
    let (first, second) = (Calls::default(), Calls::default());
    let service = async |calls: &Calls, target: &str| {
        let state = (Arc::clone(calls), target.to_owned());
        Service::start(Router::new().fallback(noted).with_state(state)).await
    };
    let elsewhere = service(&second, "http://127.0.0.1:9").await;
    let app = service(&first, elsewhere.url()).await;
    let program = Program::on(&stack, NOWHERE)
        .with("APP_URL", app.url())
        .with("INTERNAL_API_SECRET", "hush");
    let report = program.json(&["recompute"]).await;
    assert_eq!(*first.lock().unwrap(), ["hush"]);
    assert_eq!(*second.lock().unwrap(), [""; 0]);
    let warnings = report["warnings"].to_string();
    assert!(
        warnings.contains("redirect") && warnings.contains("APP_URL"),
        "{warnings}"
    );
}

/// Variables with secrets, ours and others'.
const SECRETS: &[&str] = &[
    "SUPABASE_SERVICE_KEY",
    "SUPABASE_URL",
    "OPENAI_API_KEY",
    "INTERNAL_API_SECRET",
    "GITHUB_TOKEN",
    "AWS_SECRET_ACCESS_KEY",
    "DATABASE_URL",
];

/// What a fake program was started with: its arguments and its environment.
fn started_with(path: &PathBuf) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[tokio::test]
async fn npm_and_the_embedded_server_get_no_keys_and_their_folders_are_private() {
    let mut program = Program::bare();
    let folder = program.file("unused", "");
    let (npm, node) = (
        folder.with_file_name("npm.txt"),
        folder.with_file_name("node.txt"),
    );
    let logging =
        |path: &PathBuf| format!("echo \"$@\" >> {0}; /usr/bin/env >> {0}", path.display());
    let scripts = [
        ("npm", format!("#!/bin/sh\n{}\n", logging(&npm))),
        (
            "node",
            format!(
                "#!/bin/sh\n{}\n[ \"$1\" = --version ] && echo v22.1.0\n",
                logging(&node)
            ),
        ),
    ];
    for (name, script) in scripts {
        let path = program.file(name, script);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let (cache, data) = (
        folder.with_file_name("cache"),
        folder.with_file_name("data"),
    );
    program = program
        .with("PATH", folder.parent().unwrap().to_str().unwrap())
        .with("XDG_CACHE_HOME", cache.to_str().unwrap())
        .with("HARMLESS", "passes");
    for name in SECRETS {
        program = program.with(name, "hush");
    }
    let run = program
        .run(&["local", "up", "--data", data.to_str().unwrap()])
        .await;
    assert!(
        run.stderr.contains("ended before it was ready"),
        "{}",
        run.stderr
    );
    for path in [&npm, &node] {
        let seen = started_with(path);
        assert!(!seen.contains("hush"), "{seen}");
        assert!(seen.contains("HARMLESS=passes"), "{seen}");
    }
    assert!(started_with(&npm).contains("--ignore-scripts"));
    assert!(started_with(&node).contains("SLUICE_LOCAL_SECRET_KEY=sb_secret_"));
    for folder in [cache.join("sluice"), data] {
        let mode = std::fs::metadata(&folder).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{}", folder.display());
    }
}
