//! Turns any error response into an [`Error`].

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use jiff::fmt::rfc2822;
use serde::Deserialize;
use serde_json::Value;

use super::{ContentRange, Error, ErrorKind};

/// The error body of PostgREST. Every member may be null or absent, and `details` may be an array
/// (PGRST201).
#[derive(Deserialize)]
struct ErrorBody {
    code: Option<String>,
    message: Option<String>,
    details: Option<Value>,
    hint: Option<Value>,
}

/// Reads a response whose status is not a success.
pub(crate) fn api_error(status: StatusCode, headers: &HeaderMap, body: &Bytes) -> Error {
    let mut error = match serde_json::from_slice::<ErrorBody>(body) {
        Ok(parsed) if parsed.code.is_some() || parsed.message.is_some() => from_body(parsed),
        _ => from_headers(status, headers, body),
    };
    error.inner.status = Some(status);
    error.inner.retry_after = retry_after(headers);
    error.inner.request_id = request_id(headers);
    error.inner.total = ContentRange::of(headers).and_then(|range| range.total);
    error
}

fn from_body(body: ErrorBody) -> Error {
    let message = body
        .message
        .unwrap_or_else(|| "the server sent no message".to_owned());
    let mut error = Error::new(ErrorKind::Api, message);
    error.inner.code = body.code.filter(|code| !code.is_empty());
    error.inner.details = body.details.and_then(text);
    error.inner.hint = body.hint.and_then(text);
    error
}

/// A response without PostgREST's body: to a HEAD request, whose code is in `Proxy-Status`, or from
/// a gateway in between.
fn from_headers(status: StatusCode, headers: &HeaderMap, body: &Bytes) -> Error {
    if let Some(code) = proxy_status_code(headers) {
        return Error::new(ErrorKind::Api, format!("the server returned {status}")).with_code(code);
    }
    let from_postgrest = body.is_empty()
        && headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    if from_postgrest {
        return Error::new(ErrorKind::Api, format!("the server returned {status}"));
    }
    let message = format!("a gateway in front of PostgREST returned {status}");
    Error::new(ErrorKind::Gateway, message).with_body(body)
}

/// Reads `Proxy-Status: PostgREST; error=PGRST205`.
fn proxy_status_code(headers: &HeaderMap) -> Option<String> {
    let value = headers.get("proxy-status")?.to_str().ok()?;
    let (_, rest) = value.split_once("error=")?;
    let code = rest.split([';', ',', ' ']).next()?.trim_matches('"');
    (!code.is_empty()).then(|| code.to_owned())
}

/// The id under which the server's logs have the request: the nearest server's first.
fn request_id(headers: &HeaderMap) -> Option<String> {
    const LONGEST: usize = 128;
    let names = ["sb-request-id", "x-request-id", "cf-ray"];
    let id = names.into_iter().find_map(|name| headers.get(name))?;
    let id = id.to_str().ok()?;
    (!id.is_empty() && id.len() <= LONGEST).then(|| id.to_owned())
}

/// Reads `Retry-After`, in seconds or as a date. A date counts from the response's own `Date`, because
/// this crate reads no clock and the server's may differ.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok().map(str::trim);
    let value: &str = text(header::RETRY_AFTER)?;
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let time = |date: &str| rfc2822::parse(date).ok().map(|zoned| zoned.timestamp());
    let wait = time(value)?.duration_since(time(text(header::DATE)?)?);
    // A date in the past means no wait at all.
    Some(wait.try_into().unwrap_or(Duration::ZERO))
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_in_seconds_and_as_a_date() {
        let wait = |pairs: &[(&'static str, &str)]| {
            let headers = pairs.iter().map(|(name, value)| {
                let name = http::HeaderName::from_static(name);
                (name, value.parse().unwrap())
            });
            retry_after(&headers.collect())
        };
        let sent = ("date", "Wed, 21 Oct 2015 07:28:00 GMT");
        let later = ("retry-after", "Wed, 21 Oct 2015 09:28:00 GMT");
        assert_eq!(
            wait(&[("retry-after", " 7 ")]),
            Some(Duration::from_secs(7))
        );
        assert_eq!(wait(&[sent, later]), Some(Duration::from_secs(7_200)));
        assert_eq!(wait(&[sent, ("retry-after", sent.1)]), Some(Duration::ZERO));
        assert_eq!(wait(&[later]), None);
        assert_eq!(wait(&[("retry-after", "soon")]), None);
        assert_eq!(wait(&[]), None);
    }
}
