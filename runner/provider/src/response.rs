//! A response of the provider before its content is read.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use reqwest::Response;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::error::Category;

use super::head::ResponseHead;
use super::surrogate::mend_surrogates;
use super::{Breakage, Usage};

/// A whole response with a status of success.
pub(super) struct RawResponse {
    pub(super) head: ResponseHead,
    pub(super) body: Bytes,
}

/// Why an output is not whole.
#[derive(Debug, Deserialize)]
pub(super) struct Incomplete {
    pub(super) reason: Option<String>,
}

/// The frame that embeddings (`data`), chat completions (`choices`) and responses (`output`) share.
#[derive(Debug, Deserialize)]
pub(super) struct ResponseBody<I> {
    #[serde(rename = "data", alias = "choices", alias = "output")]
    pub(super) items: Vec<I>,
    pub(super) model: Option<String>,
    pub(super) usage: Option<Usage>,
    pub(super) service_tier: Option<String>,
    /// Only responses say there why they ended early.
    pub(super) incomplete_details: Option<Incomplete>,
}

/// Reads the frame and its items, or says why it cannot be read.
pub(super) fn parse<I: DeserializeOwned>(body: &[u8]) -> Result<ResponseBody<I>, Breakage> {
    let read = serde_json::from_slice(body).or_else(|error| {
        let text = String::from_utf8_lossy(body);
        match mend_surrogates(&text) {
            Cow::Owned(mended) => serde_json::from_str(&mended),
            Cow::Borrowed(_) => Err(error),
        }
    });
    read.map_err(|error| match error.classify() {
        Category::Eof => Breakage::Truncated,
        Category::Data => Breakage::Shape(error.to_string()),
        Category::Syntax | Category::Io => Breakage::NotJson,
    })
}

/// Why a body was not read to its end.
pub(super) enum BodyError {
    Transport(reqwest::Error),
    TooLong { limit: usize },
}

/// Reads a body of at most `limit` bytes.
pub(super) async fn read_body(mut response: Response, limit: usize) -> Result<Bytes, BodyError> {
    let announced = response
        .content_length()
        .and_then(|length| length.try_into().ok());
    if announced.is_some_and(|length: usize| length > limit) {
        return Err(BodyError::TooLong { limit });
    }
    let mut body = BytesMut::with_capacity(announced.unwrap_or_default());
    while let Some(chunk) = response.chunk().await.map_err(BodyError::Transport)? {
        if body.len() + chunk.len() > limit {
            return Err(BodyError::TooLong { limit });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(body: impl Into<reqwest::Body>) -> Response {
        axum::http::Response::new(body.into()).into()
    }

    #[test]
    fn each_way_a_body_is_unreadable_has_a_name() {
        let parse = |body: &str| parse::<u32>(body.as_bytes()).unwrap_err();
        assert_eq!(parse(r#"{"data":[1,2"#), Breakage::Truncated);
        assert_eq!(parse(""), Breakage::Truncated);
        assert_eq!(parse("<html>"), Breakage::NotJson);
        assert_eq!(parse(r#"{"data":[1]} and more"#), Breakage::NotJson);
        let Breakage::Shape(said) = parse(r#"{"error":{}}"#) else {
            panic!("another shape")
        };
        assert!(said.starts_with("missing field `data`"), "{said}");
    }

    #[test]
    fn half_a_surrogate_does_not_spoil_a_response() {
        let body: ResponseBody<String> = parse(br#"{"choices":["a \ud83d"]}"#).unwrap();
        assert_eq!(body.items, ["a \u{fffd}"]);
    }

    #[test]
    fn both_endpoints_share_the_frame() {
        let body: ResponseBody<u32> = parse(br#"{"choices":[7],"model":"m","x":[]}"#).unwrap();
        assert_eq!((body.items, body.model.as_deref()), (vec![7], Some("m")));
        assert_eq!(body.usage, None);
    }

    #[tokio::test]
    async fn a_body_above_the_limit_is_not_read() {
        assert_eq!(read_body(response("12345"), 5).await.ok().unwrap(), "12345");
        let read = read_body(response("123456"), 5).await;
        assert!(matches!(read, Err(BodyError::TooLong { limit: 5 })));
        // A body of unknown length is stopped while it is read.
        let chunks = ["123", "456"].map(Ok::<_, std::io::Error>);
        let stream = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
        let read = read_body(response(stream), 5).await;
        assert!(matches!(read, Err(BodyError::TooLong { limit: 5 })));
    }
}
