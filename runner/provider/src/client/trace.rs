//! A span for each request, with the names that OpenTelemetry's conventions have for calls of generative models.
//!
//! It has names, counts and outcomes. It has no text of a request or a response, and no key.

use std::future::Future;

use reqwest::Url;
use tracing::field::Empty;
use tracing::{Instrument, Span};

use super::config::KeyHeader;
use super::response::Response;
use crate::error::{Error, ErrorKind, Overload};

/// What is requested of a model.
#[derive(Clone, Copy)]
pub(super) enum Operation {
    Chat,
    Embeddings,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Embeddings => "embeddings",
        }
    }
}

/// Sends a request in a span of its own, which says how it ended.
pub(super) async fn traced<T>(
    server: (&Url, KeyHeader),
    (operation, model): (Operation, &str),
    exchange: impl Future<Output = Result<Response<T>, Error>>,
) -> Result<Response<T>, Error> {
    let span = span(server, operation, model);
    let result = exchange.instrument(span.clone()).await;
    if !span.is_disabled() {
        match &result {
            Ok(response) => succeeded(&span, response),
            Err(error) => failed(&span, error),
        }
    }
    result
}

fn span((base, header): (&Url, KeyHeader), operation: Operation, model: &str) -> Span {
    let operation = operation.name();
    let span = tracing::trace_span!(
        "request",
        "otel.name" = Empty,
        "otel.kind" = "client",
        "otel.status_code" = Empty,
        "error.type" = Empty,
        "gen_ai.operation.name" = operation,
        "gen_ai.provider.name" = Empty,
        "gen_ai.request.model" = model,
        "gen_ai.response.model" = Empty,
        "gen_ai.usage.input_tokens" = Empty,
        "gen_ai.usage.output_tokens" = Empty,
        "gen_ai.usage.cache_read.input_tokens" = Empty,
        "http.response.status_code" = Empty,
        "openai.response.service_tier" = Empty,
        "server.address" = base.host_str(),
        "server.port" = base.port_or_known_default().map(i64::from),
        "sluice.request_id" = Empty,
    );
    if !span.is_disabled() {
        let provider = match header {
            KeyHeader::Authorization => "openai",
            KeyHeader::ApiKey => "azure.ai.openai",
        };
        span.record("gen_ai.provider.name", provider);
        span.record("otel.name", format!("{operation} {model}"));
    }
    span
}

fn succeeded<T>(span: &Span, response: &Response<T>) {
    span.record("gen_ai.response.model", &response.model);
    if let Some(usage) = &response.usage {
        for (name, tokens) in [
            ("gen_ai.usage.input_tokens", usage.input_tokens),
            ("gen_ai.usage.output_tokens", usage.output_tokens),
            (
                "gen_ai.usage.cache_read.input_tokens",
                usage.cached_input_tokens,
            ),
        ] {
            // OpenTelemetry's integers have a sign.
            span.record(name, i64::try_from(tokens).unwrap_or(i64::MAX));
        }
    }
    if let Some(tier) = response.tier {
        span.record("openai.response.service_tier", tier.name());
    }
    span.record("sluice.request_id", response.request_id.as_deref());
}

fn failed(span: &Span, error: &Error) {
    span.record("otel.status_code", "ERROR");
    span.record("sluice.request_id", error.request_id());
    let status = error.status();
    span.record("http.response.status_code", status.map(i64::from));
    let cause = match (error.kind(), status) {
        (ErrorKind::Broken(_), _) => "unreadable".to_owned(),
        (
            ErrorKind::Overloaded {
                cause: Overload::Timeout,
                ..
            },
            _,
        ) => "timeout".to_owned(),
        (_, Some(status)) => status.to_string(),
        (_, None) => "connection".to_owned(),
    };
    span.record("error.type", cause);
}
