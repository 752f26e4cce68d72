//! A request with its response, as a line of JSON.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::client::RelativeUri;
use crate::error::Error;

/// A request and its response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// A title for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The request.
    pub request: RecordedRequest,
    /// The response.
    pub response: RecordedResponse,
}

/// The recorded parts of a request: everything except the server and the credentials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedRequest {
    /// The method.
    pub method: String,
    /// The path under the server's root, with the query.
    pub path: String,
    /// The headers, by lowercase name, without keys and tokens.
    pub headers: BTreeMap<String, String>,
    /// The body, if there is one.
    pub body: Option<String>,
}

/// A recorded response.
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
    /// [`ErrorKind::Invalid`](crate::error::ErrorKind::Invalid) if a line is not an exchange. The message
    /// names the line.
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

    /// Writes exchanges, one a line, for a file beside the tests.
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
    /// Records a request of a client, without the address and the credentials.
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
    /// Records a response.
    pub(super) fn of(response: &http::Response<Bytes>) -> Self {
        Self {
            status: response.status().as_u16(),
            headers: headers(response.headers()),
            body: String::from_utf8_lossy(response.body()).into_owned(),
        }
    }

    /// The response, to be replayed. Invalid headers are left out, and an invalid status becomes
    /// 502.
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

/// The headers that matter to a test: not those of the connection, nor those that differ each time.
fn headers(headers: &http::HeaderMap) -> BTreeMap<String, String> {
    const KEPT: [&str; 12] = [
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
        "warning",
        "x-retry-count",
    ];
    let kept = headers
        .iter()
        .filter(|(name, _)| KEPT.contains(&name.as_str()));
    kept.filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
        .collect()
}
