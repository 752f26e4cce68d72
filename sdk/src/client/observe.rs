//! Hooks for metrics.

use std::time::Duration;

use http::{Method, StatusCode};

use crate::error::ErrorKind;

/// Sees every attempt to send a request, for metrics and budgets. It must not block.
pub trait Observer: Send + Sync + 'static {
    /// Called after each attempt, whatever came of it.
    fn attempt(&self, attempt: &Attempt<'_>);
}

/// One attempt to send a request. No value of the query is in it, and no key.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Attempt<'a> {
    /// The request's method.
    pub method: &'a Method,
    /// The table, or `rpc/` and the function, percent-encoded.
    pub path: &'a str,
    /// The status of the answer; `None` where none came.
    pub status: Option<StatusCode>,
    /// Why it failed, if it did.
    pub failure: Option<ErrorKind>,
    /// How many attempts of the same request came before this one.
    pub retry: u32,
    /// How long it took, to the last byte of the answer; to its head for one that is streamed.
    pub elapsed: Duration,
    /// The length of the request's body.
    pub request_bytes: u64,
    /// The length of the answer's body, decompressed; zero for one that is streamed.
    pub response_bytes: u64,
}
