//! Compressing the bodies of requests.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};

use crate::error::api_error;

/// How bodies are compressed on their way to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Encoding {
    /// `gzip`: quick, and known to most servers.
    Gzip,
    /// `br`: smaller and slower.
    Brotli,
}

/// Compresses until it is told to stop.
#[derive(Debug)]
pub(super) struct Encoder {
    encoding: Encoding,
    is_stopped: AtomicBool,
}

impl Encoder {
    pub(super) fn new(encoding: Encoding) -> Self {
        Self {
            encoding,
            is_stopped: AtomicBool::new(false),
        }
    }

    /// The request with its body compressed; `None` where that is not worth it.
    pub(super) async fn encode(
        &self,
        request: &http::Request<Bytes>,
    ) -> Option<http::Request<Bytes>> {
        // A shorter body goes in a packet or two either way.
        const LEAST_BYTES: usize = 4 * 1024;
        if request.body().len() < LEAST_BYTES || self.is_stopped.load(Ordering::Relaxed) {
            return None;
        }
        let (encoding, body) = (self.encoding, request.body().clone());
        // A megabyte takes milliseconds, in which no other task of this thread would go on.
        let compressing = tokio::task::spawn_blocking(move || encoding.compress(&body));
        let body = compressing.await.ok()?.ok()?;
        if body.len() >= request.body().len() {
            return None;
        }
        let mut encoded = request.clone();
        *encoded.body_mut() = body.into();
        encoded.headers_mut().insert(
            header::CONTENT_ENCODING,
            HeaderValue::from_static(self.encoding.name()),
        );
        Some(encoded)
    }

    /// Compresses nothing from now on.
    pub(super) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        tracing::debug!(
            encoding = self.encoding.name(),
            "the server takes no compressed bodies: they are sent as they are from now on"
        );
    }
}

/// Whether an answer may mean that the server does not know the encoding of the body: a 415, or
/// PostgREST's finding that it is no JSON (PGRST102).
pub(super) fn is_refusal(answer: &http::Response<Bytes>) -> bool {
    match answer.status() {
        StatusCode::UNSUPPORTED_MEDIA_TYPE => true,
        StatusCode::BAD_REQUEST => {
            let error = api_error(answer.status(), answer.headers(), answer.body());
            error.code() == Some("PGRST102")
        }
        _ => false,
    }
}

impl Encoding {
    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Brotli => "br",
        }
    }

    fn compress(self, body: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip => {
                let level = flate2::Compression::fast();
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
                encoder.write_all(body)?;
                encoder.finish()
            }
            Self::Brotli => {
                // The middle of the scale: about as quick as `gzip` at its default.
                let params = brotli::enc::BrotliEncoderParams {
                    quality: 4,
                    ..Default::default()
                };
                let mut out = Vec::new();
                brotli::BrotliCompress(&mut &*body, &mut out, &params)?;
                Ok(out)
            }
        }
    }
}
