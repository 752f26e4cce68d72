//! The builder of a client. `build` checks everything.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};
use secrecy::{ExposeSecret, SecretString};

use super::address::Address;
use super::secret::{bearer, sensitive};
use super::{Client, Shared};
use super::{Http, Observer, Transport};
use crate::error::Error;
use crate::query::{CallDefaults, Learned};
use crate::request::{RetryPolicy, insert_header};

/// Who sends the requests, as `User-Agent` and as `X-Client-Info`, which Supabase's logs show.
const AGENT: &str = concat!("sluice-sdk/", env!("CARGO_PKG_VERSION"));

/// Describes a [`Client`].
#[derive(Default)]
#[must_use = "a builder does nothing until `build`"]
pub struct ClientBuilder {
    url: Option<Url>,
    several_urls: bool,
    key: Option<SecretString>,
    defaults: CallDefaults,
    retry: RetryPolicy,
    attempt_timeout: Option<Duration>,
    total_timeout: Option<Duration>,
    transport: Option<Arc<dyn Transport>>,
    observer: Option<Arc<dyn Observer>>,
    headers: Vec<(String, String)>,
    max_rows: Option<u64>,
}

enum Url {
    Supabase(String),
    PostgRest(String),
}

impl ClientBuilder {
    /// The URL of a Supabase project, such as `https://x.supabase.co`; its API is at `/rest/v1`.
    pub fn supabase_url(self, url: impl Into<String>) -> Self {
        self.url(Url::Supabase(url.into()))
    }

    /// The URL of a PostgREST server.
    pub fn postgrest_url(self, url: impl Into<String>) -> Self {
        self.url(Url::PostgRest(url.into()))
    }

    /// The project's key. A JWT (the older kind) is sent as `apikey` and as the bearer token. An
    /// opaque key (`sb_secret_…`, `sb_publishable_…`) is sent as `apikey` only.
    pub fn key(mut self, key: SecretString) -> Self {
        self.key = Some(key);
        self
    }

    /// The schema of tables and functions that do not name one.
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.defaults.schema = Some(schema.into());
        self
    }

    /// How often and how soon requests are sent again.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// How long one attempt may take (30 seconds by default).
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = Some(timeout);
        self
    }

    /// How long a request may take with all its retries (2 minutes by default).
    pub fn total_timeout(mut self, timeout: Duration) -> Self {
        self.total_timeout = Some(timeout);
        self
    }

    /// The maximum length of the encoded path and query (7,000 bytes by default). A long list is split so that it
    /// fits. A longer URL is not sent.
    pub fn url_bytes(mut self, bytes: usize) -> Self {
        self.defaults.url_bytes = bytes;
        self
    }

    /// How many rows go into one request of a bulk write (500 by default).
    pub fn chunk_rows(mut self, rows: usize) -> Self {
        self.defaults.chunk_rows = rows;
        self
    }

    /// How many bytes go into one request of a bulk write (1 MiB by default).
    pub fn chunk_bytes(mut self, bytes: usize) -> Self {
        self.defaults.chunk_bytes = bytes;
        self
    }

    /// How many requests of one long list or bulk write are in flight at once (4 by default).
    pub fn concurrency(mut self, requests: usize) -> Self {
        self.defaults.concurrency = requests;
        self
    }

    /// Sends this header with every request, such as one that a gateway needs. A query can have
    /// headers of its own. The value appears in no error and no span.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The server's row limit (`db-max-rows`), if you know it: 1,000 on hosted Supabase. The client
    /// finds out without it, by one more request when a read returns 100 rows or more, and as many as
    /// any before. A server with a limit below 100 needs this setting.
    pub fn max_rows(mut self, rows: u64) -> Self {
        self.max_rows = Some(rows);
        self
    }

    /// Reports every attempt to `observer`.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Sends through `transport` instead of [`Http`].
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.transport = Some(Arc::new(transport));
        self
    }

    /// Checks everything and makes the client.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::error::ErrorKind::Invalid) if there is no URL or more than one, if
    /// the URL is not the address of a server, or if the key cannot be sent in a header.
    pub fn build(self) -> Result<Client, Error> {
        if self.several_urls {
            return Err(Error::invalid(
                "set either a Supabase URL or a PostgREST URL, not both",
            ));
        }
        let address = match self.url {
            Some(Url::Supabase(url)) => Address::supabase(&url)?,
            Some(Url::PostgRest(url)) => Address::postgrest(&url)?,
            None => {
                return Err(Error::invalid(
                    "set the URL of a Supabase project or of PostgREST",
                ));
            }
        };
        let transport = match self.transport {
            Some(transport) => transport,
            None => Arc::new(Http::new()?),
        };
        let mut defaults = self.defaults;
        defaults.url_bytes = defaults.url_bytes.saturating_sub(address.path_bytes());
        let shared = Shared {
            address,
            defaults,
            retry: self.retry,
            attempt_timeout: self.attempt_timeout.unwrap_or(Duration::from_secs(30)),
            total_timeout: self.total_timeout.unwrap_or(Duration::from_secs(120)),
            transport,
            observer: self.observer,
            learned: Learned::new(self.max_rows),
        };
        let credentials = credentials(self.key.as_ref())?;
        let mut headers = HeaderMap::new();
        headers.insert(header::USER_AGENT, HeaderValue::from_static(AGENT));
        headers.insert("x-client-info", HeaderValue::from_static(AGENT));
        for (name, value) in &self.headers {
            insert_header(&mut headers, name, value)?;
        }
        Ok(Client {
            shared: Arc::new(shared),
            credentials: Arc::new(credentials),
            tokens: None,
            headers: Arc::new(headers),
            patience: None,
        })
    }

    fn url(mut self, url: Url) -> Self {
        self.several_urls |= self.url.is_some();
        self.url = Some(url);
        self
    }
}

impl std::fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("defaults", &self.defaults)
            .finish_non_exhaustive()
    }
}

fn credentials(key: Option<&SecretString>) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    if let Some(key) = key {
        if key.expose_secret().is_empty() {
            return Err(Error::invalid("the key is empty"));
        }
        headers.insert("apikey", sensitive(key.expose_secret())?);
        if is_jwt(key.expose_secret()) {
            headers.insert(header::AUTHORIZATION, bearer(key)?);
        }
    }
    Ok(headers)
}

/// Whether a key is a JSON Web Token: three parts, of which the first is an object in base64.
fn is_jwt(key: &str) -> bool {
    key.starts_with("eyJ") && key.split('.').count() == 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_token_is_a_bearer_token() {
        let headers = |key: &str| credentials(Some(&SecretString::from(key))).unwrap();
        let jwt = headers("eyJhbGciOiJIUzI1NiJ9.e30.x");
        assert_eq!(jwt["authorization"], "Bearer eyJhbGciOiJIUzI1NiJ9.e30.x");
        assert!(jwt["apikey"].is_sensitive() && jwt["authorization"].is_sensitive());
        assert!(!headers("sb_secret_abc").contains_key("authorization"));
        assert!(credentials(Some(&SecretString::from("a\nb"))).is_err());
        assert!(credentials(Some(&SecretString::from(""))).is_err());
    }
}
