//! What a builder needs of whoever sends its calls.

use std::future::Future;

use futures_util::{StreamExt, stream};

use crate::error::Error;
use crate::request::{Body, Call, Response};

/// Where the defaults of a builder come from.
///
/// [`Offline`](crate::Offline) is one that cannot send: for those who send requests themselves.
pub trait Context: Clone + Send + Sync + 'static {
    /// The settings that calls are built with.
    fn defaults(&self) -> &CallDefaults;
}

/// A [`Context`] that sends calls: [`Client`](crate::Client) is the one of this crate.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot send this call",
    note = "build it with a `Client`, or take its request with `.call()` and send it yourself"
)]
pub trait Execute: Context {
    /// Sends a call, again where that is safe and sensible, and reads the answer.
    ///
    /// # Errors
    ///
    /// Any answer that is not a success, and every failure to get one.
    fn execute(&self, call: Call) -> impl Future<Output = Result<Response, Error>> + Send;

    /// Sends a call and gives the body of a successful answer as it comes. Unless it is
    /// implemented, that is the whole body at once.
    ///
    /// # Errors
    ///
    /// As those of [`execute`](Self::execute), until the answer has begun; the stream has those
    /// that come later.
    fn open(&self, call: Call) -> impl Future<Output = Result<Body, Error>> + Send {
        async move {
            let body = self.execute(call).await?.body;
            Ok(stream::once(std::future::ready(Ok(body))).boxed())
        }
    }
}

/// What calls are built with; the client's builder sets it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallDefaults {
    /// The schema of tables and functions that do not name one; `None` for the server's first.
    pub schema: Option<String>,
    /// How long the encoded path and query of a split list may become.
    pub url_bytes: usize,
    /// How many rows go into one request of a bulk write.
    pub chunk_rows: usize,
    /// How many bytes of JSON go into one request of a bulk write, as far as rows allow.
    pub chunk_bytes: usize,
    /// How many requests of one long list or bulk write are under way at once.
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
