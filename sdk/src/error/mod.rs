//! The error type of this crate.

mod classify;
mod content_range;
mod parse;
pub(crate) mod report;

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

pub(crate) use content_range::ContentRange;
pub(crate) use parse::api_error;
pub(crate) use report::{Chunk, RejectedRow, WriteReport, Written};

/// Why a call failed.
///
/// There is one type for everything, because a caller does not ask "which type is it", but "may I
/// try again", "is this row the problem", "does the schema exist". Its methods answer such
/// questions. The [`Display`](fmt::Display) form is one line without a key and without a value of
/// the query. Of a row's values it shows only what Postgres's message itself quotes, such as the
/// bad input of a cast.
///
/// PostgREST reference: "Errors".
///
/// ```
/// # fn handle(error: sluice_sdk::Error) {
/// if error.is_unique_violation("posts_neighborhood_id_hash_key") {
///     // Someone else stored the post first.
/// } else if error.is_retryable() {
///     // Worth another try later: nothing is wrong with the call itself.
/// }
/// # }
/// ```
#[derive(Clone)]
pub struct Error {
    inner: Box<Inner>,
}

/// The kind of a failure. [`Error`] has methods for finer questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// PostgREST's grammar cannot express the call, or the client is misconfigured. Nothing was
    /// sent.
    Invalid,
    /// No connection could be made. Nothing was sent.
    Connect,
    /// The source of tokens gave none. Nothing was sent.
    Token,
    /// The connection broke after something was sent.
    Interrupted,
    /// A deadline passed.
    Timeout,
    /// PostgREST or Postgres returned an error.
    Api,
    /// A gateway in between returned an error (an HTML page, an empty 502).
    Gateway,
    /// The response is not what the caller's type expects.
    Decode,
    /// One row at most was requested, and several match.
    RowCount,
    /// The server's row limit cut the result, and the rest cannot be read in this way. The message
    /// says how it can.
    Truncated,
}

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    status: Option<StatusCode>,
    code: Option<String>,
    details: Option<String>,
    hint: Option<String>,
    request: Option<String>,
    /// Whether the request may be sent again if its outcome is unknown.
    repeatable: bool,
    body: Option<Bytes>,
    total: Option<u64>,
    /// How many rows there were instead of one, as far as the server does not say.
    rows_found: Option<u64>,
    retry_after: Option<Duration>,
    request_id: Option<String>,
    retries: u32,
    source: Option<Arc<dyn StdError + Send + Sync>>,
    gave_up: Option<Arc<dyn StdError + Send + Sync>>,
    report: Option<Box<WriteReport>>,
}

impl Error {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// Returns the code of the error body: a SQLSTATE (`"23505"`) or a PostgREST code
    /// (`"PGRST116"`).
    pub fn code(&self) -> Option<&str> {
        self.inner.code.as_deref()
    }

    /// Returns the message, from PostgREST or Postgres if one of them refused.
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// Returns the `details` of the error body, which may quote values of the row. An array of
    /// details is returned as JSON.
    pub fn details(&self) -> Option<&str> {
        self.inner.details.as_deref()
    }

    /// Returns the `hint` of the error body.
    pub fn hint(&self) -> Option<&str> {
        self.inner.hint.as_deref()
    }

    /// Returns the status of the response, if there was one.
    pub fn status(&self) -> Option<StatusCode> {
        self.inner.status
    }

    /// Returns the request's method and shape without values, such as `GET /posts?url=eq.…`.
    pub fn request(&self) -> Option<&str> {
        self.inner.request.as_deref()
    }

    /// Returns the first 64 KiB of the body that could not be read ([`ErrorKind::Decode`],
    /// [`ErrorKind::Gateway`]).
    pub fn body(&self) -> Option<&Bytes> {
        self.inner.body.as_ref()
    }

    /// Returns how long the server asks to wait before the next attempt.
    pub fn retry_after(&self) -> Option<Duration> {
        self.inner.retry_after
    }

    /// Returns the server's id of the request, to look it up in its logs: `sb-request-id`,
    /// `x-request-id` or `cf-ray`.
    pub fn request_id(&self) -> Option<&str> {
        self.inner.request_id.as_deref()
    }

    /// Returns how many times the request was sent again before this error was returned.
    pub fn retries(&self) -> u32 {
        self.inner.retries
    }

