//! A call as an `http::Request`, before a client adds its address and its key.

mod explain;
mod options;
mod outcome;
mod prefer;
mod response;
mod retry;
mod rows;
mod shape;

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use crate::error::Error;
use crate::grammar::Params;
use crate::quote;

pub use explain::Explain;
pub(crate) use options::Options;
#[cfg(feature = "client")]
pub(crate) use options::insert_header;
pub use outcome::Outcome;
pub(crate) use outcome::{Cause, LONG_LIST, read_error};
pub use prefer::{Count, Handling};
pub(crate) use prefer::{Prefer, Resolution, Returning};
pub use response::{Body, Page, Response};
pub use retry::RetryPolicy;
pub(crate) use rows::rows;

/// One request to PostgREST, without the server's address and the key, which a client adds.
///
/// Every builder makes one with its `call` method, and an [`Execute`](crate::query::Execute) sends it. The
/// URI is relative (`/posts?id=eq.1`).
#[derive(Clone)]
pub struct Call {
    /// The request; its URI is relative to PostgREST's root.
    pub request: http::Request<Bytes>,
    /// Whether it may be sent again if the outcome of the first time is unknown.
    pub safety: Safety,
    /// How often it is sent again, if not as often as the client's other calls.
    pub retry: Option<RetryPolicy>,
    /// How long it may take with its retries, if not as long as the client's other calls.
    pub deadline: Option<Duration>,
}

impl Call {
    /// The request's method and shape without values, such as `GET /posts?url=eq.…`.
    pub fn shape(&self) -> String {
        shape::shape(self.request.method(), self.request.uri())
    }

    /// Notes in an error which call failed, after how many retries, and whether it may be repeated if
    /// its outcome is unknown.
    #[must_use]
    pub fn failed(&self, error: Error, retries: u32) -> Error {
        error
            .with_request(self.shape(), self.safety.is_repeatable())
            .with_retries(retries)
    }
}

/// Shows the shape only, because values may be personal data.
impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("request", &self.shape())
            .field("safety", &self.safety)
            .finish_non_exhaustive()
    }
}

/// What a request can change if it is sent a second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Safety {
    /// It changes nothing.
    Read,
    /// It changes something, but a second time changes nothing more.
    Idempotent,
    /// A second time may change something again.
    Write,
}

impl Safety {
    /// Whether a second time changes nothing more.
    pub(crate) fn is_repeatable(self) -> bool {
        self != Self::Write
    }
}

/// The format of the response's body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// An array of rows, or a function's value.
    #[default]
    Json,
    /// An array of rows whose null columns are left out.
    JsonWithoutNulls,
    /// One row as an object. Another number of rows is an error, and a write is rolled back.
    Object,
    /// Comma-separated values.
    Csv,
    /// A `FeatureCollection`.
    GeoJson,
    /// The plan as JSON.
    Plan(Explain),
    /// The plan as `EXPLAIN` prints it.
    PlanText(Explain),
    /// A media type of the caller.
    Own(String),
}

/// The table or function of a request, by its name in the database.
#[derive(Clone, Debug)]
pub(crate) enum Path {
    Table(Cow<'static, str>),
    Function(Cow<'static, str>),
}

impl Path {
    fn encode(&self) -> Result<String, Error> {
        let (prefix, name) = match self {
            Self::Table(name) => ("/", name),
            Self::Function(name) => ("/rpc/", name),
        };
        if matches!(name.as_ref(), "" | "." | "..") || name.contains('\0') {
            return Err(Error::invalid(format!(
                "`{}` cannot name a table or a function",
                name.escape_debug()
            )));
        }
        let mut out = String::from(prefix);
        quote::segment(name, &mut out);
        Ok(out)
    }
}

/// The parts of a request.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) method: Method,
    pub(crate) path: Path,
    pub(crate) params: Params,
    pub(crate) schema: Option<String>,
    pub(crate) format: Format,
    pub(crate) options: Options,
    pub(crate) body: Option<Bytes>,
    pub(crate) safety: Safety,
}

impl Draft {
    pub(crate) fn new(method: Method, path: Path, safety: Safety) -> Self {
        Self {
            method,
            path,
            params: Params::default(),
            schema: None,
            format: Format::Json,
            options: Options::default(),
            body: None,
            safety,
        }
    }

