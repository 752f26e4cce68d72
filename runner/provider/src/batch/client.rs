//! The calls: files and batches.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use reqwest::multipart::{Form, Part};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

use super::super::Error;
use super::super::classify::classify;
use super::super::client::{Client, NoSuccess};
use super::super::error::Breakage;
use super::super::head::ResponseHead;
use super::{BatchEndpoint, Page, ProviderBatch, ProviderFile};

/// How long a file may take, there or back.
const FILE_TIMEOUT: Duration = Duration::from_secs(900);

#[derive(Serialize)]
struct CreateBody<'a> {
    input_file_id: &'a str,
    endpoint: &'static str,
    completion_window: &'static str,
    metadata: &'a BTreeMap<String, String>,
}

impl Client {
    /// Uploads the file of a batch: `bytes` bytes of `file`, from where it stands.
    ///
    /// Source: `POST /v1/files`.
    ///
    /// # Errors
    /// As every call.
    pub async fn upload_batch_file(
        &self,
        name: &str,
        file: File,
        bytes: u64,
    ) -> Result<ProviderFile, Error> {
        let part = Part::stream_with_length(reqwest::Body::from(file), bytes);
        let part = part.file_name(name.to_owned());
        let form = Form::new().text("purpose", "batch").part("file", part);
        let request = self.request(Method::POST, "files", &[]);
        self.json(request.multipart(form).timeout(FILE_TIMEOUT))
            .await
    }

    /// A page of the files that were uploaded for batches, after the one of this id.
    ///
    /// Source: `GET /v1/files`.
    ///
    /// # Errors
    /// As every call.
    pub async fn batch_files(&self, after: Option<&str>) -> Result<Page<ProviderFile>, Error> {
        let query = [("purpose", Some("batch")), ("after", after)];
        self.json(self.request(Method::GET, "files", &query)).await
    }

    /// Deletes a file. A file that is gone already is fine.
    ///
    /// Source: `DELETE /v1/files/{id}`.
    ///
    /// # Errors
    /// As every call.
    pub async fn delete_file(&self, id: &str) -> Result<(), Error> {
        let request = self.request(Method::DELETE, &format!("files/{id}"), &[]);
        match self
            .send(request)
            .await
            .map_err(|failure| self.failure(failure))
        {
            Err(error) if !error.is_missing() => Err(error),
            _ => Ok(()),
        }
    }

    /// Writes the content of a file into `to`. Returns how many bytes it has.
    ///
    /// Source: `GET /v1/files/{id}/content`.
    ///
    /// # Errors
    /// As every call, and if `to` cannot be written.
    pub async fn download(&self, id: &str, to: &mut File) -> Result<u64, Error> {
        let request = self.request(Method::GET, &format!("files/{id}/content"), &[]);
        let opened = self.open(request.timeout(FILE_TIMEOUT)).await;
        let mut response = opened.map_err(|failure| self.failure(failure))?;
        let mut bytes = 0;
        loop {
            let chunk = response.chunk().await;
            let chunk = chunk.map_err(|error| self.unreachable(&error, ResponseHead::default()))?;
            let Some(chunk) = chunk else { break };
            self.write(to.write_all(&chunk).await)?;
            bytes += chunk.len() as u64;
        }
        self.write(to.flush().await)?;
        Ok(bytes)
    }

    /// Makes a batch of an uploaded file.
    ///
    /// Source: `POST /v1/batches`.
    ///
    /// # Errors
    /// As every call. If [`Error::is_queue_full`], the account's queue has no room for it now.
    pub async fn create_batch(
        &self,
        endpoint: BatchEndpoint,
        file_id: &str,
        metadata: &BTreeMap<String, String>,
    ) -> Result<ProviderBatch, Error> {
        let body = CreateBody {
            input_file_id: file_id,
            endpoint: endpoint.url(),
            completion_window: "24h",
            metadata,
        };
        let body = encoded(&body);
        let request = self.request(Method::POST, "batches", &[]);
        let request = request.header(CONTENT_TYPE, "application/json").body(body);
        self.json(request).await
    }

    /// A batch as it is now.
    ///
    /// Source: `GET /v1/batches/{id}`.
    ///
    /// # Errors
    /// As every call.
    pub async fn batch(&self, id: &str) -> Result<ProviderBatch, Error> {
        let request = self.request(Method::GET, &format!("batches/{id}"), &[]);
        self.json(request).await
    }

    /// A page of the batches, after the one of this id.
    ///
    /// Source: `GET /v1/batches`.
    ///
    /// # Errors
    /// As every call.
    pub async fn batches(&self, after: Option<&str>) -> Result<Page<ProviderBatch>, Error> {
        let query = [("limit", Some("100")), ("after", after)];
        self.json(self.request(Method::GET, "batches", &query))
            .await
    }

    /// Asks to cancel a batch. What is done by then is billed, and can be collected.
    ///
    /// Source: `POST /v1/batches/{id}/cancel`.
    ///
    /// # Errors
    /// As every call.
    pub async fn cancel_batch(&self, id: &str) -> Result<ProviderBatch, Error> {
        let request = self.request(Method::POST, &format!("batches/{id}/cancel"), &[]);
        self.json(request).await
    }

    /// A request with the key, and these pairs in its query.
    fn request(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, Option<&str>)],
    ) -> reqwest::RequestBuilder {
        let mut url = self.address(path);
        for (name, value) in query {
            if let Some(value) = value {
                url.query_pairs_mut().append_pair(name, value);
            }
        }
        let mut headers = self.headers.clone();
        headers.remove(CONTENT_TYPE);
        self.http.request(method, url).headers(headers)
    }

    async fn json<T: DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<T, Error> {
        let sent = self.send(request).await;
        let response = sent.map_err(|failure| self.failure(failure))?;
        serde_json::from_slice(&response.body)
            .map_err(|error| self.broken(response.head, Breakage::Shape(error.to_string()), None))
    }

    fn failure(&self, failure: NoSuccess) -> Error {
        self.refused(failure, |error, status, retry_after| {
            classify(status, error, retry_after, 1)
        })
    }

    fn write(&self, written: std::io::Result<()>) -> Result<(), Error> {
        written.map_err(|error| {
            let what = format!("its content cannot be written to the temporary folder: {error}");
            self.broken(ResponseHead::default(), Breakage::Shape(what), None)
        })
    }
}

fn encoded(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("texts always have a JSON form")
}
