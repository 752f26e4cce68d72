//! Edge Functions of a Supabase project, over the same transport.

use std::future::IntoFuture;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Method, header};
use serde::Serialize;

use super::Client;
use super::address::OfProject;
use crate::error::{Error, ErrorKind};
use crate::query::Execute;
use crate::quote;
use crate::request::{Body, Call, Options, Response, Safety};

impl Client {
    /// Calls an Edge Function by its name: see [`Invoke`].
    ///
    /// ```no_run
    /// # use sluice_sdk::{Client, Error};
    /// # async fn run(db: Client) -> Result<(), Error> {
    /// let answer = db.invoke("summarize").await?;
    /// # Ok(()) }
    /// ```
    ///
    /// Request: `POST /functions/v1/summarize`.
    pub fn invoke(&self, function: &str) -> Invoke {
        let mut path = String::from("/functions/v1/");
        let mut parts = function.split('/');
        // A function may have paths of its own.
        quote::segment(parts.next().unwrap_or_default(), &mut path);
        for part in parts {
            path.push('/');
            quote::segment(part, &mut path);
        }
        Invoke {
            client: self.clone(),
            path,
            method: Method::POST,
            region: None,
            content: Ok(None),
            options: Options::default(),
            safety: Safety::Write,
        }
    }
}

/// A call of an Edge Function. Awaiting it returns the [`Response`], whose `json` and `text` read the
/// body. [`stream`](Self::stream) returns the body piece by piece.
///
/// The client's key, token, headers, retries and deadlines apply. A call without an answer is sent again
/// only if it is a GET or [idempotent](Self::idempotent).
///
/// ```no_run
/// # use sluice_sdk::{Client, Error, serde_json::{Value, json}};
/// # async fn run(db: Client) -> Result<(), Error> {
/// let answer = db.invoke("summarize").json(&json!({"post": 7})).region("eu-west-1").await?;
/// let summary: Value = answer.json()?;
/// # Ok(()) }
/// ```
///
/// The request: `POST https://x.supabase.co/functions/v1/summarize?forceFunctionRegion=eu-west-1`.
#[must_use = "a call does nothing until it is awaited"]
pub struct Invoke {
    client: Client,
    path: String,
    method: Method,
    region: Option<String>,
    /// The body with its type.
    content: Result<Option<(Bytes, HeaderValue)>, Error>,
    options: Options,
    safety: Safety,
}

impl Invoke {
    /// Sends this as JSON.
    ///
    /// ```no_run
    /// # use sluice_sdk::{Client, Error, serde_json::json};
    /// # async fn run(db: Client) -> Result<(), Error> {
    /// let answer = db.invoke("summarize").json(&json!({"post": 7})).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// Request: `POST /functions/v1/summarize` with `Content-Type: application/json` and the body
    /// `{"post":7}`.
    pub fn json(mut self, body: &(impl Serialize + ?Sized)) -> Self {
        let json = quote::to_vec(body).map_err(|error| {
            Error::invalid("the body cannot be written as JSON").with_source(error)
        });
        let kind = HeaderValue::from_static("application/json");
        self.content = json.map(|json| Some((json.into(), kind)));
        self
    }

    /// Sends these bytes, of this type, such as `image/png`.
    ///
    /// ```no_run
    /// # use sluice_sdk::{Client, Error};
    /// # async fn run(db: Client) -> Result<(), Error> {
    /// let answer = db.invoke("shrink").bytes(&b"\x89PNG"[..], "image/png").await?;
    /// # Ok(()) }
    /// ```
    ///
    /// Request: `POST /functions/v1/shrink` with `Content-Type: image/png` and these bytes.
    pub fn bytes(mut self, body: impl Into<Bytes>, content_type: &str) -> Self {
        let kind = HeaderValue::from_str(content_type)
            .map_err(|_| Error::invalid("the content type cannot be sent in a header"));
        self.content = kind.map(|kind| Some((body.into(), kind)));
        self
    }

    /// Uses this method instead of POST.
    ///
    /// ```no_run
    /// # use http::Method; use sluice_sdk::{Client, Error};
    /// # async fn run(db: Client) -> Result<(), Error> {
    /// let answer = db.invoke("health").method(Method::GET).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// Request: `GET /functions/v1/health`.
    pub fn method(mut self, method: Method) -> Self {
        if method == Method::GET && self.safety == Safety::Write {
            self.safety = Safety::Read;
        }
        self.method = method;
        self
    }

