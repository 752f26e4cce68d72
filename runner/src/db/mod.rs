//! Our database: the client, the types that `sluice gen types` makes from the migrations, and the shapes
//! that it cannot know.

mod error;
#[allow(clippy::pedantic, reason = "generated from the database")]
mod generated;
mod patience;
mod shape;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::de::DeserializeOwned;
use sluice_sdk::{
    Client, Function,
    client::{Attempt, Http, Observer, Transport},
    query::Rpc,
};

pub use error::DatabaseError;
pub use generated::*;
pub use shape::*;

use self::patience::Waits;
use crate::config::DatabaseSettings;
use crate::engine::{Patience, Stop};

/// Functions that change nothing more if the same call is made again, beside those that only read. They are called
/// again if the outcome of the first call is unknown.
///
/// A job is claimed by a worker that is new for each claim, so a second call finds the lease of the first. `claim_work`
/// is not among these: the engine repeats it, and releases rows that a lost response leased.
const IDEMPOTENT: &[&str] = &[
    "add_batch_rows",
    "begin_batch",
    "begin_job",
    "begin_score_pass",
    "cancel_job",
    "change_batch",
    "claim_job",
    "count_work",
    "cut_batch",
    "end_batch",
    "end_score_pass",
    "enqueue_job",
    "estimate_work",
    "extend_work",
    "fail_job",
    "finish_job",
    "finish_work",
    "forget_batch",
    "heartbeat_job",
    "leave_batch",
    "list_weight_configs",
    "peek_work",
    "prune_weight_scores",
    "record_run",
    "record_spending",
    "refresh_topic_frequencies",
    "release_job",
    "replay_work",
    "reserve_budget",
    "retry_job",
    "save_and_recompute",
    "stage_post_scores",
    "store_batch",
    "store_dimension",
    "store_embeddings",
    "store_scores",
    "take_batch",
];

/// Longer than the statement timeout of any function (five minutes for the cut-over).
const LONG_CALL: Duration = Duration::from_secs(330);

/// A connection to our database, counting its requests. Cheap to clone.
///
/// Every request that may be repeated is repeated for as long as the patience, whoever makes it.
#[derive(Debug, Clone)]
pub struct Database {
    client: Client,
    /// The same, for calls that take long.
    slow: Client,
    attempts: Arc<Attempts>,
    patience: Patience,
}

/// Requests to Supabase. Every attempt counts.
#[derive(Debug)]
struct Attempts {
    all: AtomicU64,
    retried: AtomicU64,
    patience: Patience,
}

impl Observer for Attempts {
    fn attempt(&self, attempt: &Attempt<'_>) {
        self.all.fetch_add(1, Ordering::Relaxed);
        if attempt.retry > 0 {
            self.retried.fetch_add(1, Ordering::Relaxed);
        }
        if attempt.failure.is_none() {
            self.patience.answered();
        }
    }
}

impl Database {
    /// A client for the configured database. Nothing is sent yet.
    ///
    /// # Errors
    /// If the URL or the key cannot be sent.
    pub fn new(settings: &DatabaseSettings) -> Result<Self, DatabaseError> {
        Self::through(&Http::new()?, settings)
    }

    /// As [`new`](Self::new), through a transport of your own, such as a
    /// [recorder](sluice_sdk::testing::Recorder) in a test.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn through(
        transport: &(impl Transport + Clone),
        settings: &DatabaseSettings,
    ) -> Result<Self, DatabaseError> {
        let most = settings.patience;
        let patience = Patience::new("the database", "supabase.patience_seconds", most);
        let attempts = Arc::new(Attempts {
            all: AtomicU64::default(),
            retried: AtomicU64::default(),
            patience: patience.clone(),
        });
        let builder = || {
            Client::builder()
                .postgrest_url(&settings.postgrest_url)
                .key(settings.key.clone())
                .schema(&settings.schema)
                .observer(attempts.clone())
                .transport(transport.clone())
        };
        let database = Self {
            client: builder().build()?,
            slow: builder().attempt_timeout(LONG_CALL).build()?,
            attempts,
            patience: patience.clone(),
        };
        Ok(database.with(patience))
    }

    /// The same database, whose waits end when the run is stopped.
    pub(crate) fn until_stopped(&self, stop: &Stop) -> Self {
        self.with(self.patience.until_stopped(stop))
    }

    /// The same database for results that are paid for: a stop of the run does not end their waits at once.
    pub(crate) fn outlasting(&self) -> Self {
        self.with(self.patience.outlasting())
    }

    fn with(&self, patience: Patience) -> Self {
        Self {
            client: self.client.with_patience(Waits(patience.clone())),
            slow: self.slow.with_patience(Waits(patience.clone())),
            attempts: self.attempts.clone(),
            patience,
        }
    }

    /// How long the database is waited for.
    pub(crate) fn patience(&self) -> &Patience {
        &self.patience
    }

    /// The SDK's client, for tables.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Calls a function.
    ///
    /// # Errors
    /// Any error of the database. A missing function means that migrations are missing.
    pub async fn call<F>(&self, function: F) -> Result<F::Output, DatabaseError>
    where
        F: Function,
        F::Output: DeserializeOwned,
    {
        Ok(Self::rpc(&self.client, function).await?)
    }

    /// Calls a function whose generated type does not say the shape of its result.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub async fn call_shaped<F: Shaped>(&self, function: F) -> Result<F::Shape, DatabaseError> {
        Ok(Self::rpc(&self.client, function).output().await?)
    }

    fn rpc<F: Function>(client: &Client, function: F) -> Rpc<F, F::Output, Client> {
        let rpc = client.rpc(function);
        if IDEMPOTENT.contains(&F::NAME) {
            rpc.idempotent()
        } else {
            rpc
        }
    }

    /// As [`call_shaped`](Self::call_shaped), for a function that brings a statement timeout of its own. The client
    /// waits longer than the database does.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub async fn call_long<F: Shaped>(&self, function: F) -> Result<F::Shape, DatabaseError> {
        Ok(Self::rpc(&self.slow, function).output().await?)
    }

    /// Requests sent so far, and how many of them were retries.
    pub fn requests(&self) -> (u64, u64) {
        (
            self.attempts.all.load(Ordering::Relaxed),
            self.attempts.retried.load(Ordering::Relaxed),
        )
    }
}
