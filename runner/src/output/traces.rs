//! OpenTelemetry: the spans of runs go to a collector, if its own variables name one.
//!
//! A span has names, counts and outcomes. Events stay in the log: their texts may quote the database or the provider.
//! A collector that does not answer costs spans and no time, except for a moment at the end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry::trace::TracerProvider;
use opentelemetry::{Key, KeyValue};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use sluice_sdk::client::why_no_response;
use tokio::runtime::Handle;
use tracing::Metadata;
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::filter::{FilterFn, Filtered, filter_fn};
use tracing_subscriber::{Layer, Registry};

use crate::config::exports_traces;

/// How long the end of the program waits for the last spans.
const FINISH_MAX: Duration = Duration::from_secs(1);
/// A collector is near.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// OpenTelemetry's own default for a whole request.
const SEND_MAX: Duration = Duration::from_secs(10);

type Spans = OpenTelemetryLayer<Registry, SdkTracer>;
type OurSpans = Filtered<Spans, FilterFn<fn(&Metadata<'_>) -> bool>, Registry>;

/// What sends the spans.
#[derive(Debug)]
pub(super) struct Traces {
    provider: SdkTracerProvider,
}

/// Starts to send spans, if the environment says where to. Returns what the log, which is not running yet, is to say of
/// settings that cannot be used.
pub(super) fn init() -> (Result<Option<Traces>, String>, Option<OurSpans>) {
    if !exports_traces() {
        return (Ok(None), None);
    }
    match exporter() {
        Ok(exporter) => {
            let provider = SdkTracerProvider::builder()
                .with_resource(resource())
                .with_batch_exporter(exporter)
                .build();
            let spans = tracing_opentelemetry::layer()
                .with_tracer(provider.tracer("sluice"))
                .with_location(false)
                .with_threads(false)
                .with_target(false)
                .with_tracked_inactivity(false);
            let ours = filter_fn(is_our_span as fn(&Metadata<'_>) -> bool);
            (Ok(Some(Traces { provider })), Some(spans.with_filter(ours)))
        }
        Err(error) => (Err(error.to_string()), None),
    }
}

fn is_our_span(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target().starts_with("sluice")
}

fn exporter() -> Result<SpanExporter, Box<dyn std::error::Error>> {
    let client = reqwest::Client::builder()
        .connect_timeout(CONNECT_MAX)
        .timeout(SEND_MAX)
        .redirect(reqwest::redirect::Policy::none())
        .build()?;
    let sender = Sender {
        client,
        runtime: Handle::try_current()?,
        has_failed: AtomicBool::default(),
    };
    Ok(SpanExporter::builder()
        .with_http()
        .with_http_client(sender)
        .build()?)
}

/// What describes this process. `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` count more.
fn resource() -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let builder = || Resource::builder().with_attribute(version.clone());
    let named = builder().build();
    let name = named.get(&Key::from_static_str("service.name"));
    let is_unnamed = name.is_none_or(|name| name.as_str().starts_with("unknown_service"));
    if is_unnamed {
        builder().with_service_name("sluice").build()
    } else {
        named
    }
}

impl Traces {
    /// Sends what is left.
    pub(super) async fn finish(self) {
        let finish = move || self.provider.shutdown_with_timeout(FINISH_MAX);
        // Not on this thread: the requests are sent from here.
        let finished = tokio::task::spawn_blocking(finish);
        if tokio::time::timeout(FINISH_MAX, finished).await.is_err() {
            tracing::debug!("the last spans could not be sent in time");
        }
    }
}

/// Sends for the exporter, whose thread has no runtime.
#[derive(Debug)]
struct Sender {
    client: reqwest::Client,
    runtime: Handle,
    has_failed: AtomicBool,
}

#[async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let request = request.try_into()?;
        let client = self.client.clone();
        let exchange = async move {
            let response = client.execute(request).await?;
            let status = response.status();
            let body = response.bytes().await?;
            Ok::<_, reqwest::Error>((status, body))
        };
        let (status, body) = match self.runtime.spawn(exchange).await? {
            Ok(answer) => answer,
            Err(error) => {
                self.warn(&why_no_response(&error));
                // The address may have a key in it.
                return Err(error.without_url().into());
            }
        };
        if !status.is_success() {
            self.warn(&format!("status {}", status.as_u16()));
        }
        let mut response = Response::new(body);
        *response.status_mut() = status;
        Ok(response)
    }
}

impl Sender {
    /// Says once that the collector does not take the spans.
    fn warn(&self, why: &str) {
        if !self.has_failed.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "the collector takes no traces ({why}), so they are lost; check OTEL_EXPORTER_OTLP_ENDPOINT and \
                 OTEL_EXPORTER_OTLP_HEADERS"
            );
        }
    }
}