    /// Runs the function in this region, such as `us-east-1`.
    ///
    /// ```no_run
    /// # use sluice_sdk::{Client, Error};
    /// # async fn run(db: Client) -> Result<(), Error> {
    /// let answer = db.invoke("summarize").region("us-east-1").await?;
    /// # Ok(()) }
    /// ```
    ///
    /// Request: `POST /functions/v1/summarize?forceFunctionRegion=us-east-1` with `X-Region:
    /// us-east-1`.
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = Some(region.into());
        self
    }

    /// Declares that a second call changes nothing more. It is then sent again if the outcome of the
    /// first is unknown.
    ///
    /// ```no_run
    /// # use sluice_sdk::{Client, Error};
    /// # async fn run(db: Client) -> Result<(), Error> {
    /// let answer = db.invoke("summarize").idempotent().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// Request: `POST /functions/v1/summarize`, once more if no response comes.
    pub fn idempotent(mut self) -> Self {
        if self.safety == Safety::Write {
            self.safety = Safety::Idempotent;
        }
        self
    }

    /// Sends the call, and returns the body piece by piece as it arrives: server-sent events, a file.
    ///
    /// ```no_run
    /// # use sluice_sdk::{Client, Error};
    /// # async fn run(db: Client) -> Result<(), Error> {
    /// let body = db.invoke("export").stream().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// Request: `POST /functions/v1/export`.
    ///
    /// # Errors
    ///
    /// Every failure of the call until the response has begun. Later errors are in the stream.
    pub async fn stream(self) -> Result<Body, Error> {
        let call = self.call()?;
        self.client.open(call).await.map_err(of_function)
    }

    fn call(&self) -> Result<Call, Error> {
        self.options.validate()?;
        let mut parts = self.path.split('/').skip(1);
        if parts.any(|part| matches!(part, "" | "." | "..")) {
            return Err(Error::invalid("this cannot name an Edge Function"));
        }
        let mut uri = self.path.clone();
        let mut headers = self.options.headers.clone();
        headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        if let Some(region) = &self.region {
            let value = HeaderValue::from_str(region)
                .map_err(|_| Error::invalid("the region cannot be sent in a header"))?;
            headers.insert("x-region", value);
            uri.push_str("?forceFunctionRegion=");
            quote::query(region, &mut uri);
        }
        let content = self.content.clone()?;
        let (body, kind) = content.map_or((Bytes::new(), None), |(body, kind)| (body, Some(kind)));
        headers.extend(kind.map(|kind| (header::CONTENT_TYPE, kind)));
        let mut request = http::Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = http::Uri::try_from(uri)
            .map_err(|error| Error::invalid("the URL cannot be sent").with_source(error))?;
        *request.headers_mut() = headers;
        request.extensions_mut().insert(OfProject);
        Ok(Call {
            request,
            safety: self.safety,
            retry: self.options.retry,
            deadline: self.options.deadline,
        })
    }
}

/// A function's own failure has whatever body it likes.
fn of_function(error: Error) -> Error {
    match error.status() {
        Some(status) if error.kind() == ErrorKind::Gateway => {
            error.with_message(format!("the function returned {status}"))
        }
        _ => error,
    }
}

impl IntoFuture for Invoke {
    type Output = Result<Response, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let call = self.call()?;
            self.client.execute(call).await.map_err(of_function)
        })
    }
}

/// Options of the call: see those of [`Read`](crate::query::Read), of which the preferences are for
/// PostgREST and not sent.
impl Invoke {
    /// Sends this header too. One that cannot be sent, or that the client itself writes, is an error
    /// when the call is sent.
    ///
    /// ```no_run
    /// # use sluice_sdk::{Client, Error};
    /// # async fn run(db: Client) -> Result<(), Error> {
    /// let answer = db.invoke("summarize").header("x-trace", "7").await?;
    /// # Ok(()) }
    /// ```
    ///
    /// Request: `POST /functions/v1/summarize` with `X-Trace: 7`.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.options.header(name, value);
        self
    }

    /// Allows the call this long with all its retries, in place of both timeouts of the client.
    ///
    /// ```no_run
    /// # use sluice_sdk::{Client, Error};
    /// # async fn run(db: Client) -> Result<(), Error> {
    /// let limit = std::time::Duration::from_secs(300);
    /// let answer = db.invoke("summarize").deadline(limit).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// Request: `POST /functions/v1/summarize`.
    pub fn deadline(mut self, limit: std::time::Duration) -> Self {
        self.options.deadline = Some(limit);
        self
    }
}

impl std::fmt::Debug for Invoke {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Invoke").field(&self.path).finish()
    }
}
