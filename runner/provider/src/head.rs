//! The headers of a response.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::Response;

use super::RateHeaders;
use super::rate::retry_after;

/// What the headers say. It is empty if no response came.
#[derive(Clone, Debug, Default)]
pub(super) struct ResponseHead {
    pub(super) status: Option<u16>,
    pub(super) rate: RateHeaders,
    pub(super) request_id: Option<String>,
    pub(super) retry_after: Option<Duration>,
}

impl ResponseHead {
    pub(super) fn read(response: &Response, now: Timestamp) -> Self {
        let headers = response.headers();
        let request_id = headers.get("x-request-id").and_then(|id| id.to_str().ok());
        Self {
            status: Some(response.status().as_u16()),
            rate: RateHeaders::read(headers),
            request_id: request_id.map(|id| id.chars().take(64).collect()),
            retry_after: retry_after(headers, now),
        }
    }
}