    /// Returns why a `Patience` did not wait any longer, if one ended the call.
    pub fn gave_up(&self) -> Option<&(dyn StdError + 'static)> {
        self.inner
            .gave_up
            .as_deref()
            .map(|why| why as &(dyn StdError + 'static))
    }

    /// Returns what a bulk write did before this error stopped it.
    pub fn write_report(&self) -> Option<&WriteReport> {
        self.inner.report.as_deref()
    }

    /// Whether the request is known to be one that may be sent again if its outcome is unknown.
    pub(crate) fn is_repeatable(&self) -> bool {
        self.inner.repeatable
    }

    /// The total number of rows, which a 416 response names if a count was requested.
    pub(crate) fn total(&self) -> Option<u64> {
        self.inner.total
    }

    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            inner: Box::new(Inner {
                kind,
                message: message.into(),
                status: None,
                code: None,
                details: None,
                hint: None,
                request: None,
                repeatable: false,
                body: None,
                total: None,
                rows_found: None,
                retry_after: None,
                request_id: None,
                retries: 0,
                source: None,
                gave_up: None,
                report: None,
            }),
        }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// A response that is not what the caller's type expects. serde quotes the value that it found
    /// (``invalid type: string "Jane", expected i64``), which is left out here.
    pub(crate) fn decode(what: &str, error: &serde_json::Error) -> Self {
        let text = error.to_string();
        let shown = text
            .rsplit_once(", expected ")
            .and_then(|(found, expected)| {
                let (kind, _) = found.split_once(['"', '`'])?;
                Some(format!("{kind}…, expected {expected}"))
            });
        let text = shown.unwrap_or(text);
        Self::new(ErrorKind::Decode, format!("{what}: {text}"))
    }

    pub(crate) fn too_many_rows() -> Self {
        Self::new(
            ErrorKind::RowCount,
            "one row was requested, and several match",
        )
    }

    pub(crate) fn no_rows() -> Self {
        Self::new(
            ErrorKind::RowCount,
            "one row was requested, and none matches",
        )
        .with_rows_found(0)
    }

    /// A failure of one piece of a change, after others were done.
    pub(crate) fn after_changes(mut self, rows: u64, (done, pieces): (usize, usize)) -> Self {
        let message = &self.inner.message;
        self.inner.message = format!(
            "{message} (the list is split: {done} of {pieces} pieces are done, and have changed {rows} rows)"
        );
        self
    }

    /// A row that need not be found.
    pub(crate) fn found<V>(row: Result<V, Self>) -> Result<Option<V>, Self> {
        match row {
            Err(error) if error.is_not_found() => Ok(None),
            row => row.map(Some),
        }
    }

    pub(crate) fn with_source(
        mut self,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        self.inner.source = Some(Arc::from(source.into()));
        self
    }

    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.inner.status = Some(status);
        self
    }

    pub(crate) fn with_code(mut self, code: impl Into<String>) -> Self {
        self.inner.code = Some(code.into());
        self
    }

    /// Keeps the start of a body, enough to see who sent it.
    pub(crate) fn with_body(mut self, body: &Bytes) -> Self {
        const KEPT_BYTES: usize = 64 * 1024;
        self.inner.body = Some(body.slice(..body.len().min(KEPT_BYTES)));
        self
    }

    pub(crate) fn with_message(mut self, message: impl Into<String>) -> Self {
        self.inner.message = message.into();
        self
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.inner.hint = Some(hint.into());
        self
    }

    pub(crate) fn with_request(mut self, shape: String, repeatable: bool) -> Self {
        self.inner.request = Some(shape);
        self.inner.repeatable = repeatable;
        self
    }

    /// Notes how many rows were found instead of one. The server's own number counts more.
    pub(crate) fn with_rows_found(mut self, rows: u64) -> Self {
        self.inner.rows_found = Some(rows);
        self
    }

    pub(crate) fn with_retries(mut self, retries: u32) -> Self {
        self.inner.retries = retries;
        self
    }

    #[cfg(feature = "client")]
    pub(crate) fn with_gave_up(mut self, why: Box<dyn StdError + Send + Sync>) -> Self {
        self.inner.gave_up = Some(Arc::from(why));
        self
    }

    pub(crate) fn with_report(mut self, report: WriteReport) -> Self {
        self.inner.report = Some(Box::new(report));
        self
    }
}

impl Error {
    /// The details without the values that Postgres quotes: `Key (name)=(…) already exists.`,
    /// `Failing row contains (…).`
    fn shown_details(&self) -> Option<String> {
        let details = self.details()?;
        let is_violation = self.sqlstate().is_some_and(|code| code.starts_with("23"));
        let values = ["=(", "contains ("]
            .into_iter()
            .filter(|_| is_violation)
            .find_map(|opening| Some((opening, details.split_once(opening)?)));
        Some(match values {
            Some((opening, (before, rest))) => {
                let after = rest.rsplit_once(')').map_or("", |(_, after)| after);
                format!("{before}{opening}…){after}")
            }
            None => details.to_owned(),
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(request) = self.request() {
            write!(f, "{request}: ")?;
        }
        if let Some(code) = self.code() {
            write!(f, "{code}: ")?;
        } else if let Some(status) = self.status().filter(|status| !status.is_success()) {
            write!(f, "status {}: ", status.as_u16())?;
        }
        f.write_str(self.message())?;
        if let Some(details) = self.shown_details() {
            write!(f, " ({details})")?;
        }
        if let Some(hint) = self.hint() {
            write!(f, "; hint: {hint}")?;
        }
        if let Some(id) = self.request_id() {
            write!(f, " [request {id}]")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.inner.kind)
            .field("status", &self.inner.status)
            .field("code", &self.inner.code)
            .field("message", &self.inner.message)
            .field("details", &self.shown_details())
            .field("hint", &self.inner.hint)
            .field("request", &self.inner.request)
            .field("retries", &self.inner.retries)
            .field("request_id", &self.inner.request_id)
            .field("source", &self.inner.source)
            .finish_non_exhaustive()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.inner
            .source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}
