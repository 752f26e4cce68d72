//! The lines of a batch's files: requests, and their responses.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::super::client::{Client, NoSuccess, Response};
use super::super::head::ResponseHead;
use super::super::manner::{Manner, Refused};
use super::super::response::RawResponse;
use super::super::{
    ChatApi, ChatCompletion, ChatRequest, EmbeddingRequest, Embeddings, Error, ReasoningEffort,
    Usage,
};
use super::BatchEndpoint;

/// A line of a batch's file: one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchLine(Vec<u8>);

#[derive(Serialize)]
struct LineBody<'a, B> {
    custom_id: &'a str,
    method: &'static str,
    url: &'static str,
    body: B,
}

impl BatchLine {
    fn new(custom_id: &str, endpoint: BatchEndpoint, body: impl Serialize) -> Self {
        let line = LineBody {
            custom_id,
            method: "POST",
            url: endpoint.url(),
            body,
        };
        let mut bytes =
            serde_json::to_vec(&line).expect("texts and numbers always have a JSON form");
        bytes.push(b'\n');
        Self(bytes)
    }

    /// The line, with its end.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A line of a batch's output: what became of one request.
#[derive(Debug, Deserialize)]
pub struct OutputLine<'a> {
    /// The name that the request's line has.
    pub custom_id: String,
    #[serde(borrow, default)]
    response: Option<LineResponse<'a>>,
    #[serde(default)]
    error: Option<LineFailure>,
}

#[derive(Debug, Deserialize)]
struct LineResponse<'a> {
    #[serde(default)]
    status_code: u16,
    #[serde(default)]
    request_id: Option<String>,
    #[serde(borrow, default)]
    body: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
struct LineFailure {
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

/// How the lines of a batch ask a language model. It is recorded with the batch, so that any client can read the
/// responses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LineManner {
    /// The model.
    pub model: String,
    api: ChatApi,
    effort: Option<ReasoningEffort>,
    /// What the model had refused before.
    refused: Refused,
}

impl LineManner {
    /// What the requests are sent to.
    pub fn endpoint(&self) -> BatchEndpoint {
        match self.api {
            ChatApi::Chat => BatchEndpoint::ChatCompletions,
            ChatApi::Responses => BatchEndpoint::Responses,
        }
    }
}

/// The part of a response that says what was billed.
#[derive(Deserialize)]
struct Billed {
    usage: Option<Usage>,
}

/// The entries of a response, unread.
#[derive(Deserialize)]
struct Entries<'a> {
    #[serde(borrow, alias = "choices")]
    data: Vec<&'a RawValue>,
}

/// Why a line has no result.
#[derive(Debug)]
pub enum LineError {
    /// It was not done, for this reason: the batch expired or was cancelled, or the provider was overloaded.
    Undone(String),
    /// It was done, and the response is an error or cannot be used.
    Failed(Error),
}

impl<'a> OutputLine<'a> {
    /// Reads a line.
    ///
    /// # Errors
    /// If it is no line of a batch's output.
    pub fn read(line: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(line)
    }

    /// Whether the request has succeeded.
    pub fn is_success(&self) -> bool {
        let response = self.response.as_ref();
        response.is_some_and(|response| (200..300).contains(&response.status_code))
    }

    /// What was billed for it, if the response says it.
    pub fn usage(&self) -> Option<Usage> {
        let body = self.response.as_ref()?.body?;
        serde_json::from_str::<Billed>(body.get()).ok()?.usage
    }

    /// How many entries the response has: vectors or choices.
    pub fn inputs(&self) -> Option<usize> {
        let body = self.response.as_ref()?.body?;
        let entries = serde_json::from_str::<Entries<'_>>(body.get()).ok()?;
        Some(entries.data.len())
    }

    /// The response as if it had come by itself. A request that was not done has none.
    fn whole(&self) -> Result<Result<RawResponse, NoSuccess>, LineError> {
        let Some(response) = &self.response else {
            let failure = self.error.as_ref();
            let code = failure.and_then(|failure| failure.code.as_deref());
            let message = failure.and_then(|failure| failure.message.as_deref());
            let why = [message, code].into_iter().flatten().next();
            return Err(LineError::Undone(why.unwrap_or("no response").to_owned()));
        };
        let head = ResponseHead {
            status: Some(response.status_code),
            request_id: response.request_id.clone(),
            ..ResponseHead::default()
        };
        let body = response.body.map(RawValue::get).unwrap_or_default();
        let body = Bytes::copy_from_slice(body.as_bytes());
        Ok(if self.is_success() {
            Ok(RawResponse { head, body })
        } else {
            Err(NoSuccess::Status(head, response.status_code, body))
        })
    }
}

impl Client {
    /// The line of a request for embeddings.
    pub fn embedding_line(&self, custom_id: &str, request: &EmbeddingRequest<'_>) -> BatchLine {
        BatchLine::new(
            custom_id,
            BatchEndpoint::Embeddings,
            self.embedding_body(request),
        )
    }

    /// How a model is asked in the lines of a batch that is made now, if its requests name this effort.
    pub fn line_manner(&self, model: &str, effort: Option<ReasoningEffort>) -> LineManner {
        LineManner {
            model: model.to_owned(),
            api: self.config.chat_api,
            effort,
            refused: self.learnt.about(model),
        }
    }

    /// The line of a question to a language model.
    pub fn chat_line(
        &self,
        custom_id: &str,
        request: &ChatRequest<'_>,
        asked: &LineManner,
    ) -> BatchLine {
        let model = self.model(request.model);
        let manner = Manner::new(&model, asked.refused);
        let endpoint = asked.endpoint();
        match asked.api {
            ChatApi::Chat => BatchLine::new(custom_id, endpoint, request.body(&manner)),
            ChatApi::Responses => {
                BatchLine::new(custom_id, endpoint, request.responses_body(&manner))
            }
        }
    }

    /// Reads the response to a line of a request for embeddings.
    ///
    /// # Errors
    /// Why it has no vectors.
    pub fn read_embedding_line(
        &self,
        request: &EmbeddingRequest<'_>,
        line: &OutputLine<'_>,
    ) -> Result<Response<Embeddings>, LineError> {
        let read = self.read_embeddings(request, line.whole()?);
        read.map_err(LineError::Failed)
    }

    /// Reads the response to a line with a question to a language model.
    ///
    /// # Errors
    /// Why it has no answer. If the model refuses a parameter of the request, the error is
    /// [`ErrorKind::Adapted`](super::super::ErrorKind::Adapted), and the next batch of this client goes without it.
    pub fn read_chat_line(
        &self,
        asked: &LineManner,
        line: &OutputLine<'_>,
    ) -> Result<Response<Vec<ChatCompletion>>, LineError> {
        let model = self.model(&asked.model);
        let manner = Manner::new(&model, asked.refused);
        let read = self.read_answers((asked.api, &manner, asked.effort), line.whole()?);
        read.map_err(LineError::Failed)
    }
}