    /// Makes the request.
    pub(crate) fn build(self) -> Result<Call, Error> {
        self.params.validate()?;
        self.options.validate()?;
        let uri = uri(&self.path.encode()?, &self.params)?;
        let headers = self.headers()?;
        let mut request = http::Request::new(self.body.unwrap_or_default());
        *request.method_mut() = self.method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Ok(Call {
            request,
            safety: self.safety,
            retry: self.options.retry,
            deadline: self.options.deadline,
        })
    }

    fn headers(&self) -> Result<HeaderMap, Error> {
        let mut headers = self.options.headers.clone();
        headers.insert(header::ACCEPT, self.format.media_type()?);
        if self.body.is_some() {
            headers.insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/json"),
            );
        }
        if let Some(schema) = &self.schema {
            headers.insert(
                profile_header(&self.method),
                header_value("schema", schema)?,
            );
        }
        if let Some(prefer) = self.options.prefer.to_value() {
            headers.insert("prefer", header_value("preference", &prefer)?);
        }
        Ok(headers)
    }
}

impl Format {
    fn media_type(&self) -> Result<HeaderValue, Error> {
        let fixed = match self {
            Self::Json => "application/json",
            Self::JsonWithoutNulls => "application/vnd.pgrst.array+json;nulls=stripped",
            Self::Object => "application/vnd.pgrst.object+json",
            Self::Csv => "text/csv",
            Self::GeoJson => "application/geo+json",
            Self::Plan(explain) => return header_value("media type", &explain.media_type("json")),
            Self::PlanText(explain) => {
                return header_value("media type", &explain.media_type("text"));
            }
            Self::Own(media_type) => return header_value("media type", media_type),
        };
        Ok(HeaderValue::from_static(fixed))
    }
}

/// The header that names the schema: it depends on whether the method has a body.
pub(crate) fn profile_header(method: &Method) -> HeaderName {
    if matches!(*method, Method::GET | Method::HEAD) {
        HeaderName::from_static("accept-profile")
    } else {
        HeaderName::from_static("content-profile")
    }
}

fn header_value(what: &str, text: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(text).map_err(|error| {
        Error::invalid(format!(
            "the {what} `{}` cannot be sent in a header",
            text.escape_debug()
        ))
        .with_source(error)
    })
}

fn uri(path: &str, params: &Params) -> Result<http::Uri, Error> {
    let mut text = path.to_owned();
    params.encode(&mut text);
    let bytes = text.len();
    http::Uri::from_maybe_shared(Bytes::from(text)).map_err(|error| {
        let message = format!("a URL of {bytes} bytes cannot be sent; {LONG_LIST}");
        Error::invalid(message).with_source(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(table: &'static str) -> Draft {
        Draft::new(Method::GET, Path::Table(table.into()), Safety::Read)
    }

    #[test]
    fn a_name_is_one_segment_of_the_path() {
        let call = draft("odd/table?").build().unwrap();
        assert_eq!(call.request.uri(), "/odd%2Ftable%3F");
        for name in ["", ".", "..", "a\0"] {
            assert!(draft(name).build().is_err(), "{name:?}");
        }
    }

    #[test]
    fn the_schema_goes_into_the_header_of_the_method() {
        let mut read = draft("t");
        read.schema = Some("private".to_owned());
        let write = Draft {
            method: Method::PATCH,
            ..read.clone()
        };
        assert_eq!(
            read.build().unwrap().request.headers()["accept-profile"],
            "private"
        );
        assert_eq!(
            write.build().unwrap().request.headers()["content-profile"],
            "private"
        );
    }

    #[test]
    fn a_schema_that_breaks_the_header_is_refused() {
        let mut read = draft("t");
        read.schema = Some("a\r\nb: c".to_owned());
        assert!(read.build().is_err());
    }
}
