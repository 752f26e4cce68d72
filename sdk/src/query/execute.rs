//! What a builder needs from the sender of its calls.

use std::future::Future;

use futures_util::{StreamExt, stream};

use super::Learned;
use crate::error::Error;
use crate::request::{Body, Call, Response};

/// The source of a builder's defaults.
///
/// [`Offline`](crate::Offline) is a context that cannot send, for callers that send requests
/// themselves.
pub trait Context: Clone + Send + Sync + 'static {
    /// The defaults that calls are built with.
    fn defaults(&self) -> &CallDefaults;
}

/// A [`Context`] that sends calls. [`Client`](crate::Client) implements it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot send this call",
    note = "build it with a `Client`, or take its request with `.call()` and send it yourself"
)]
pub trait Execute: Context {
    /// Sends a call, with retries if they are safe, and reads the response.
    ///
    /// # Errors
    ///
    /// A response that is not a success, and every failure to get one.
    fn execute(&self, call: Call) -> impl Future<Output = Result<Response, Error>> + Send;

    /// Sends a call, and returns the body of a successful response piece by piece. By default there
    /// is one piece, the whole body.
    ///
    /// # Errors
    ///
    /// As for [`execute`](Self::execute), until the response has begun. Later errors are in the
    /// stream.
    fn open(&self, call: Call) -> impl Future<Output = Result<Body, Error>> + Send {
        async move {
            let body = self.execute(call).await?.body;
            Ok(stream::once(std::future::ready(Ok(body))).boxed())
        }
    }

    /// What is known of the server. Without it, a read that may have been cut is always checked.
    fn learned(&self) -> Option<&Learned> {
        None
    }
}

/// The defaults that calls are built with. The client's builder sets them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallDefaults {
    /// The schema of tables and functions that do not name one, or `None` for the server's first.
    pub schema: Option<String>,
    /// The maximum length of the encoded path and query of a split list and of a change.
    pub url_bytes: usize,
    /// How many rows go into one request of a bulk write.
    pub chunk_rows: usize,
    /// How many bytes of JSON go into one request of a bulk write. A longer row goes alone.
    pub chunk_bytes: usize,
    /// How many requests of one long list or bulk write are in flight at once.
    pub concurrency: usize,
}

/// URLs of 7,000 bytes (gateways allow about 8,000), 500 rows or 1 MiB a request, four at once.
impl Default for CallDefaults {
    fn default() -> Self {
        Self {
            schema: None,
            url_bytes: 7_000,
            chunk_rows: 500,
            chunk_bytes: 1024 * 1024,
            concurrency: 4,
        }
    }
}
