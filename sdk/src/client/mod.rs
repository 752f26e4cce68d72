//! The client: an address, a key, and the retry loop.

mod address;
mod builder;
mod functions;
mod network;
mod observe;
mod patience;
#[cfg(feature = "postgrest")]
mod postgrest_compat;
mod secret;
mod token;
#[cfg(feature = "otel")]
mod trace;
mod transport;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use secrecy::SecretString;
use serde::Serialize;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::field::Empty;
use tracing::{Instrument, Span};

use crate::error::{Error, ErrorKind};
use crate::grammar::Select;
use crate::query::{CallDefaults, Context, Endpoint, Execute, Learned, Rpc, TableRef, rpc};
use crate::request::{Body, Call, Response, RetryPolicy, insert_header, read_error};
use crate::schema::{Any, Function, Table};

use address::{Address, OfProject};
use secret::bearer;
use token::Tokens;

pub use builder::ClientBuilder;
pub use functions::Invoke;
pub use network::{Http, why_no_response};
pub use observe::{Attempt, Observer};
pub use patience::{Patience, Wait};
#[cfg(feature = "postgrest")]
pub use postgrest_compat::CompatQuery;
pub use token::{Token, TokenSource};
pub use transport::{Chunks, Transport, TransportError};

/// A PostgREST server with a key to it. Clones are cheap and share the connections.
///
/// ```no_run
/// use sluice_sdk::{Client, SecretString};
///
/// # fn run(key: SecretString) -> Result<(), sluice_sdk::Error> {
/// let db = Client::builder().supabase_url("https://x.supabase.co").key(key).build()?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    /// The headers that identify the caller: the key, and a user's token.
    credentials: Arc<HeaderMap>,
    /// A user's token that is renewed, in place of the one in `credentials`.
    tokens: Option<Arc<Tokens>>,
    /// The caller's headers for every request.
    headers: Arc<HeaderMap>,
    patience: Option<Arc<dyn Patience>>,
}

/// What all clones of a client share.
struct Shared {
    address: Address,
    defaults: CallDefaults,
    retry: RetryPolicy,
    attempt_timeout: Duration,
    total_timeout: Duration,
    transport: Arc<dyn Transport>,
    observer: Option<Arc<dyn Observer>>,
    learned: Learned,
}

impl Client {
    /// Begins to describe a client.
    ///
    /// ```
    /// # use sluice_sdk::Client;
    /// let db = Client::builder().supabase_url("https://x.supabase.co").build()?;
    /// # Ok::<(), sluice_sdk::Error>(())
    /// ```
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// The table of the type `T`.
    ///
    /// ```no_run
    /// # use sluice_sdk::{Client, Error, Offline, Select, Table, col, serde::{Deserialize, Serialize}};
    /// # #[derive(Table, Serialize, Deserialize)] #[serde(crate = "sluice_sdk::serde")] #[table(name = "posts")]
    /// # struct Post { #[table(primary_key)] id: i64, text: String }
    /// # #[derive(Select, Deserialize)] #[serde(crate = "sluice_sdk::serde")] #[select(from = Post)]
    /// # struct Title { text: String }
    /// # async fn run(db: Client, post: Post) -> Result<(), Error> {
    /// let posts = db.from::<Post>().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// Request: `GET /posts?select=id,text`. SQL: `select id, text from posts`.
    pub fn from<T: Table + Select<From = T>>(&self) -> TableRef<T, T, Self> {
        TableRef::typed(self.clone())
    }

    /// A table by its name. Name columns with [`col`](crate::col). Rows are JSON or, with
    /// [`rows`](TableRef::rows), any type that deserializes.
    ///
    /// ```no_run
    /// # use sluice_sdk::{Client, Error};
    /// # async fn run(db: Client) -> Result<(), Error> {
    /// let posts = db.table("posts").limit(20).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// Request: `GET /posts?limit=20`. SQL: `select * from posts limit 20`.
    pub fn table(&self, name: &str) -> TableRef<Any, serde_json::Value, Self> {
        TableRef::untyped(self.clone(), name)
    }

