//! The HTTP client for the provider. No other place builds one.

use std::time::Duration;

/// How long each part of a request may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// Until a connection is open, including TLS.
    pub connect: Duration,
    /// Without a byte from the provider. A language model sends nothing until its answer is whole, so
    /// this also bounds how long it may think.
    pub read: Duration,
    /// For the whole request, from the first byte sent to the last one read.
    pub total: Duration,
}

impl Default for Deadlines {
    /// 10 s to connect, 120 s of silence, 180 s in all.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            read: Duration::from_secs(120),
            total: Duration::from_secs(180),
        }
    }
}

/// Builds the HTTP client that all [`Client`](super::Client)s of a process share, with its pool of
/// connections.
///
/// It neither retries nor follows redirects. Each call is one request to the server that is
/// configured, so the key goes nowhere else.
///
/// # Errors
/// If the system's TLS or proxy settings cannot be used.
pub fn http_client(deadlines: &Deadlines) -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .user_agent(concat!("sluice/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(deadlines.connect)
        .read_timeout(deadlines.read)
        .timeout(deadlines.total)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .build()
}
