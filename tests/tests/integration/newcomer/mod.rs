//! The path of a newcomer: every block of commands in the README and in the pages of `docs` runs, in order, page by page.
//! What is hosted is the local stack here, and OpenAI is the simulator. Cargo is a script that runs the program and
//! refuses what `docs.rs` does not hold to the workspace.

mod page;

use std::path::Path;
use std::process::{Command, Output};

use secrecy::ExposeSecret;
use sluice_tests::{Stack, built, root};

use self::page::{ID, Reader, commands, pages, script};
use crate::support::slow;

/// What runs in place of cargo: `cargo run` is the program. The rest would build and measure: `docs.rs` shows that
/// cargo and the benches know what is named, and CI tests.
const CARGO: &str = r#"case "$1" in
  run) [ "$2 $3" = "--release --" ] && shift 3 && exec sluice "$@" ;;
  bench | binstall | build | insta | install | test) exit 0 ;;
esac
echo "this page asks cargo for: $*" >&2
exit 1"#;

/// What runs in place of Supabase's own program. The stack is migrated, so it only looks at what it would apply.
const SUPABASE: &str = r#"[ "$*" = "db push" ] && ls supabase/migrations/*.sql > /dev/null"#;

/// What runs in place of `.ci/run`: the shell reads that script, and does not run it within itself.
fn ci() -> String {
    format!("exec bash -n {}", root().join(".ci/run").display())
}

fn executable(folder: &Path, name: &str, script: &str) {
    use std::os::unix::fs::PermissionsExt;

    let path = folder.join(name);
    std::fs::write(&path, format!("#!/bin/bash\n{script}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// A folder with what a reader has: the programs, and some posts.
fn home(posts: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let (bin, work) = (home.path().join("bin"), home.path().join("work"));
    for folder in [&bin, &work, &work.join("src"), &work.join(".ci")] {
        std::fs::create_dir(folder).unwrap();
    }
    let sluice = format!("exec {} \"$@\"", built("sluice").display());
    executable(&bin, "sluice", &sluice);
    executable(&bin, "cargo", CARGO);
    executable(&bin, "supabase", SUPABASE);
    executable(&work.join(".ci"), "run", &ci());
    std::fs::write(work.join("posts.jsonl"), posts).unwrap();
    home
}

/// Runs a page's script as its reader.
async fn run(page: &str, script: &str, home: &Path, reader: &Reader, openai: &str) {
    // What is installed stays where it is, and what a page writes to the home goes to the folder.
    let path = format!(
        "export PATH=\"{}:$PATH\" XDG_CACHE_HOME=\"${{XDG_CACHE_HOME:-$HOME/.cache}}\" HOME=\"$PWD\"\n\
         mkdir -p ~/.local/share/bash-completion/completions\n",
        home.join("bin").display()
    );
    let mut bash = Command::new("bash");
    bash.args(["-c", &(path + script)])
        .current_dir(home.join("work"))
        .env("OPENAI_BASE_URL", openai)
        .env("OPENAI_API_KEY", "simulated")
        .env("SUPABASE_URL", &reader.url)
        .env("SUPABASE_SERVICE_KEY", &reader.key);
    let ran = tokio::task::spawn_blocking(move || bash.output().unwrap());
    let Output {
        status,
        stdout,
        stderr,
    } = ran.await.unwrap();
    let printed = [stdout, stderr].concat();
    let printed = String::from_utf8_lossy(&printed);
    assert!(status.success(), "{page}: {status}\n{printed}");
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
    let (_, port) = openai.trim_end_matches("/v1").rsplit_once(':').unwrap();
    let reader = Reader {
        url: url.to_owned(),
        key: stack.key().expose_secret().to_owned(),
        openai_port: port.parse().unwrap(),
    };
    let posts = std::fs::read_to_string(root().join("supabase/sample/posts.jsonl")).unwrap();
    let posts: Vec<&str> = posts.lines().take(25).collect();
    let mut ran = 0;
    for page in pages() {
        let commands = commands(&page);
        if commands.is_empty() {
            continue;
        }
        ran += 1;
        stack.sql(&format!(
            "delete from post_embeddings;
             delete from background_jobs; delete from weight_configs where id = '{ID}';
             insert into weight_configs (id, name, weights) select '{ID}', 'for the guide', weights from weight_configs limit 1;
             insert into background_jobs (id, type, status) values ('{ID}', 'recompute_final_scores', 'pending')"
        )).await;
        let home = home(&posts.join("\n"));
        let script = script(&commands, &reader);
        run(&page, &script, home.path(), &reader, &openai).await;
        // The commands did what the page says.
        if script.contains("\nsluice embed") || script.contains("\nsluice run") {
            for table in ["posts", "post_embeddings", "llm_scores"] {
                let rows = stack.count(&format!("select count(*) from {table}")).await;
                assert_eq!(rows, 25, "{page}: {table}");
            }
        }
    }
    assert!(ran > 10, "only {ran} pages have commands");
}