    /// A call of a function.
    ///
    /// ```no_run
    /// # use sluice_sdk::{Client, Error, Function, Offline, Select, Table, col, serde::{Deserialize, Serialize}};
    /// # #[derive(Table, Deserialize)] #[serde(crate = "sluice_sdk::serde")] #[table(name = "latest")]
    /// # struct Post { #[table(primary_key)] id: i64, text: String }
    /// # #[derive(Select, Deserialize)] #[serde(crate = "sluice_sdk::serde")] #[select(from = Post)]
    /// # struct Title { text: String }
    /// # #[derive(Serialize, Function)] #[serde(crate = "sluice_sdk::serde")]
    /// # #[function(name = "latest", returns = Vec<Post>, read_only)] struct Latest { n: i32 }
    /// # async fn run(db: Client) -> Result<(), Error> {
    /// let posts = db.rpc(Latest { n: 9 }).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// Request: `POST /rpc/latest`. SQL: `select * from latest(n => 9)`.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a call is its arguments: `rpc(Add { a, b })`"
    )]
    pub fn rpc<F: Function>(&self, function: F) -> Rpc<F, F::Output, Self> {
        rpc::typed(self.clone(), &function)
    }

    /// A call of a function by its name, with arguments that serialize as an object.
    ///
    /// ```no_run
    /// # use sluice_sdk::{Client, Error, serde_json::json};
    /// # async fn run(db: Client) -> Result<(), Error> {
    /// let posts = db.rpc_by_name("latest", &json!({"n": 9})).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// Request: `POST /rpc/latest`. SQL: `select * from latest(n => 9)`.
    pub fn rpc_by_name(
        &self,
        name: &str,
        arguments: &(impl Serialize + ?Sized),
    ) -> Rpc<Any, serde_json::Value, Self> {
        let endpoint = Endpoint::function(name.to_owned(), None);
        Rpc::new(self.clone(), endpoint, arguments, (false, true))
    }

    /// The same client as a signed-in user. Row-level security applies to the user of this JWT.
    ///
    /// ```no_run
    /// # use sluice_sdk::{Client, Error, SecretString};
    /// # async fn run(db: Client) -> Result<(), Error> {
    /// let user = db.as_user(&SecretString::from("the user's JWT"))?;
    /// let mine = user.table("posts").await?;
    /// # Ok(()) }
    /// ```
    ///
    /// Request: `GET /posts` with `Authorization: Bearer …`. SQL: `set local role authenticated;
    /// select * from posts`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] if the token cannot be sent in a header.
    pub fn as_user(&self, token: &SecretString) -> Result<Self, Error> {
        let mut client = self.clone();
        Arc::make_mut(&mut client.credentials).insert(header::AUTHORIZATION, bearer(token)?);
        client.tokens = None;
        Ok(client)
    }

    /// The same client as a user whose tokens end: `source` supplies a new one before the last one
    /// ends, and when the server refuses it. Clones share the token.
    ///
    /// ```no_run
    /// # use sluice_sdk::{Client, SecretString, client::Token};
    /// # fn run(db: Client) {
    /// let user = db.with_token_source(|| async { Ok(Token::new(SecretString::from("a JWT"))) });
    /// # }
    /// ```
    #[must_use]
    pub fn with_token_source(&self, source: impl TokenSource) -> Self {
        Self {
            tokens: Some(Tokens::new(source)),
            ..self.clone()
        }
    }

    /// The same client with one more header in every request, such as one that a gateway needs. The
    /// value appears in no error and no span.
    ///
    /// ```no_run
    /// # use sluice_sdk::{Client, Error};
    /// # async fn run(db: Client) -> Result<(), Error> {
    /// let db = db.with_header("x-region", "eu")?;
    /// let posts = db.table("posts").await?;
    /// # Ok(()) }
    /// ```
    ///
    /// Request: `GET /posts` with `X-Region: eu`. SQL: `select * from posts`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for a header that cannot be sent, and for one that the client itself
    /// writes.
    pub fn with_header(&self, name: &str, value: &str) -> Result<Self, Error> {
        let mut client = self.clone();
        insert_header(Arc::make_mut(&mut client.headers), name, value)?;
        Ok(client)
    }

    /// The same client with another patience: failed requests are sent again for as long as it decides.
    ///
    /// ```no_run
    /// # use sluice_sdk::{Client, client::Patience};
    /// # fn run(db: Client, until_monday: impl Patience) {
    /// let db = db.with_patience(until_monday);
    /// # }
    /// ```
    #[must_use]
    pub fn with_patience(&self, patience: impl Patience) -> Self {
        let mut client = self.clone();
        client.patience = Some(Arc::new(patience));
        client
    }

    /// Makes attempts until one succeeds or must not be repeated.
    async fn with_retries<O, F: Future<Output = Result<O, Error>>>(
        &self,
        call: &Call,
        attempt: impl Fn(u32, Option<Instant>) -> F,
    ) -> Result<O, Error> {
        let span = tracing::debug_span!(
            "postgrest",
            request = Empty,
            "otel.kind" = cfg!(feature = "otel").then_some("client"),
            "otel.status_code" = Empty,
            "error.type" = Empty,
            "http.response.status_code" = Empty,
        );
        if !span.is_disabled() {
            span.record("request", call.shape());
        }
        let attempts = async {
            // A patience takes the place of the total timeout, but not of a deadline of the call.
            let limit = match (call.deadline, &self.patience) {
                (None, Some(_)) => None,
                (limit, _) => Some(limit.unwrap_or(self.shared.total_timeout)),
            };
            let deadline = limit.map(|limit| Instant::now() + limit);
            let (mut retries, mut wait) = (0, None);
            let mut token_renewed = false;
            loop {
                let error = match attempt(retries, deadline).await {
                    Ok(result) => return Ok(result),
                    Err(error) => error,
                };
                // The server refuses an expired token before it does anything.
                let renews = self.tokens.is_some() && error.is_unauthorized();
                match &self.patience {
                    _ if renews && !token_renewed => token_renewed = true,
                    // A policy or a deadline of the call itself counts more.
                    Some(patience) if call.retry.is_none() && call.deadline.is_none() => {
                        let wait = wait.get_or_insert_with(|| patience.begin());
                        outlast(wait.as_mut(), call, call.failed(error, retries)).await?;
                    }
                    _ => sleep(self.pause(call, error, retries, deadline)?).await,
                }
                retries += 1;
            }
        };
        let result: Result<O, Error> = attempts.instrument(span.clone()).await;
        if let Err(error) = &result {
            span.record("otel.status_code", "ERROR");
            span.record("error.type", tracing::field::debug(error.kind()));
        }
        result
    }

    /// Forgets a token that the server refused, so that the source is asked for another.
    async fn forget_refused(&self, error: Option<&Error>, used: Option<HeaderValue>) {
        if let (Some(tokens), Some(error), Some(used)) = (&self.tokens, error, used)
            && error.is_unauthorized()
        {
            tokens.refused(&used).await;
        }
    }

    /// How long to wait before a failed call is sent again. Returns the error if it is not.
    fn pause(
        &self,
        call: &Call,
        error: Error,
        retries: u32,
        deadline: Option<Instant>,
    ) -> Result<Duration, Error> {
        let random = fastrand::f64();
        let policy = call.retry.unwrap_or(self.shared.retry);
        let wait = policy.wait(&error, call.safety, retries, random);
        let error = call.failed(error, retries);
        match wait {
            Some(wait) if deadline.is_none_or(|deadline| Instant::now() + wait < deadline) => {
                tracing::debug!(%error, ?wait, retry = retries + 1, "sending the request again");
                Ok(wait)
            }
            _ => Err(error),
        }
    }

    async fn attempt(
        &self,
        call: &Call,
        retry: u32,
        deadline: Option<Instant>,
    ) -> Result<Response, Error> {
        let started = Instant::now();
        let deadline = self.deadline(call, started, deadline);
        let request = self.addressed(call, retry, deadline).await?;
        let token = request.headers().get(header::AUTHORIZATION).cloned();
        let sending = self.shared.transport.send(request);
        let response = in_time(sending, started, deadline).await;
        let bytes = response
            .as_ref()
            .map_or(0, |response| response.body().len());
        let status = response.as_ref().ok().map(http::Response::status);
        let result = response.and_then(Response::read);
        self.forget_refused(result.as_ref().err(), token).await;
        if let Some(warning) = result.as_ref().ok().and_then(Response::warning) {
            tracing::warn!(request = call.shape(), warning, "the server warns");
        }
        let failure = result.as_ref().err().map(Error::kind);
        self.observed(call, (status, failure), retry, started.elapsed(), bytes);
        result
    }

    async fn attempt_to_open(
        &self,
        call: &Call,
        retry: u32,
        deadline: Option<Instant>,
    ) -> Result<Body, Error> {
        let started = Instant::now();
        let deadline = self.deadline(call, started, deadline);
        let request = self.addressed(call, retry, deadline).await?;
        let token = request.headers().get(header::AUTHORIZATION).cloned();
        let opening = self.shared.transport.open(request);
        let response = in_time(opening, started, deadline).await;
        let status = response.as_ref().ok().map(http::Response::status);
        let result = match response {
            Ok(response) if response.status().is_success() => {
                Ok(unhurried(response.into_body(), self.shared.attempt_timeout))
            }
            Ok(response) => in_time(refusal(response), started, deadline)
                .await
                .and_then(Err),
            Err(error) => Err(error),
        };
        self.forget_refused(result.as_ref().err(), token).await;
        let failure = result.as_ref().err().map(Error::kind);
        self.observed(call, (status, failure), retry, started.elapsed(), 0);
        result
    }

    /// When an attempt must have ended. A call with a deadline of its own may use it for one attempt.
    fn deadline(&self, call: &Call, started: Instant, deadline: Option<Instant>) -> Instant {
        let limit = started + self.shared.attempt_timeout;
        match (deadline, call.deadline) {
            (Some(deadline), Some(_)) => deadline,
            (Some(deadline), None) => deadline.min(limit),
            (None, _) => limit,
        }
    }

    fn observed(
        &self,
        call: &Call,
        (status, failure): (Option<StatusCode>, Option<ErrorKind>),
        retry: u32,
        elapsed: Duration,
        response_bytes: usize,
    ) {
        if let Some(status) = status {
            Span::current().record("http.response.status_code", i64::from(status.as_u16()));
        }
        if let Some(observer) = &self.shared.observer {
            observer.attempt(&Attempt {
                method: call.request.method(),
                path: call.request.uri().path().trim_start_matches('/'),
                status,
                failure,
                retry,
                elapsed,
                request_bytes: call.request.body().len() as u64,
                response_bytes: response_bytes as u64,
            });
        }
    }

    /// The request with the address, the credentials and the caller's headers, and how often it was
    /// sent before.
    async fn addressed(
        &self,
        call: &Call,
        retry: u32,
        deadline: Instant,
    ) -> Result<http::Request<Bytes>, Error> {
        let mut request = call.request.clone();
        let of_project = call.request.extensions().get::<OfProject>().is_some();
        let address = &self.shared.address;
        *request.uri_mut() = if of_project {
            address.join_to_project(call.request.uri())?
        } else {
            address.join(call.request.uri())?
        };
        let headers = request.headers_mut();
        headers.reserve(self.headers.len() + self.credentials.len() + 2);
        for (name, value) in &*self.headers {
            // A header of the call itself wins.
            headers.entry(name).or_insert_with(|| value.clone());
        }
        for (name, value) in &*self.credentials {
            headers.insert(name, value.clone());
        }
        if let Some(tokens) = &self.tokens {
            let token = timeout_at(deadline, tokens.header()).await;
            let token = token.unwrap_or_else(|_| {
                let message = "the source of tokens gave none in time";
                Err(Error::new(ErrorKind::Token, message))
            })?;
            headers.insert(header::AUTHORIZATION, token);
        }
        if retry > 0 {
            headers.insert("x-retry-count", HeaderValue::from(retry));
        }
        #[cfg(feature = "otel")]
        trace::add_to(headers);
        #[cfg(feature = "testing")]
        request
            .extensions_mut()
            .insert(RelativeUri(call.request.uri().clone()));
        Ok(request)
    }
}

