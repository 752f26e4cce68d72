//! Hooks for metrics.

use std::time::Duration;

use http::{Method, StatusCode};

use crate::error::ErrorKind;

/// Receives every attempt to send a request, for metrics and budgets. It must not block.
pub trait Observer: Send + Sync + 'static {
    /// Called after each attempt, failed or not.
    fn attempt(&self, attempt: &Attempt<'_>);
}

/// One attempt to send a request, without a key and without values of the query.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Attempt<'a> {
    /// The request's method.
    pub method: &'a Method,
    /// The table, or `rpc/` and the function, percent-encoded.
    pub path: &'a str,
    /// The status of the response, or `None` if there was none.
    pub status: Option<StatusCode>,
    /// Why it failed, if it did.
    pub failure: Option<ErrorKind>,
    /// How many attempts of the same request preceded this one.
    pub retry: u32,
    /// How long it took to the end of the response, or to its head if the response is streamed.
    pub elapsed: Duration,
    /// The length of the request's body.
    pub request_bytes: u64,
    /// The length of the response's body, decompressed. Zero if the response is streamed.
    pub response_bytes: u64,
}
