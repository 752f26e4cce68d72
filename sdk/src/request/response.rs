//! A successful response.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;

use super::{Call, Prefer};
use crate::error::{ContentRange, Error, ErrorKind};

/// A successful response, read to its end.
#[derive(Clone, Debug)]
pub struct Response {
    /// A status in the 200s.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// The body, decompressed.
    pub body: Bytes,
    /// The call, for the error of a body that cannot be read.
    call: Option<Arc<Call>>,
}

/// The body of a response, piece by piece.
pub type Body = BoxStream<'static, Result<Bytes, Error>>;

/// Rows, with their position and number from the headers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page<V> {
    /// The rows. There may be fewer than requested, because the server's row limit cuts silently:
    /// see [`more`](Self::more).
    pub rows: Vec<V>,
    /// The position of the first row among all that match, if the server sent it.
    pub first: Option<u64>,
    /// How many rows match in all, if a count was requested.
    pub total: Option<u64>,
    /// Whether more rows follow. A read always says so. A call that may write, and a response that
    /// another library received, say so only if they have a total.
    pub more: Option<bool>,
}

impl<V> Page<V> {
    pub(crate) fn new(rows: Vec<V>, range: Option<ContentRange>) -> Self {
        let first = range.and_then(|range| range.rows).map(|(first, _)| first);
        let total = range.and_then(|range| range.total);
        let end = first.unwrap_or_default() + rows.len() as u64;
        let more = match (rows.is_empty(), total) {
            (true, _) => Some(false),
            (false, total) => total.map(|total| end < total),
        };
        Self {
            rows,
            first,
            total,
            more,
        }
    }
}

impl Response {
    /// Reads a response. One that is not a success becomes an error.
    ///
    /// # Errors
    ///
    /// The [`Error`] in the response, if its status is not in the 200s.
    pub fn read(response: http::Response<Bytes>) -> Result<Self, Error> {
        let (parts, body) = response.into_parts();
        if parts.status.is_success() {
            Ok(Self {
                status: parts.status,
                headers: parts.headers,
                body,
                call: None,
            })
        } else {
            Err(super::read_error(parts.status, &parts.headers, &body))
        }
    }

    /// Notes the call that this is the response to.
    #[cfg(feature = "client")]
    pub(crate) fn to(self, mut call: Call) -> Self {
        // Many responses may be kept at once, and no error shows the request's body.
        *call.request.body_mut() = Bytes::new();
        Self {
            call: Some(Arc::new(call)),
            ..self
        }
    }

    pub(crate) fn range(&self) -> Option<ContentRange> {
        ContentRange::of(&self.headers)
    }

    /// Returns the number of all rows, or of the rows that a write affected, if a count was
    /// requested.
    pub fn total(&self) -> Option<u64> {
        self.range().and_then(|range| range.total)
    }

    /// Returns the server's `Warning`, if there is one: PostgREST 16 names what is deprecated there.
    pub fn warning(&self) -> Option<&str> {
        self.headers.get("warning")?.to_str().ok()
    }

    /// Fails if a dry run was committed.
    pub(crate) fn check_dry_run(&self, prefer: &Prefer) -> Result<(), Error> {
        if prefer.rollback && !self.has_applied("tx=rollback") {
            return Err(Error::new(
                ErrorKind::Invalid,
                "the dry run was committed: the server does not allow `tx=rollback`. Check what the call changed, and set `db-tx-end = commit-allow-override`",
            ));
        }
        Ok(())
    }

    /// Whether the server says that it applied a preference.
    pub(crate) fn has_applied(&self, preference: &str) -> bool {
        let applied = self
            .headers
            .get("preference-applied")
            .and_then(|value| value.to_str().ok());
        applied.is_some_and(|applied| applied.split(',').any(|part| part.trim() == preference))
    }

    /// Reads the body as JSON. An empty body is `null`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Decode`] if it is not a `D`. The error keeps the body.
    pub fn json<D: DeserializeOwned>(&self) -> Result<D, Error> {
        parse(self.body_or_null()).map_err(|error| self.unexpected(&error))
    }

