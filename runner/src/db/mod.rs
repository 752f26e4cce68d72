//! Our database: the client, the types that `sluice gen types` makes from the migrations, and the shapes
//! that it cannot know.

mod error;
#[allow(clippy::pedantic, reason = "generated from the database")]
mod generated;
mod shape;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::de::DeserializeOwned;
use sluice_sdk::{Attempt, Client, Function, Observer, Rpc};

pub use error::DatabaseError;
pub use generated::*;
pub use shape::*;

use crate::config::DatabaseSettings;

/// Functions that read, or change nothing more if the same call is made again. They are called again if the
/// outcome of the first call is unknown.
const IDEMPOTENT: &[&str] = &[
    "cancel_job",
    "count_work",
    "enqueue_job",
    "estimate_work",
    "extend_work",
    "finish_work",
    "heartbeat_job",
    "list_weight_configs",
    "peek_work",
    "prune_weight_scores",
    "refresh_topic_frequencies",
    "retry_job",
    "save_and_recompute",
    "store_dimension",
    "store_embeddings",
    "store_scores",
];

/// Longer than the statement timeout of any function (five minutes for the cut-over).
const LONG_CALL: Duration = Duration::from_secs(330);

/// A connection to our database, counting its requests. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Database {
    client: Client,
    /// The same, for calls that take long.
    patient: Client,
    traffic: Arc<Traffic>,
}

/// Requests to Supabase. Every attempt counts.
#[derive(Debug, Default)]
struct Traffic {
    requests: AtomicU64,
    retried: AtomicU64,
}

impl Observer for Traffic {
    fn attempt(&self, attempt: &Attempt<'_>) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if attempt.retry > 0 {
            self.retried.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Database {
    /// A client for the configured database. Nothing is sent yet.
    ///
    /// # Errors
    /// If the URL or the key cannot be sent.
    pub fn new(settings: &DatabaseSettings) -> Result<Self, DatabaseError> {
        let traffic = Arc::new(Traffic::default());
        let builder = || {
            Client::builder()
                .postgrest_url(&settings.postgrest_url)
                .key(settings.key.clone())
                .schema(&settings.schema)
                .observer(traffic.clone())
        };
        let patient = builder()
            .attempt_timeout(LONG_CALL)
            .total_timeout(LONG_CALL)
            .build()?;
        Ok(Self {
            client: builder().build()?,
            patient,
            traffic,
        })
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
        Ok(self.rpc(function).await?)
    }

    /// Calls a function whose generated type does not say the shape of its result.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub async fn call_shaped<F: Shaped>(&self, function: F) -> Result<F::Shape, DatabaseError> {
        Ok(self.rpc(function).output().await?)
    }

    fn rpc<F: Function>(&self, function: F) -> Rpc<F, F::Output, Client> {
        let rpc = self.client.rpc(function);
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
        Ok(self.patient.rpc(function).output().await?)
    }

    /// Requests sent so far, and how many of them were retries.
    pub fn requests(&self) -> (u64, u64) {
        (
            self.traffic.requests.load(Ordering::Relaxed),
            self.traffic.retried.load(Ordering::Relaxed),
        )
    }
}