async fn in_time<O>(
    work: impl Future<Output = Result<O, TransportError>>,
    started: Instant,
    deadline: Instant,
) -> Result<O, Error> {
    match timeout_at(deadline, work).await {
        Ok(result) => result.map_err(Error::from),
        Err(_) => Err(timed_out(started.elapsed())),
    }
}

/// The URI of a request without the server's address. Recorders keep this one.
#[cfg(feature = "testing")]
#[derive(Clone)]
pub(crate) struct RelativeUri(pub(crate) http::Uri);

impl Context for Client {
    fn defaults(&self) -> &CallDefaults {
        &self.shared.defaults
    }
}

impl Execute for Client {
    fn learned(&self) -> Option<&Learned> {
        Some(&self.shared.learned)
    }

    async fn execute(&self, call: Call) -> Result<Response, Error> {
        let attempt = |retry, deadline| self.attempt(&call, retry, deadline);
        let response = self.with_retries(&call, attempt).await?;
        Ok(response.to(call))
    }

    async fn open(&self, call: Call) -> Result<Body, Error> {
        // The retries end with the head of the response: after that, the caller may have rows.
        let attempt = |retry, deadline| self.attempt_to_open(&call, retry, deadline);
        let body = self.with_retries(&call, attempt).await?;
        Ok(body.map_err(move |error| call.failed(error, 0)).boxed())
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("address", &format_args!("{}", self.shared.address))
            .finish_non_exhaustive()
    }
}

