//! The stack that tests share: one server a test binary, one test at a time, each with a clean database.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::Value;
use sluice_runner::bundled::MIGRATIONS;
use sluice_runner::config::{DatabaseSettings, Environment, RawConfig, Settings};
use sluice_runner::db::Database;
use sluice_runner::flow::Session;
use sluice_runner::local::{LocalOptions, Server};
use sluice_runner::simulator::{self, Config, Simulator};
use tokio::runtime::Runtime;
use tokio::sync::{Mutex, MutexGuard, OnceCell};

use crate::native::Native;
use crate::outside::Outside;
use crate::sql::Database as TestDatabase;

/// The tables of the schema, emptied before each test.
const TABLES: &str = "runs, spending, provider_batches, score_passes, post_score_chunks, post_scores_staging, post_scores, llm_scores, post_embeddings, work_items, posts, \
     neighborhoods, topic_frequencies, background_jobs, weight_configs, settings";

/// What a test binary starts once.
struct Shared {
    postgrest_url: String,
    key: SecretString,
    database: TestDatabase,
    turn: Mutex<()>,
}

/// The stack while one test has it. Its database has only the defaults of the migrations.
pub struct Stack {
    shared: Arc<Shared>,
    _turn: MutexGuard<'static, ()>,
}

impl Stack {
    /// Waits for its turn and empties the database.
    pub async fn fresh() -> Self {
        let shared = shared().await;
        let turn = shared.turn.lock().await;
        let stack = Self {
            shared: Arc::clone(shared),
            _turn: turn,
        };
        stack.sql(&format!("truncate {TABLES} cascade")).await;
        let (_, defaults) = MIGRATIONS
            .iter()
            .find(|(name, _)| name.contains("defaults"))
            .unwrap();
        stack.sql(defaults).await;
        stack
    }

    /// The same over a native database, through the API of the embedded server.
    pub async fn over(native: &Native) -> Self {
        let options = LocalOptions {
            database_url: Some(native.url().into()),
            ..LocalOptions::default()
        };
        let server = background(async move { Server::start(&options).await.unwrap() }).await;
        let shared = Arc::new(Shared {
            postgrest_url: format!("{}/rest/v1", server.url()),
            key: server.secret_key().clone(),
            database: TestDatabase::Outside(native.url()),
            turn: Mutex::new(()),
        });
        // It lives as long as the process, like the shared one.
        std::mem::forget(server);
        let shared: &'static Arc<Shared> = Box::leak(Box::new(shared));
        Self {
            shared: Arc::clone(shared),
            _turn: shared.turn.lock().await,
        }
    }

    /// Runs SQL statements.
    pub async fn sql(&self, statements: &str) {
        self.shared.database.run(statements).await.unwrap();
    }

    /// Runs SQL statements that change what the API offers.
    pub async fn prepare(&self, statements: &str) {
        match Outside::named() {
            Some(outside) => outside.prepare(statements).await,
            None => self.sql(statements).await,
        }
    }

    /// The error of statements that the database refuses.
    pub async fn refusal(&self, statements: &str) -> String {
        self.shared.database.run(statements).await.unwrap_err()
    }

    /// The rows of a query.
    pub async fn rows(&self, query: &str) -> Vec<Value> {
        self.shared.database.rows(query).await.unwrap()
    }

    /// The one number that a query returns.
    pub async fn count(&self, query: &str) -> i64 {
        let rows = self.rows(query).await;
        let row = rows.first().and_then(Value::as_object).unwrap();
        row.values().next().and_then(Value::as_i64).unwrap()
    }

    /// Where PostgREST is.
    pub fn postgrest_url(&self) -> &str {
        &self.shared.postgrest_url
    }

    /// The service key.
    pub fn key(&self) -> SecretString {
        self.shared.key.clone()
    }

    /// A new database client.
    pub fn database(&self) -> Database {
        Database::new(&self.database_settings(self.postgrest_url())).unwrap()
    }

    /// The settings of the database at another address, such as a recorder's.
    pub fn database_settings(&self, postgrest_url: &str) -> DatabaseSettings {
        DatabaseSettings {
            postgrest_url: postgrest_url.to_owned(),
            key: self.key(),
            schema: "public".to_owned(),
            patience: Duration::from_secs(60),
        }
    }

    /// A session on this stack and a simulator, with the text of a sluice.toml.
    pub fn session(&self, simulator: &Simulator, toml: &str) -> Session {
        self.session_through(self.postgrest_url(), &simulator.base_url(), toml)
    }

    /// A session that reaches both services at other addresses.
    pub fn session_through(&self, postgrest_url: &str, openai_url: &str, toml: &str) -> Session {
        Session::new(self.settings(postgrest_url, openai_url, toml)).unwrap()
    }

    /// Settings for these addresses.
    pub fn settings(&self, postgrest_url: &str, openai_url: &str, toml: &str) -> Settings {
        let raw: RawConfig = RawConfig::parse(toml).unwrap();
        let environment: Environment = [
            ("OPENAI_BASE_URL", openai_url),
            ("OPENAI_API_KEY", "test-key"),
        ]
        .into_iter()
        .collect();
        let mut settings = Settings::check(raw, &environment).unwrap();
        settings.database = Some(self.database_settings(postgrest_url));
        settings
    }

    /// A new simulator of the provider.
    pub async fn simulator(&self, config: Config) -> Simulator {
        simulator::start(Config { port: 0, ..config })
            .await
            .unwrap()
    }
}

async fn shared() -> &'static Arc<Shared> {
    static SHARED: OnceCell<Arc<Shared>> = OnceCell::const_new();
    SHARED
        .get_or_init(|| async { Arc::new(start().await) })
        .await
}

async fn start() -> Shared {
    if let Some(outside) = Outside::named() {
        let database = TestDatabase::Outside(outside.database_url.clone());
        for (name, migration) in MIGRATIONS {
            database
                .run(migration)
                .await
                .unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        outside.prepare("").await;
        return Shared {
            postgrest_url: outside.postgrest_url,
            key: outside.key,
            database,
            turn: Mutex::new(()),
        };
    }
    let options = LocalOptions {
        migrations: MIGRATIONS,
        ..LocalOptions::default()
    };
    let server = background(async move { Server::start(&options).await.unwrap() }).await;
    Shared {
        postgrest_url: format!("{}/rest/v1", server.url()),
        key: server.secret_key().clone(),
        database: TestDatabase::Embedded(Box::new(server)),
        turn: Mutex::new(()),
    }
}

/// Runs on a runtime that lives as long as the process. The tasks that serve the server's pipes must outlive the
/// runtime of the first test.
async fn background<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    static RUNTIME: std::sync::OnceLock<Runtime> = std::sync::OnceLock::new();
    RUNTIME
        .get_or_init(|| Runtime::new().unwrap())
        .spawn(work)
        .await
        .unwrap()
}
