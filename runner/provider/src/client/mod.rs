//! The client: one call, one request.

mod config;
mod models;
mod response;
mod trace;

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::{RequestBuilder, Url, header::HeaderMap};
use serde::{Serialize, de::DeserializeOwned};
use sluice_sdk::client::why_no_response;

use super::{
    Breakage, ChatCompletion, ChatRequest, EmbeddingRequest, Embeddings, Error, ErrorKind,
    Overload, ReasoningEffort, Tier, Usage,
    classify::{ErrorBody, classify},
    embedding::EmbeddingBody,
    error::{Failure, excerpt},
    head::ResponseHead,
    manner::{Learnt, Manner},
    response::{BodyError, Incomplete, RawResponse, ResponseBody, parse, read_body},
};
use trace::{Operation, traced};

pub use config::{ChatApi, ClientConfig, ClientConfigError, KeyHeader};
pub use response::Response;

/// The most bytes of a response: well above 2048 vectors of 3072 numbers written as text.
const MAX_RESPONSE_BYTES: usize = 256 << 20;

/// The most bytes that are read of a response that is no success.
const MAX_ERROR_BYTES: usize = 64 << 10;

/// A client for one provider and one key.
///
/// Each call sends exactly one request, whether it ends in a [`Response`] or an [`Error`]. So the
/// callers can count requests by counting calls. They also wait and retry. Dropping the future drops
/// the request, which may have been billed already.
///
/// ```no_run
/// # async fn embed() -> Result<(), Box<dyn std::error::Error>> {
/// use sluice_provider::{Client, ClientConfig, Deadlines, EmbeddingRequest, http_client};
///
/// let http = http_client(&Deadlines::default())?;
/// let client = Client::new(http, ClientConfig::new("a key".into()))?;
/// let inputs = ["The gnome is back.", "Free couch on 5th."];
/// let request = EmbeddingRequest {
///     model: "text-embedding-3-small",
///     inputs: &inputs,
///     dimensions: Some(1536),
/// };
/// let response = client.embed(&request).await?;
/// assert_eq!(response.value.vectors.len(), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    pub(super) http: reqwest::Client,
    base: Url,
    pub(super) headers: HeaderMap,
    pub(super) config: ClientConfig,
    /// What the models of this client have refused. Clones share it.
    pub(super) learnt: Arc<Learnt>,
}

/// Why a request has no successful response.
pub(super) enum NoSuccess {
    /// The response is no success, but has this status.
    Status(ResponseHead, u16, Bytes),
    /// There is no whole response.
    Error(Error),
}

