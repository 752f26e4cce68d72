//! The path of a newcomer: every block of commands in the pages runs, in order, page by page. What is hosted is the
//! local stack here, OpenAI is the simulator, and `cargo` and `supabase` are scripts that check what they are asked for.

use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Output};

use secrecy::ExposeSecret;
use sluice_tests::{Stack, built, root};

use crate::support::slow;

/// The pages with commands that people run. Those of `docs/CONTRIBUTING.md`, `docs/benchmarks.md` and `docs/ci.md` are
/// cargo's alone; `docs.rs` checks that what they name exists.
const PAGES: [&str; 4] = [
    "README.md",
    "docs/guide.md",
    "docs/simulate.md",
    "docs/types.md",
];

/// The job and the weights that stand for `ID`.
const ID: &str = "3f0a0e1c-5a55-4a5f-9d3c-0f6b8f0c9a11";

/// What runs in place of cargo: `cargo run` is the program, and what else cargo does, CI does before this test.
const CARGO: &str = r#"case "$1 $2 $3" in
  "run --release --") shift 3; exec sluice "$@" ;;
  "install --path runner" | "test --workspace ") ;;
  *) echo "this page asks cargo for: $*" >&2; exit 1 ;;
esac"#;

/// What runs in place of Supabase's own program. The stack is migrated, so it only looks at what it would apply.
const SUPABASE: &str = r#"[ "$*" = "db push" ] && ls supabase/migrations/*.sql > /dev/null"#;

/// The commands of a page, as a script. What a reader fills in is filled in.
fn script(page: &str, url: &str, key: &str, openai_port: u16) -> String {
    let text = std::fs::read_to_string(root().join(page)).unwrap();
    let blocks = text.split("```sh\n").skip(1);
    let blocks = blocks.map(|rest| rest.split("```").next().unwrap());
    // Assignments reach the commands below them, as in a `.env`.
    let mut script = "set -aeuo pipefail\n".to_owned();
    for block in blocks {
        for line in block.lines() {
            let line = line
                .split(" #")
                .next()
                .unwrap()
                .split("  #")
                .next()
                .unwrap();
            let line = line
                .replace("https://YOUR-PROJECT.supabase.co", url)
                .replace(
                    "SUPABASE_SERVICE_KEY=…",
                    &format!("SUPABASE_SERVICE_KEY={key}"),
                )
                .replace("OPENAI_API_KEY=…", "OPENAI_API_KEY=simulated")
                .replace("--db-url \"$DATABASE_URL\"", "--local")
                .replace("PORT", &openai_port.to_string())
                .replace(" …", "")
                .replace(" ID", &format!(" {ID}"));
            let line = line.trim_end();
            let until_stopped = ["sluice simulate", "sluice worker", "sluice status --watch"];
            let _ = match line {
                // The embedded stack has no address for SQL, and it is migrated.
                line if line.starts_with("sluice schema apply") => {
                    writeln!(script, "sluice schema migrations supabase/migrations")
                }
                line if until_stopped.iter().any(|start| line.starts_with(start)) => {
                    let port = if line == "sluice simulate" {
                        " --port 0"
                    } else {
                        ""
                    };
                    writeln!(script, "timeout -s TERM 3 {line}{port} || [ $? -eq 124 ]")
                }
                line => writeln!(script, "echo '$' {line:?} >&2\n{line}"),
            };
        }
    }
    script
}

fn executable(folder: &Path, name: &str, script: &str) {
    use std::os::unix::fs::PermissionsExt;

    let path = folder.join(name);
    std::fs::write(&path, format!("#!/bin/bash\n{script}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn every_command_of_the_pages_runs() {
    let stack = Stack::fresh().await;
    // Another PostgREST than a project's has no address that ends so.
    let Some(url) = stack.postgrest_url().strip_suffix("/rest/v1") else {
        return;
    };
    let simulator = stack.simulator(slow(0)).await;
    let openai = simulator.base_url();
    let port = openai
        .rsplit(':')
        .next()
        .unwrap()
        .split('/')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let posts = std::fs::read_to_string(root().join("supabase/sample/posts.jsonl")).unwrap();
    let posts: Vec<&str> = posts.lines().take(25).collect();
    let key = stack.key();
    for page in PAGES {
        stack.sql(&format!(
            "delete from background_jobs; delete from weight_configs where id = '{ID}';
             insert into weight_configs (id, name, weights) select '{ID}', 'for the guide', weights from weight_configs limit 1;
             insert into background_jobs (id, type, status) values ('{ID}', 'recompute_final_scores', 'pending')"
        )).await;
        let home = tempfile::tempdir().unwrap();
        let (bin, work) = (home.path().join("bin"), home.path().join("work"));
        for folder in [&bin, &work, &work.join("src")] {
            std::fs::create_dir(folder).unwrap();
        }
        executable(
            &bin,
            "sluice",
            &format!("exec {} \"$@\"", built("sluice").display()),
        );
        executable(&bin, "cargo", CARGO);
        executable(&bin, "supabase", SUPABASE);
        std::fs::write(work.join("posts.jsonl"), posts.join("\n")).unwrap();
        // What is installed stays where it is, and what a page writes to the home goes to the folder.
        let path = format!(
            "export PATH=\"{}:$PATH\" XDG_CACHE_HOME=\"${{XDG_CACHE_HOME:-$HOME/.cache}}\" HOME=\"$PWD\"\n\
             mkdir -p ~/.local/share/bash-completion/completions\n",
            bin.display()
        );
        let script = path + &script(page, url, key.expose_secret(), port);
        let ran = tokio::task::spawn_blocking({
            let openai = openai.clone();
            let (url, key) = (url.to_owned(), key.expose_secret().to_owned());
            move || {
                Command::new("bash")
                    .args(["-c", &script])
                    .current_dir(work)
                    .env("OPENAI_BASE_URL", openai)
                    .env("OPENAI_API_KEY", "simulated")
                    .env("SUPABASE_URL", url)
                    .env("SUPABASE_SERVICE_KEY", key)
                    .output()
                    .unwrap()
            }
        });
        let Output {
            status,
            stdout,
            stderr,
        } = ran.await.unwrap();
        let printed = [stdout, stderr].concat();
        assert!(
            status.success(),
            "{page}: {status}\n{}",
            String::from_utf8_lossy(&printed)
        );
    }
    // The commands did what the pages say.
    for table in ["posts", "post_embeddings", "llm_scores"] {
        assert_eq!(
            stack.count(&format!("select count(*) from {table}")).await,
            25,
            "{table}"
        );
    }
}
