//! The simulator by plain HTTP, without the client.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot run has failed"
)]

mod batch_faults;
mod batches;
mod models;
mod money;
mod responses;

use std::time::Duration;

use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};
use sluice_simulator::{Config, Simulator, start};

/// A simulator, and the requests that the tests send to it.
struct Api {
    simulator: Simulator,
    client: Client,
}

impl Api {
    async fn start(config: Config) -> Self {
        Self {
            simulator: start(config).await.unwrap(),
            client: Client::builder().build().unwrap(),
        }
    }

    /// A simulator with a configuration in JSON.
    async fn with(config: Value) -> Self {
        Self::start(serde_json::from_value(config).unwrap()).await
    }

    fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.simulator.base_url());
        let request = self.client.request(method.parse().unwrap(), url);
        request.bearer_auth("sk-any")
    }

    async fn get(&self, path: &str) -> Answer {
        Answer::read(self.request("GET", path)).await
    }

    async fn delete(&self, path: &str) -> Answer {
        Answer::read(self.request("DELETE", path)).await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        Answer::read(self.request("POST", path).body(body.to_string())).await
    }

    /// Changes the configuration while it runs.
    fn change(&self, change: Value) {
        let change = serde_json::from_value(change).unwrap();
        self.simulator.change(change).unwrap();
    }
}

/// The status and the body of a response.
#[derive(Debug)]
struct Answer {
    status: u16,
    body: Value,
}

impl Answer {
    /// Panics if the response does not arrive whole.
    async fn read(request: RequestBuilder) -> Self {
        Self::whole(request.send().await.unwrap()).await.unwrap()
    }

    async fn whole(response: Response) -> reqwest::Result<Self> {
        let status = response.status().as_u16();
        let body = response.bytes().await?;
        let body =
            serde_json::from_slice(&body).unwrap_or_else(|_| json!(String::from_utf8_lossy(&body)));
        Ok(Self { status, body })
    }

    /// The body of a success.
    fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.body);
        self.body
    }

    /// The status, the code and the parameter of an error.
    fn error(&self) -> (u16, Option<&str>, Option<&str>) {
        let error = &self.body["error"];
        assert!(error["message"].is_string(), "{self:?}");
        (self.status, error["code"].as_str(), error["param"].as_str())
    }
}

/// Files and batches.
impl Api {
    /// The request that uploads a file.
    fn upload_request(&self, purpose: &str, content: &str) -> RequestBuilder {
        let form = format!(
            "--edge\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\n{purpose}\r\n\
             --edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"in.jsonl\"\r\n\
             Content-Type: application/jsonl\r\n\r\n{content}\r\n--edge--\r\n"
        );
        let kind = "multipart/form-data; boundary=edge";
        self.request("POST", "/files")
            .header("content-type", kind)
            .body(form)
    }

    /// Uploads these lines, and returns the id of the file.
    async fn upload(&self, lines: &[Value]) -> String {
        let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
        let file = Answer::read(self.upload_request("batch", &lines.join("\n")))
            .await
            .ok();
        file["id"].as_str().unwrap().to_owned()
    }

    async fn try_create(&self, file: &str, endpoint: &str) -> Answer {
        let body = json!({"input_file_id": file, "endpoint": endpoint, "completion_window": "24h",
            "metadata": {"intent": file}});
        self.post("/batches", &body).await
    }

    /// Creates a batch with these lines, and returns its id.
    async fn create(&self, endpoint: &str, lines: &[Value]) -> String {
        let file = self.upload(lines).await;
        let batch = self.try_create(&file, endpoint).await.ok();
        assert_eq!(batch["status"], "validating");
        batch["id"].as_str().unwrap().to_owned()
    }

    /// Waits until nothing happens to a batch any more.
    async fn ended(&self, id: &str) -> Value {
        for _ in 0..2_000 {
            let batch = self.get(&format!("/batches/{id}")).await.ok();
            let status = batch["status"].as_str().unwrap();
            if ["failed", "completed", "expired", "cancelled"].contains(&status) {
                return batch;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{id} does not end");
    }

    /// The lines of the file that the batch names here; none if it names none.
    async fn lines(&self, batch: &Value, key: &str) -> Vec<Value> {
        let Some(id) = batch[key].as_str() else {
            return Vec::new();
        };
        let request = self.request("GET", &format!("/files/{id}/content"));
        let content = request.send().await.unwrap().text().await.unwrap();
        content
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

const EMBEDDINGS: &str = "/v1/embeddings";
const CHAT: &str = "/v1/chat/completions";

/// A line of a batch.
fn line(custom_id: &str, url: &str, body: &Value) -> Value {
    json!({"custom_id": custom_id, "method": "POST", "url": url, "body": body})
}

/// Lines that embed one text each. Their ids are `row-0`, `row-1` and so on.
fn embedding_lines(texts: &[&str]) -> Vec<Value> {
    let lines = texts.iter().enumerate().map(|(index, text)| {
        let body = json!({"model": "text-embedding-3-small", "input": [text], "dimensions": 8});
        line(&format!("row-{index}"), EMBEDDINGS, &body)
    });
    lines.collect()
}

/// A request that scores one post.
fn score(model: &str, text: &str) -> Value {
    let post = json!({"index": 1, "text": text}).to_string();
    json!({
        "model": model,
        "messages": [
            {"role": "system", "content": "Score."},
            {"role": "user", "content": post},
        ],
        "response_format": {"type": "json_schema", "json_schema":
            {"name": "scores", "strict": true, "schema": schema()}},
    })
}

fn schema() -> Value {
    json!({
        "type": "object", "required": ["posts"], "additionalProperties": false,
        "properties": {"posts": {"type": "array", "items": {
            "type": "object", "required": ["index", "drama"], "additionalProperties": false,
            "properties": {"index": {"type": "integer"}, "drama": {"type": "number"}},
        }}},
    })
}