    /// Reads a function's value. A function that returns a composite type returns a row of nulls if
    /// it finds none. Such a row is read as null, unless it can be read as a `D`.
    ///
    /// # Errors
    ///
    /// As for [`json`](Self::json).
    pub fn value<D: DeserializeOwned>(&self) -> Result<D, Error> {
        let body = self.body_or_null();
        parse(body).or_else(|error| {
            if is_row_of_nulls(body)
                && let Ok(value) = parse(b"null")
            {
                return Ok(value);
            }
            Err(self.unexpected(&error))
        })
    }

    /// Reads the body as text.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Decode`] if it is not UTF-8.
    pub fn text(&self) -> Result<String, Error> {
        String::from_utf8(self.body.to_vec()).map_err(|_| {
            self.undecodable(Error::new(
                ErrorKind::Decode,
                "the response is not UTF-8 text",
            ))
        })
    }

    /// Reads rows, with their position and number from the headers.
    ///
    /// # Errors
    ///
    /// As for [`json`](Self::json).
    pub fn page<V: DeserializeOwned>(&self) -> Result<Page<V>, Error> {
        Ok(Page::new(self.json()?, self.range()))
    }

    fn body_or_null(&self) -> &[u8] {
        if self.body.is_empty() {
            b"null"
        } else {
            &self.body
        }
    }

    fn unexpected(&self, error: &serde_json::Error) -> Error {
        let what = "the response is not what the caller's type expects";
        self.undecodable(Error::decode(what, error))
    }

    fn undecodable(&self, error: Error) -> Error {
        let error = error.with_status(self.status).with_body(&self.body);
        match &self.call {
            Some(call) => call.failed(error, 0),
            None => error,
        }
    }
}

/// Reads JSON. Checking the whole body for UTF-8 at once is faster than checking each text in it.
fn parse<D: DeserializeOwned>(body: &[u8]) -> Result<D, serde_json::Error> {
    match std::str::from_utf8(body) {
        Ok(text) => serde_json::from_str(text),
        // This names the position of the fault, unless the caller does not read that part.
        Err(_) => serde_json::from_slice(body),
    }
}

fn is_row_of_nulls(body: &[u8]) -> bool {
    let members: Result<std::collections::BTreeMap<String, Option<serde::de::IgnoredAny>>, _> =
        serde_json::from_slice(body);
    members.is_ok_and(|members| !members.is_empty() && members.values().all(Option::is_none))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(body: &'static str) -> Response {
        Response {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: Bytes::from_static(body.as_bytes()),
            call: None,
        }
    }

    #[test]
    fn an_empty_body_is_null() {
        response("").value::<()>().unwrap();
        assert_eq!(response("").value::<Option<i32>>().unwrap(), None);
    }

    #[test]
    fn a_row_of_nulls_is_none_if_a_row_needs_values() {
        #[derive(Debug, PartialEq, serde::Deserialize)]
        struct Row {
            id: i64,
        }
        let read = |body| response(body).value::<Option<Row>>();
        assert_eq!(read(r#"{"id":null,"body":null}"#).unwrap(), None);
        assert_eq!(
            read(r#"{"id":1,"body":null}"#).unwrap(),
            Some(Row { id: 1 })
        );
        assert!(read(r#"{"id":"x"}"#).is_err());
        assert!(read("{}").is_err());
    }

    #[test]
    fn a_decode_error_keeps_the_body() {
        let error = response("{\"id\":1}").json::<Vec<i64>>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode);
        assert_eq!(error.body().unwrap(), "{\"id\":1}");
    }

    #[test]
    fn a_body_that_is_not_utf8_is_an_error() {
        let response = Response {
            body: Bytes::from_static(b"[\"\xff\"]"),
            ..response("")
        };
        assert_eq!(
            response.json::<Vec<String>>().unwrap_err().kind(),
            ErrorKind::Decode
        );
        assert_eq!(response.text().unwrap_err().kind(), ErrorKind::Decode);
    }
}
