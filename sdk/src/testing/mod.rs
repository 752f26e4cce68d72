//! Tests without a network: record requests, replay responses, or fake a server.
//!
//! Needs the feature `testing`. A [`Recorder`] around a real transport keeps every [`Exchange`]. A
//! [`Player`] replays recorded exchanges. A [`Fake`] makes responses by a function. [`Snapshot`]s
//! of the requests work with [insta](https://insta.rs) and hold no key.
//!
//! ```
//! use sluice_sdk::testing::{Fake, FakeResponse};
//! use sluice_sdk::{Client, Error, serde_json::json, col};
//!
//! # fn main() -> Result<(), Error> {
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
//! # runtime.block_on(async {
//! let fake = Fake::new(|_request| FakeResponse::json(200, &json!([{"id": 7}])));
//! let db = Client::builder().postgrest_url("http://fake").transport(fake.clone()).build()?;
//!
//! db.table("posts").filter(col("url").is_null()).await?;
//!
//! // In a test: insta::assert_snapshot!(fake.snapshot());
//! assert_eq!(fake.snapshot(), "GET /posts?url=is.null\naccept: application/json\n");
//! # Ok(()) })
//! # }
//! ```

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

mod exchange;
mod fake;
mod filters;
mod player;
mod recorder;
mod snapshot;

pub use exchange::{Exchange, RecordedRequest, RecordedResponse};
pub use fake::{Fake, FakeResponse};
pub use filters::FILTERS;
pub use player::Player;
pub use recorder::Recorder;
pub use snapshot::Snapshot;

/// A list that the clones of a transport share.
#[derive(Debug)]
struct SharedList<T>(Arc<Mutex<Vec<T>>>);

impl<T> SharedList<T> {
    /// A panic in another test thread leaves the list whole, so its poison is ignored.
    fn lock(&self) -> MutexGuard<'_, Vec<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Default for SharedList<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Clone for SharedList<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}