impl Client {
    /// A client over the process's shared [HTTP client](super::http_client).
    ///
    /// # Errors
    /// [`ClientConfigError`] if the base URL is no web address, or the key or the organization cannot
    /// stand in a header.
    pub fn new(http: reqwest::Client, config: ClientConfig) -> Result<Self, ClientConfigError> {
        let mut base = Url::parse(&config.base_url).map_err(|_| ClientConfigError::BaseUrl)?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(ClientConfigError::BaseUrl);
        }
        if let Some(version) = &config.api_version {
            base.query_pairs_mut().append_pair("api-version", version);
        }
        Ok(Self {
            http,
            base,
            headers: config.headers()?,
            config,
            learnt: Arc::default(),
        })
    }

    /// Embeds each input.
    ///
    /// Source: `POST /v1/embeddings`.
    ///
    /// # Errors
    /// [`Error`], whose kind says what to do. If one vector is missing or cannot be used, the whole
    /// response is [`ErrorKind::Broken`].
    pub async fn embed(
        &self,
        request: &EmbeddingRequest<'_>,
    ) -> Result<Response<Embeddings>, Error> {
        let exchange = async {
            let body = self.embedding_body(request);
            let response = self.post("embeddings", &body).await;
            self.read_embeddings(request, response)
        };
        traced(
            (&self.base, self.config.key_header),
            (Operation::Embeddings, request.model),
            exchange,
        )
        .await
    }

    /// The body of a request for embeddings.
    pub(super) fn embedding_body<'a>(&self, request: &EmbeddingRequest<'a>) -> EmbeddingBody<'a> {
        let send_dimensions = self.config.send_dimensions;
        let send_dimensions =
            send_dimensions.unwrap_or_else(|| self.model(request.model).dimensions());
        request.body(self.config.vectors, send_dimensions)
    }

    pub(super) fn read_embeddings(
        &self,
        request: &EmbeddingRequest<'_>,
        response: Result<RawResponse, NoSuccess>,
    ) -> Result<Response<Embeddings>, Error> {
        let response = response.map_err(|failure| {
            self.refused(failure, |error, status, retry_after| {
                classify(status, error, retry_after, request.inputs.len())
            })
        })?;
        self.read(response, request.model, request.inputs.len(), |data, _| {
            request.arrange(data)
        })
    }

    /// Sends a question to a language model. The response has as many answers as were asked for, or fewer.
    ///
    /// Source: `POST /v1/chat/completions`, or `POST /v1/responses`.
    ///
    /// # Errors
    /// [`Error`], whose kind says what to do. An answer that the model refuses, breaks off or has
    /// withheld is no error but a [`ChatCompletion`].
    pub async fn chat(
        &self,
        request: &ChatRequest<'_>,
    ) -> Result<Response<Vec<ChatCompletion>>, Error> {
        let model = self.model(request.model);
        let manner = Manner::new(&model, self.learnt.about(request.model));
        let api = self.config.chat_api;
        let exchange = async {
            let response = match api {
                ChatApi::Chat => self.post("chat/completions", &request.body(&manner)).await,
                ChatApi::Responses => {
                    self.post("responses", &request.responses_body(&manner))
                        .await
                }
            };
            self.read_answers((api, &manner, request.reasoning_effort), response)
        };
        traced(
            (&self.base, self.config.key_header),
            (Operation::Chat, request.model),
            exchange,
        )
        .await
    }

    /// Reads the response to a question that was sent to this API in this manner, and named this effort.
    pub(super) fn read_answers(
        &self,
        (api, manner, effort): (ChatApi, &Manner<'_>, Option<ReasoningEffort>),
        response: Result<RawResponse, NoSuccess>,
    ) -> Result<Response<Vec<ChatCompletion>>, Error> {
        let response = response.map_err(|failure| {
            self.refused(failure, |error, status, retry_after| {
                if matches!(status, 400 | 422) && self.learnt.learn(manner, effort, error) {
                    ErrorKind::Adapted
                } else {
                    classify(status, error, retry_after, 1)
                }
            })
        })?;
        let model = manner.model_name();
        match api {
            ChatApi::Chat => self.read(response, model, 1, |choices, _| {
                ChatCompletion::read(choices)
            }),
            ChatApi::Responses => self.read(response, model, 1, ChatCompletion::of_output),
        }
    }

    /// Sends the body once, and reads a successful response to its end.
    async fn post(&self, path: &str, body: &impl Serialize) -> Result<RawResponse, NoSuccess> {
        let body = serde_json::to_vec(body).expect("texts and numbers always have a JSON form");
        let request = self
            .http
            .post(self.address(path))
            .headers(self.headers.clone())
            .body(body);
        self.send(request).await
    }

    /// Sends a request once, and reads a successful response to its end.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<RawResponse, NoSuccess> {
        let response = self.open(request).await?;
        let head = ResponseHead::read(&response, Timestamp::now());
        match read_body(response, MAX_RESPONSE_BYTES).await {
            Ok(body) => Ok(RawResponse { head, body }),
            Err(BodyError::Transport(error)) => {
                Err(NoSuccess::Error(self.unreachable(&error, head)))
            }
            Err(BodyError::TooLong { limit }) => Err(NoSuccess::Error(self.broken(
                head,
                Breakage::TooLong { limit },
                None,
            ))),
        }
    }

    /// Sends a request once. A successful response is still to be read.
    pub(super) async fn open(
        &self,
        request: RequestBuilder,
    ) -> Result<reqwest::Response, NoSuccess> {
        let response = request
            .send()
            .await
            .map_err(|error| NoSuccess::Error(self.unreachable(&error, ResponseHead::default())))?;
        let head = ResponseHead::read(&response, Timestamp::now());
        if !response.status().is_success() {
            let status = response.status().as_u16();
            // The status says enough if the body cannot be read.
            let body = read_body(response, MAX_ERROR_BYTES)
                .await
                .unwrap_or_default();
            return Err(NoSuccess::Status(head, status, body));
        }
        Ok(response)
    }

    /// The address of an endpoint, with the query of the base URL.
    pub(super) fn address(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}/{path}"));
        url
    }

    fn read<I: DeserializeOwned, T>(
        &self,
        RawResponse { head, body }: RawResponse,
        requested_model: &str,
        inputs: usize,
        arrange: impl FnOnce(Vec<I>, Option<&Incomplete>) -> Result<T, Breakage>,
    ) -> Result<Response<T>, Error> {
        let ResponseBody {
            items,
            model,
            usage,
            service_tier,
            incomplete_details,
        } = match parse(&body) {
            Ok(parsed) => parsed,
            Err(breakage) => return Err(self.unusable(head, &body, inputs, breakage, None)),
        };
        match arrange(items, incomplete_details.as_ref()) {
            Ok(value) => Ok(Response {
                value,
                usage,
                rate: head.rate,
                request_id: head.request_id,
                model: model.unwrap_or_else(|| requested_model.to_owned()),
                tier: service_tier.as_deref().map(Tier::of_response),
            }),
            Err(breakage) => Err(self.unusable(head, &body, inputs, breakage, usage)),
        }
    }

    /// The error of a response with a status of success that cannot be used. Some gateways send errors with such a
    /// status, and so does the Responses API.
    fn unusable(
        &self,
        head: ResponseHead,
        body: &[u8],
        inputs: usize,
        breakage: Breakage,
        usage: Option<Usage>,
    ) -> Error {
        match ErrorBody::disguised(body) {
            Some((status, error)) => {
                let kind = classify(status, &error, head.retry_after, inputs);
                self.failed(kind, head, &error)
            }
            None => self.broken(head, breakage, usage),
        }
    }

    pub(super) fn broken(
        &self,
        head: ResponseHead,
        breakage: Breakage,
        usage: Option<Usage>,
    ) -> Error {
        let kind = ErrorKind::Broken(match breakage {
            // This text quotes the response.
            Breakage::Shape(text) => Breakage::Shape(self.excerpt(&text)),
            breakage => breakage,
        });
        Error::new(Failure {
            usage,
            ..Failure::new(kind, head)
        })
    }

    /// The error of a request, whose kind the endpoint decides if there was a response.
    pub(super) fn refused(
        &self,
        failure: NoSuccess,
        kind: impl FnOnce(&ErrorBody, u16, Option<Duration>) -> ErrorKind,
    ) -> Error {
        let (head, status, body) = match failure {
            NoSuccess::Error(error) => return error,
            NoSuccess::Status(head, status, body) => (head, status, body),
        };
        let error = ErrorBody::read(&body).unwrap_or_default();
        let kind = kind(&error, status, head.retry_after);
        self.failed(kind, head, &error)
    }

    fn failed(&self, kind: ErrorKind, head: ResponseHead, error: &ErrorBody) -> Error {
        Error::new(Failure {
            code: error.name().map(|text| self.excerpt(text)),
            message: error.message.as_deref().map(|text| self.excerpt(text)),
            ..Failure::new(kind, head)
        })
    }

    pub(super) fn unreachable(&self, error: &reqwest::Error, head: ResponseHead) -> Error {
        // A connection that is not made in time is both; nothing was sent over it.
        let cause = if error.is_connect() {
            Overload::Unreachable
        } else if error.is_timeout() {
            Overload::Timeout
        } else {
            Overload::Connection
        };
        let kind = ErrorKind::Overloaded {
            cause,
            retry_after: None,
        };
        Error::new(Failure {
            message: Some(self.excerpt(&why_no_response(error))),
            ..Failure::new(kind, head)
        })
    }

    fn excerpt(&self, text: &str) -> String {
        excerpt(text, &self.config.key)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Deadlines, http_client},
        *,
    };

    fn client(change: impl FnOnce(&mut ClientConfig)) -> Result<Client, ClientConfigError> {
        let mut config = ClientConfig::new("sk-secret".into());
        change(&mut config);
        Client::new(http_client(&Deadlines::default()).unwrap(), config)
    }

    #[test]
    fn the_path_stands_before_the_query() {
        for (base, expected) in [
            (
                "http://127.0.0.1:1234/v1",
                "http://127.0.0.1:1234/v1/embeddings",
            ),
            ("https://host/v1/", "https://host/v1/embeddings"),
            (
                "https://host/openai?api-version=1",
                "https://host/openai/embeddings?api-version=1",
            ),
        ] {
            let client = client(|config| base.clone_into(&mut config.base_url)).unwrap();
            assert_eq!(client.address("embeddings").as_str(), expected);
        }
        let azure = client(|config| {
            "https://host/openai/deployments/small?x=1".clone_into(&mut config.base_url);
            config.api_version = Some("2024-10-21".to_owned());
        });
        let expected =
            "https://host/openai/deployments/small/embeddings?x=1&api-version=2024-10-21";
        assert_eq!(azure.unwrap().address("embeddings").as_str(), expected);
    }

    #[test]
    fn an_unusable_configuration_is_refused_before_anything_is_sent() {
        for base in ["", "api.openai.com", "ftp://host", "localhost:8080/v1"] {
            let refused = client(|config| base.clone_into(&mut config.base_url));
            assert_eq!(refused.unwrap_err(), ClientConfigError::BaseUrl, "{base}");
        }
        let key = client(|config| config.key = "sk\n".into());
        assert_eq!(key.unwrap_err(), ClientConfigError::Key);
        let organization = client(|config| config.organization = Some("a\0".to_owned()));
        assert_eq!(organization.unwrap_err(), ClientConfigError::Organization);
    }

    #[test]
    fn the_key_stands_in_its_header_and_nowhere_else() {
        let client = client(|_| {}).unwrap();
        assert_eq!(client.headers["authorization"], "Bearer sk-secret");
        assert!(!client.headers.contains_key("api-key"));
        let azure = self::client(|config| config.key_header = KeyHeader::ApiKey).unwrap();
        assert_eq!(azure.headers["api-key"], "sk-secret");
        assert!(!azure.headers.contains_key("authorization"));
        for client in [client, azure] {
            assert!(!format!("{client:?} {:?}", client.headers).contains("sk-secret"));
        }
    }
}
