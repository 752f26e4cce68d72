//! The earlier way to recompute, as the Python worker did it. It reads pages of 500 by offset through the API, computes
//! final scores in the client, writes them to the staging table and its progress to the job, page by page, and cuts over
//! in several requests. The worker also read its written rows back; this one does not.

use std::collections::BTreeMap;
use std::time::Instant;

use reqwest::{Client, Method};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Value, json};
use sluice_tests::Stack;
use sluice_tests::oracle::{Novelty, Weights, final_score, stored_scores};
use uuid::Uuid;

/// Rows of a page.
const PAGE: usize = 500;

/// An earlier worker.
pub(crate) struct Earlier {
    http: Client,
    root: String,
    key: String,
    config: Uuid,
    requests: u64,
}

/// How long a run took, in seconds, and how many requests it sent.
pub(crate) struct Took {
    /// Reading, computing and staging.
    pub(crate) pages: f64,
    /// Replacing the old scores.
    pub(crate) cut_over: f64,
    pub(crate) requests: u64,
}

/// What final scores are computed from.
struct Basis {
    weights: Weights,
    novelty: Novelty,
    frequencies: BTreeMap<String, u64>,
    scored: u64,
}

#[derive(Deserialize)]
struct Scored {
    post_id: Uuid,
    scores: Value,
    categories: Vec<String>,
}

impl Earlier {
    /// A worker that recomputes these weights.
    pub(crate) fn new(stack: &Stack, config: Uuid) -> Self {
        // A server that is busy for seconds closes connections that look idle. A new connection costs nothing here.
        let http = Client::builder().pool_max_idle_per_host(0);
        Self {
            http: http.build().unwrap(),
            root: stack.postgrest_url().to_owned(),
            key: stack.key().expose_secret().to_owned(),
            config,
            requests: 0,
        }
    }

    /// Recomputes, and activates if asked to.
    pub(crate) async fn run(mut self, activate: bool) -> Took {
        let started = Instant::now();
        let job = Uuid::new_v4();
        let row = json!({ "id": job, "type": "recompute_final_scores", "status": "running" });
        self.write(Method::POST, "background_jobs", &row).await;
        let this_job = format!("background_jobs?id=eq.{job}");
        let basis = self.basis().await;
        for offset in (0_u64..basis.scored).step_by(PAGE) {
            let page = format!(
                "llm_scores?select=post_id,scores,categories&order=id&offset={offset}&limit={PAGE}"
            );
            let page: Vec<Scored> = serde_json::from_value(self.read(&page).await).unwrap();
            let row = |scored: &Scored| {
                json!({
                    "job_id": job,
                    "post_id": scored.post_id,
                    "weight_config_id": self.config,
                    "final_score": basis.final_score(scored)
                })
            };
            let rows: Vec<Value> = page.iter().map(row).collect();
            self.write(Method::POST, "post_scores_staging", &json!(rows))
                .await;
            let progress = json!({ "progress": offset + rows.len() as u64, "total": basis.scored });
            self.write(Method::PATCH, &this_job, &progress).await;
        }
        let pages = started.elapsed().as_secs_f64();
        self.cut_over(job, activate).await;
        Took {
            pages,
            cut_over: started.elapsed().as_secs_f64() - pages,
            requests: self.requests,
        }
    }

    async fn basis(&mut self) -> Basis {
        let path = format!("weight_configs?select=weights&id=eq.{}", self.config);
        let weights = first(&self.read(&path).await, "weights");
        let path = "settings?select=value&key=eq.novelty_config";
        let novelty = first(&self.read(path).await, "value");
        let rows = self
            .read("topic_frequencies?select=category,count_30d")
            .await;
        let frequency = |row: &Value| {
            let name = row.get("category")?.as_str()?.to_owned();
            Some((name, row.get("count_30d")?.as_u64()?))
        };
        Basis {
            weights: serde_json::from_value(weights).unwrap(),
            novelty: serde_json::from_value(novelty).unwrap(),
            frequencies: rows
                .as_array()
                .unwrap()
                .iter()
                .filter_map(frequency)
                .collect(),
            scored: self.total().await,
        }
    }

    /// The scored posts, counted once.
    async fn total(&mut self) -> u64 {
        self.requests += 1;
        let request = self
            .http
            .head(format!("{}/llm_scores?select=post_id", self.root))
            .header("apikey", &self.key)
            .header("prefer", "count=exact");
        let answer = request.send().await.unwrap();
        let range = answer.headers()["content-range"].to_str().unwrap();
        range.rsplit('/').next().unwrap().parse().unwrap()
    }

    async fn cut_over(&mut self, job: Uuid, activate: bool) {
        let config = self.config;
        let old = format!("post_scores?weight_config_id=eq.{config}");
        self.write(Method::DELETE, &old, &Value::Null).await;
        let apply = json!({ "p_job_id": job, "p_weight_config_id": config });
        self.write(Method::POST, "rpc/apply_post_scores_from_staging", &apply)
            .await;
        if activate {
            let activate = json!({ "p_weight_config_id": config });
            self.write(Method::POST, "rpc/activate_weight_config", &activate)
                .await;
        }
        let path = format!("background_jobs?id=eq.{job}");
        self.write(Method::PATCH, &path, &json!({ "status": "completed" }))
            .await;
    }

    async fn read(&mut self, path: &str) -> Value {
        let text = self.send(Method::GET, path, &Value::Null).await;
        serde_json::from_str(&text).unwrap()
    }

    async fn write(&mut self, method: Method, path: &str, body: &Value) {
        self.send(method, path, body).await;
    }

    async fn send(&mut self, method: Method, path: &str, body: &Value) -> String {
        self.requests += 1;
        let mut request = self
            .http
            .request(method, format!("{}/{path}", self.root))
            .header("apikey", &self.key)
            .header("authorization", format!("Bearer {}", self.key))
            .header("prefer", "return=minimal");
        if !body.is_null() {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{path}: {status} {text}");
        text
    }
}

impl Basis {
    fn final_score(&self, scored: &Scored) -> f64 {
        let novelty = self
            .novelty
            .multiplier(&scored.categories, &self.frequencies, self.scored);
        final_score(&stored_scores(&scored.scores), &self.weights, novelty)
    }
}

/// A value of the first row.
fn first(rows: &Value, key: &str) -> Value {
    rows.as_array()
        .unwrap()
        .first()
        .unwrap()
        .get(key)
        .unwrap()
        .clone()
}
