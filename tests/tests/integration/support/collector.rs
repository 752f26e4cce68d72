//! A collector of OpenTelemetry's spans.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::{
    Span, Status, span::SpanKind, status::StatusCode as Code,
};
use prost::Message;
use serde_json::Value;
use sluice_tests::Service;

/// A collector that is running.
pub(crate) struct Collector {
    service: Service,
    received: Received,
}

type Received = Arc<Mutex<Vec<(HeaderMap, ExportTraceServiceRequest)>>>;

/// A span, as a collector shows it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) name: String,
    pub(crate) trace: String,
    pub(crate) id: String,
    /// Empty if it is the first of its trace.
    pub(crate) parent: String,
    pub(crate) is_client: bool,
    pub(crate) failed: bool,
    pub(crate) attributes: BTreeMap<String, Value>,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let received = Received::default();
        let router = Router::new()
            .route("/v1/traces", post(receive))
            .with_state(Arc::clone(&received));
        let service = Service::start(router).await;
        Self { service, received }
    }

    /// The value of `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub(crate) fn url(&self) -> &str {
        self.service.url()
    }

    /// Everything that was received, as text.
    pub(crate) fn text(&self) -> String {
        format!("{:?}", self.received.lock().unwrap())
    }

    /// A header of the first request.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let received = self.received.lock().unwrap();
        let (headers, _) = received.first()?;
        Some(headers.get(name)?.to_str().ok()?.to_owned())
    }

    /// What describes the process.
    pub(crate) fn resource(&self) -> BTreeMap<String, Value> {
        let received = self.received.lock().unwrap();
        let spans = received.first().map(|(_, request)| &request.resource_spans);
        let resource = spans.and_then(|spans| spans.first()?.resource.clone());
        attributes(resource.unwrap_or_default().attributes)
    }

    /// The spans so far.
    pub(crate) fn spans(&self) -> Vec<Seen> {
        let received = self.received.lock().unwrap();
        let resources = received
            .iter()
            .flat_map(|(_, request)| &request.resource_spans);
        let scopes = resources.flat_map(|resource| &resource.scope_spans);
        scopes
            .flat_map(|scope| &scope.spans)
            .cloned()
            .map(seen)
            .collect()
    }
}

async fn receive(
    State(received): State<Received>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Bytes, StatusCode> {
    let request =
        ExportTraceServiceRequest::decode(body).map_err(|_| StatusCode::UNSUPPORTED_MEDIA_TYPE)?;
    received.lock().unwrap().push((headers, request));
    Ok(Bytes::new())
}

fn seen(span: Span) -> Seen {
    assert!(span.events.is_empty(), "events stay in the log: {span:?}");
    let code = span.status.as_ref().map(Status::code);
    Seen {
        is_client: span.kind() == SpanKind::Client,
        failed: code == Some(Code::Error),
        name: span.name,
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        attributes: attributes(span.attributes),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

fn attributes(pairs: Vec<KeyValue>) -> BTreeMap<String, Value> {
    let value = |value: Option<AnyValue>| match value.and_then(|value| value.value) {
        Some(any_value::Value::StringValue(text)) => Value::from(text),
        Some(any_value::Value::IntValue(number)) => Value::from(number),
        Some(any_value::Value::DoubleValue(number)) => Value::from(number),
        Some(any_value::Value::BoolValue(is)) => Value::from(is),
        other => panic!("no value of these kinds: {other:?}"),
    };
    pairs
        .into_iter()
        .map(|pair| (pair.key, value(pair.value)))
        .collect()
}
