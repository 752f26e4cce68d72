//! Our database as types: the tables, the functions, and the client that reaches them.

mod error;
mod function;
mod job;
mod table;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::de::DeserializeOwned;
use sluice_sdk::{Attempt, Client, Function, Observer};

pub use error::DatabaseError;
pub use function::*;
pub use job::*;
pub use table::{Job, Neighborhood, NewNeighborhood, Post, WeightConfig, WorkItem};

use crate::config::DatabaseSettings;

/// A connection to our database, counting its requests. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Database {
    client: Client,
    traffic: Arc<Traffic>,
}

/// Requests to Supabase, every attempt counted.
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
    /// A URL or key that cannot be sent.
    pub fn new(settings: &DatabaseSettings) -> Result<Self, DatabaseError> {
        let traffic = Arc::new(Traffic::default());
        let client = Client::builder()
            .postgrest_url(&settings.postgrest_url)
            .key(settings.key.clone())
            .schema(&settings.schema)
            .observer(traffic.clone())
            .build()?;
        Ok(Self { client, traffic })
    }

    /// The SDK's client, for tables.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Calls a function.
    ///
    /// # Errors
    /// Whatever the database answers; a missing function says that the migrations are missing.
    pub async fn call<F>(&self, function: F) -> Result<F::Output, DatabaseError>
    where
        F: Function,
        F::Output: DeserializeOwned,
    {
        Ok(self.client.rpc(function).await?)
    }

    /// Requests sent so far, and how many of them repeated an earlier one.
    pub fn requests(&self) -> (u64, u64) {
        (
            self.traffic.requests.load(Ordering::Relaxed),
            self.traffic.retried.load(Ordering::Relaxed),
        )
    }
}
