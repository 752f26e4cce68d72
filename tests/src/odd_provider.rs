//! A provider that speaks OpenAI's protocol as no simulator of OpenAI does: servers in the field, each odd in one way.

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Router, body};
use serde_json::{Map, Value, json};

use crate::service::Service;

/// The length of a vector if the request names none.
const DIMENSIONS: usize = 1_536;

/// In which way a provider is odd. What it does not concern is answered as usual.
#[derive(Debug, Clone)]
pub enum Oddity {
    /// Nothing is odd.
    None,
    /// The vectors at these places have no index.
    NoIndex(fn(usize) -> bool),
    /// All vectors have this length, whatever was requested.
    Dimensions(usize),
    /// Some requests are refused.
    Refuses(When, Refusal),
    /// Each summary has this text, as it stands in the JSON of the answer.
    Summary(&'static str),
    /// The last vector of each answer is missing.
    FewerVectors,
    /// Each answer of the model has this content.
    Content(&'static str),
    /// Each answer ends in its middle.
    Truncated,
}

/// Which requests are refused.
#[derive(Debug, Clone, Copy)]
pub enum When {
    /// All.
    Always,
    /// Only the first so many.
    First(usize),
    /// Those with more inputs.
    MoreInputsThan(usize),
    /// Those whose body has this field.
    Has(&'static str),
    /// Those with this text.
    Contains(&'static str),
}

/// How a request is refused.
#[derive(Debug, Clone, Default)]
pub struct Refusal {
    /// The status.
    pub status: u16,
    /// The seconds of `Retry-After`.
    pub retry_after: Option<u64>,
    /// More headers.
    pub headers: &'static [(&'static str, &'static str)],
    /// The body.
    pub body: String,
}

impl Refusal {
    /// A status and a body.
    pub fn new(status: u16, body: &impl ToString) -> Self {
        Self {
            status,
            retry_after: None,
            headers: &[],
            body: body.to_string(),
        }
    }
}

/// A running provider.
pub struct OddProvider {
    service: Service,
    provider: Arc<Provider>,
}

struct Provider {
    oddity: Oddity,
    bodies: Mutex<Vec<Value>>,
}

impl OddProvider {
    /// Starts it.
    pub async fn start(oddity: Oddity) -> Self {
        let provider = Arc::new(Provider {
            oddity,
            bodies: Mutex::default(),
        });
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&provider));
        Self {
            service: Service::start(router).await,
            provider,
        }
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("{}/v1", self.service.url())
    }

    /// The bodies of all requests so far.
    pub fn bodies(&self) -> Vec<Value> {
        self.provider.seen().clone()
    }

    /// How many requests came.
    pub fn requests(&self) -> usize {
        self.provider.seen().len()
    }

    /// The number of inputs of each request for embeddings.
    pub fn inputs(&self) -> Vec<usize> {
        self.provider.seen().iter().map(inputs).collect()
    }
}

impl Provider {
    fn seen(&self) -> std::sync::MutexGuard<'_, Vec<Value>> {
        self.bodies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a request. Returns how it is refused, if it is.
    fn refuses(&self, body: &Value) -> Option<&Refusal> {
        let mut seen = self.seen();
        seen.push(body.clone());
        let Oddity::Refuses(when, refusal) = &self.oddity else {
            return None;
        };
        let is_refused = match when {
            When::Always => true,
            When::First(count) => seen.len() <= *count,
            When::MoreInputsThan(most) => inputs(body) > *most,
            When::Has(field) => body.get(field).is_some(),
            When::Contains(text) => body.to_string().contains(text),
        };
        is_refused.then_some(refusal)
    }
}

fn inputs(body: &Value) -> usize {
    body["input"].as_array().map_or(0, Vec::len)
}

async fn answer(State(provider): State<Arc<Provider>>, request: Request) -> Response {
    let bytes = body::to_bytes(request.into_body(), usize::MAX)
        .await
        .unwrap();
    let asked: Value = serde_json::from_slice(&bytes).unwrap();
    if let Some(refusal) = provider.refuses(&asked) {
        let status = StatusCode::from_u16(refusal.status).unwrap();
        let mut response = (status, refusal.body.clone()).into_response();
        if let Some(seconds) = refusal.retry_after {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        for (name, value) in refusal.headers {
            let value = HeaderValue::from_static(value);
            response.headers_mut().insert(*name, value);
        }
        return response;
    }
    let mut text = if asked.get("input").is_some() {
        embeddings(&provider.oddity, &asked).to_string()
    } else {
        chat(&provider.oddity, &asked)
    };
    if matches!(provider.oddity, Oddity::Truncated) {
        text.truncate(text.len() / 2);
    }
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

fn embeddings(oddity: &Oddity, asked: &Value) -> Value {
    let requested = asked["dimensions"]
        .as_u64()
        .and_then(|length| length.try_into().ok());
    let dimensions = match oddity {
        Oddity::Dimensions(length) => *length,
        _ => requested.unwrap_or(DIMENSIONS),
    };
    let item = |place: usize| {
        let text = asked["input"].get(place).and_then(Value::as_str);
        let text = text.unwrap_or_default();
        let mut item =
            json!({ "object": "embedding", "index": place, "embedding": vector(text, dimensions) });
        if let (Oddity::NoIndex(at), Some(fields)) = (oddity, item.as_object_mut())
            && at(place)
        {
            fields.remove("index");
        }
        item
    };
    let missing = usize::from(matches!(oddity, Oddity::FewerVectors));
    let data: Vec<Value> = (missing..inputs(asked))
        .map(|place| item(place - missing))
        .collect();
    json!({ "object": "list", "data": data, "model": asked["model"] })
}

/// A vector that shows which text it belongs to: its first number is the text's length.
fn vector(text: &str, dimensions: usize) -> Vec<f64> {
    let mut vector = vec![0.5; dimensions];
    if let Some(first) = vector.first_mut() {
        *first = text.len() as f64;
    }
    vector
}

/// One entry for each post, filled in as the schema of the request says.
fn chat(oddity: &Oddity, asked: &Value) -> String {
    let fields = asked
        .pointer("/response_format/json_schema/schema/properties/posts/items/properties")
        .and_then(Value::as_object);
    let lines = asked["messages"].as_array().into_iter().flatten();
    let lines = lines.filter_map(|message| message["content"].as_str());
    let posts = lines
        .flat_map(str::lines)
        .filter(|line| line.starts_with("{\"index\""))
        .count();
    let entry = |index: usize| {
        let fields = fields.into_iter().flatten();
        let filled = fields.map(|(name, field)| {
            let value = match (name.as_str(), field["type"].as_str()) {
                ("index", _) => json!(index),
                ("summary", _) => json!("SUMMARY"),
                (_, Some("array")) => json!([]),
                (_, Some("string")) => json!("a text"),
                _ => json!(5),
            };
            (name.clone(), value)
        });
        Value::Object(filled.collect::<Map<_, _>>())
    };
    let entries: Vec<Value> = (1..=posts).map(entry).collect();
    let summary = match oddity {
        Oddity::Summary(text) => text,
        _ => "a summary",
    };
    let content = match oddity {
        Oddity::Content(content) => (*content).to_owned(),
        _ => json!({ "posts": entries }).to_string(),
    };
    let choice = json!({
        "index": 0,
        "message": { "role": "assistant", "content": content },
        "finish_reason": "stop",
    });
    // Put in last, because the text is no valid JSON string by itself.
    let body = json!({ "model": asked["model"], "choices": [choice] }).to_string();
    body.replace("SUMMARY", summary)
}
