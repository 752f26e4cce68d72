//! Hooks for waiting.

use std::error::Error as StdError;

use futures_util::future::BoxFuture;

use crate::error::Error;

/// Decides how long failed requests are sent again, in place of a [`RetryPolicy`](crate::query::RetryPolicy)
/// and of the total timeout.
///
/// It is asked only about requests that may be sent again: see [`Outcome`](crate::query::Outcome). Set it
/// with [`Client::with_patience`](crate::Client::with_patience).
pub trait Patience: Send + Sync + 'static {
    /// Begins the wait of one request, whose first attempt has failed.
    fn begin(&self) -> Box<dyn Wait>;
}

/// The wait of one request.
pub trait Wait: Send {
    /// Waits before the request is sent again, at least as long as
    /// [`retry_after`](Error::retry_after) says. Or returns why it is not sent again, which
    /// [`Error::gave_up`] keeps.
    fn wait<'a>(
        &'a mut self,
        error: &'a Error,
    ) -> BoxFuture<'a, Result<(), Box<dyn StdError + Send + Sync>>>;
}