/// Waits until a failed request may be sent again. Returns the error if it may not.
async fn outlast(wait: &mut dyn Wait, call: &Call, error: Error) -> Result<(), Error> {
    if !error.outcome().may_repeat(call.safety) {
        return Err(error);
    }
    wait.wait(&error)
        .await
        .map_err(|why| error.with_gave_up(why))
}

/// Reads a response that is not a success, as an error.
async fn refusal(response: http::Response<Chunks>) -> Result<Error, TransportError> {
    let (parts, body) = response.into_parts();
    let body = body.try_fold(Vec::new(), |mut whole, piece| async move {
        whole.extend_from_slice(&piece);
        Ok(whole)
    });
    Ok(read_error(
        parts.status,
        &parts.headers,
        &Bytes::from(body.await?),
    ))
}

/// A body without a deadline for the whole, but with one for each piece.
fn unhurried(body: Chunks, limit: Duration) -> Body {
    stream::try_unfold(body, move |mut body| async move {
        match timeout(limit, body.try_next()).await {
            Ok(Ok(piece)) => Ok(piece.map(|piece| (piece, body))),
            Ok(Err(error)) => Err(Error::from(error)),
            Err(_) => Err(timed_out(limit)),
        }
    })
    .boxed()
}

fn timed_out(elapsed: Duration) -> Error {
    let seconds = elapsed.as_secs_f64();
    Error::new(
        ErrorKind::Timeout,
        format!("no response came within {seconds:.1} seconds"),
    )
}
