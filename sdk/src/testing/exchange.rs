//! A request with its answer, as a line of JSON.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::client::RelativeUri;
use crate::error::Error;

/// A request and the answer to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// What it shows, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// What was asked.
    pub request: RecordedRequest,
    /// What was answered.
    pub response: RecordedResponse,
}

/// The parts of a request that are kept: everything but who asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedRequest {
    /// The method.
    pub method: String,
    /// The path under the server's root, with the query.
    pub path: String,
    /// The headers, by lowercase name; never a key or a token.
    pub headers: BTreeMap<String, String>,
    /// The body, where there is one.
    pub body: Option<String>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedResponse {
    /// The status.
    pub status: u16,
    /// The headers, by lowercase name.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: String,
}

impl Exchange {
    /// Reads exchanges, one a line.
    ///
    /// # Errors
    ///
    /// Where a line is not an exchange; the message says which.
    pub fn parse_lines(text: &str) -> Result<Vec<Self>, Error> {
        let lines = text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty());
        let parse = |(position, line): (usize, &str)| {
            serde_json::from_str(line).map_err(|error| {
                let message = format!("line {} is not an exchange: {error}", position + 1);
                Error::invalid(message).with_source(error)
            })
        };
        lines.map(parse).collect()
    }

    /// Writes exchanges, one a line, for a file that is kept with the tests.
    pub fn to_lines(exchanges: &[Self]) -> String {
        let mut out = String::new();
        for exchange in exchanges {
            // A struct of texts and numbers always serializes.
            out.push_str(&serde_json::to_string(exchange).unwrap_or_default());
            out.push('\n');
        }
        out
    }
}

impl RecordedRequest {
    /// Keeps a request of a client. The address and the credentials are left out.
    pub(super) fn of(request: &http::Request<Bytes>) -> Self {
        let relative = request.extensions().get::<RelativeUri>();
        let uri = relative.map_or_else(|| request.uri(), |relative| &relative.0);
        let body = request.body();
        Self {
            method: request.method().to_string(),
            path: uri.to_string(),
            headers: headers(request.headers()),
            body: (!body.is_empty()).then(|| String::from_utf8_lossy(body).into_owned()),
        }
    }
}

impl RecordedResponse {
    /// Keeps a response.
    pub(super) fn of(response: &http::Response<Bytes>) -> Self {
        Self {
            status: response.status().as_u16(),
            headers: headers(response.headers()),
            body: String::from_utf8_lossy(response.body()).into_owned(),
        }
    }

    /// The answer again. Headers and a status that are none are left out, as no server sends them.
    pub(super) fn to_response(&self) -> http::Response<Bytes> {
        let mut response = http::Response::new(Bytes::from(self.body.clone()));
        *response.status_mut() =
            http::StatusCode::from_u16(self.status).unwrap_or(http::StatusCode::BAD_GATEWAY);
        for (name, value) in &self.headers {
            let name = http::HeaderName::try_from(name.as_str());
            if let (Ok(name), Ok(value)) = (name, value.parse()) {
                response.headers_mut().append(name, value);
            }
        }
        response
    }
}

/// The headers that say what was asked or answered. Those of the connection, and those that differ
/// each time, say nothing.
fn headers(headers: &http::HeaderMap) -> BTreeMap<String, String> {
    const KEPT: [&str; 10] = [
        "accept",
        "accept-profile",
        "content-profile",
        "content-range",
        "content-type",
        "location",
        "prefer",
        "preference-applied",
        "proxy-status",
        "retry-after",
    ];
    let kept = headers
        .iter()
        .filter(|(name, _)| KEPT.contains(&name.as_str()));
    kept.filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
        .collect()
}
