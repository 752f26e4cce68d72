//! The client: one call, one request.

use std::fmt;

use jiff::Timestamp;
use reqwest::{
    StatusCode, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    Breakage, ChatCompletion, ChatRequest, EmbeddingRequest, Embeddings, Error, ErrorKind,
    Overload, RateHeaders, Usage,
    classify::{Complaint, classify},
    error::{Inner, short},
    model::takes_dimensions,
    reply::{BodyError, Head, Reply, Wire, parse, read_body},
};

/// Where `OpenAI` answers.
pub const DEFAULT_BASE_URL: &str = "https://api.openai.com/v1";

/// The most bytes of an answer: well above 2048 vectors of 3072 numbers written as text.
const MAX_ANSWER_BYTES: usize = 256 << 20;

/// The most bytes that are read of a refusal.
const MAX_REFUSAL_BYTES: usize = 64 << 10;

/// The most bytes of an unreadable body that are looked at for a report.
const MAX_CUT_BYTES: usize = 4 << 10;

const ORGANIZATION: &str = "openai-organization";
const API_KEY: HeaderName = HeaderName::from_static("api-key");

/// Whom to ask, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The address in front of `/embeddings`, such as [`DEFAULT_BASE_URL`]; a query in it is kept.
    pub base_url: String,
    /// The key; may be empty for servers that want none.
    pub key: SecretString,
    /// Where the key stands.
    pub key_header: KeyHeader,
    /// The organization to bill, where the key belongs to several.
    pub organization: Option<String>,
    /// Added to every address as `api-version`, for servers that ask for it.
    pub api_version: Option<String>,
    /// How vectors are asked for. Either form is read, whatever was asked for.
    pub vectors: VectorEncoding,
    /// Whether to send the number of dimensions; where it is not given, the model's name
    /// [decides](super::takes_dimensions).
    pub send_dimensions: Option<bool>,
}

impl Settings {
    /// `OpenAI` itself, with this key.
    pub fn new(key: SecretString) -> Self {
        Self {
            base_url: DEFAULT_BASE_URL.to_owned(),
            key,
            key_header: KeyHeader::default(),
            organization: None,
            api_version: None,
            vectors: VectorEncoding::default(),
            send_dimensions: None,
        }
    }
}

/// The header that carries the key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KeyHeader {
    /// `Authorization: Bearer KEY`, as `OpenAI` wants it.
    #[default]
    Authorization,
    /// `api-key: KEY`, as Azure wants it.
    ApiKey,
}

/// The form in which vectors are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum VectorEncoding {
    /// Little-endian bytes in base64: a quarter of the size of numbers, and far cheaper to read.
    #[default]
    Base64,
    /// Numbers, for servers that refuse base64.
    Float,
}

/// Settings that no request can be made of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The base URL is not an `http` or `https` address.
    #[error(
        "the provider's base URL must start with http:// or https://, as {DEFAULT_BASE_URL} does"
    )]
    BaseUrl,
    /// The key cannot stand in a header.
    #[error("the key holds a line break or another control character: copy it again")]
    Key,
    /// The organization cannot stand in a header.
    #[error("the organization holds a line break or another control character: copy it again")]
    Organization,
}

/// A client for one provider and one key.
///
/// Each call sends exactly one request, whether it ends in an [`Answer`] or an [`Error`], so callers
/// count requests by counting calls. Waiting and retrying are theirs as well. Dropping the future
/// drops the request, which may have been billed by then.
///
/// ```no_run
/// # async fn embed() -> Result<(), Box<dyn std::error::Error>> {
/// use sluice_provider::{Client, Deadlines, EmbeddingRequest, Settings, http_client};
///
/// let http = http_client(&Deadlines::default())?;
/// let client = Client::new(http, Settings::new("a key".into()))?;
/// let inputs = ["The gnome is back.", "Free couch on 5th."];
/// let request = EmbeddingRequest {
///     model: "text-embedding-3-small",
///     inputs: &inputs,
///     dimensions: Some(1536),
/// };
/// let answer = client.embed(&request).await?;
/// assert_eq!(answer.value.vectors.len(), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    headers: HeaderMap,
    settings: Settings,
}

/// An answer, and what came with it.
#[derive(Clone, Debug)]
pub struct Answer<T> {
    /// What was asked for.
    pub value: T,
    /// What was billed; some servers do not say.
    pub usage: Option<Usage>,
    /// The state of the limits.
    pub rate: RateHeaders,
    /// The name under which the provider's support finds the request.
    pub request_id: Option<String>,
    /// The model that answered, by its own account; the one that was asked where it gives none.
    pub model: String,
}

impl Client {
    /// A client over the process's shared [HTTP client](super::http_client).
    ///
    /// # Errors
    /// [`SettingsError`] where the base URL is no web address, or the key or organization cannot
    /// stand in a header.
    pub fn new(http: reqwest::Client, settings: Settings) -> Result<Self, SettingsError> {
        let mut base = Url::parse(&settings.base_url).map_err(|_| SettingsError::BaseUrl)?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(SettingsError::BaseUrl);
        }
        if let Some(version) = &settings.api_version {
            base.query_pairs_mut().append_pair("api-version", version);
        }
        let headers = headers(&settings)?;
        Ok(Self {
            http,
            base,
            headers,
            settings,
        })
    }

    /// Embeds each input.
    ///
    /// Source: `POST /v1/embeddings`.
    ///
    /// # Errors
    /// [`Error`], whose kind says what to do; an answer that lacks a vector, or has one that cannot
    /// be used, is [`ErrorKind::Broken`] as a whole.
    pub async fn embed(&self, request: &EmbeddingRequest<'_>) -> Result<Answer<Embeddings>, Error> {
        let send_dimensions = self
            .settings
            .send_dimensions
            .unwrap_or_else(|| takes_dimensions(request.model));
        let body = request.body(self.settings.vectors, send_dimensions);
        let reply = self.post("embeddings", &body).await?;
        self.read(reply, request.model, |data| request.arrange(data))
    }

    /// Asks a language model.
    ///
    /// Source: `POST /v1/chat/completions`.
    ///
    /// # Errors
    /// [`Error`], whose kind says what to do. A refusal, a cut or a filtered answer is no error but a
    /// [`ChatCompletion`].
    pub async fn chat(&self, request: &ChatRequest<'_>) -> Result<Answer<ChatCompletion>, Error> {
        let reply = self.post("chat/completions", &request.body()).await?;
        self.read(reply, request.model, ChatCompletion::read)
    }

    /// Sends the body once, and reads a successful answer to its end.
    async fn post(&self, path: &str, body: &impl Serialize) -> Result<Reply, Error> {
        let body = serde_json::to_vec(body).expect("texts and numbers always have a JSON form");
        let request = self
            .http
            .post(self.address(path))
            .headers(self.headers.clone())
            .body(body);
        let response = request
            .send()
            .await
            .map_err(|error| self.unreachable(error, Head::default()))?;
        let head = Head::read(&response, Timestamp::now());
        if !response.status().is_success() {
            let status = response.status();
            // The status says enough where the words cannot be read.
            let body = read_body(response, MAX_REFUSAL_BYTES)
                .await
                .unwrap_or_default();
            return Err(self.refused(head, status, &body));
        }
        match read_body(response, MAX_ANSWER_BYTES).await {
            Ok(body) => Ok(Reply { head, body }),
            Err(BodyError::Transport(error)) => Err(self.unreachable(error, head)),
            Err(BodyError::TooLong { limit }) => {
                Err(self.broken(head, Breakage::TooLong { limit }, None, &[]))
            }
        }
    }

    /// The address of an endpoint, with the query of the base URL.
    fn address(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}/{path}"));
        url
    }

    fn read<I: DeserializeOwned, T>(
        &self,
        Reply { head, body }: Reply,
        asked: &str,
        arrange: impl FnOnce(Vec<I>) -> Result<T, Breakage>,
    ) -> Result<Answer<T>, Error> {
        let Wire {
            items,
            model,
            usage,
        } = match parse(&body) {
            Ok(wire) => wire,
            Err(breakage) => return Err(self.broken(head, breakage, None, &body)),
        };
        match arrange(items) {
            Ok(value) => Ok(Answer {
                value,
                usage,
                rate: head.rate,
                request_id: head.request_id,
                model: model.unwrap_or_else(|| asked.to_owned()),
            }),
            Err(breakage) => Err(self.broken(head, breakage, usage, &body)),
        }
    }

    fn broken(&self, head: Head, breakage: Breakage, usage: Option<Usage>, body: &[u8]) -> Error {
        let kind = ErrorKind::Broken(match breakage {
            // It quotes what stands in the wrong place.
            Breakage::Shape(said) => Breakage::Shape(short(&said, &self.settings.key)),
            breakage => breakage,
        });
        Error::new(Inner {
            kind,
            head,
            code: None,
            message: None,
            usage,
            body: self.cut(body),
        })
    }

    fn refused(&self, head: Head, status: StatusCode, body: &[u8]) -> Error {
        let read = Complaint::read(body);
        let unread = if read.is_none() { self.cut(body) } else { None };
        let complaint = read.unwrap_or_default();
        let kind = classify(status.as_u16(), &complaint, head.retry_after);
        let short = |text: &str| short(text, &self.settings.key);
        Error::new(Inner {
            kind,
            head,
            code: complaint.name().map(short),
            message: complaint.message.as_deref().map(short),
            usage: None,
            body: unread,
        })
    }

    fn unreachable(&self, error: reqwest::Error, head: Head) -> Error {
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
        let message = Some(short(&root_cause(&error.without_url()), &self.settings.key));
        Error::new(Inner {
            kind,
            head,
            code: None,
            message,
            usage: None,
            body: None,
        })
    }

    /// The head of a body that could not be read, for whoever has to find out why.
    fn cut(&self, body: &[u8]) -> Option<String> {
        let head = body.get(..MAX_CUT_BYTES).unwrap_or(body);
        Some(short(&String::from_utf8_lossy(head), &self.settings.key))
            .filter(|text| !text.is_empty())
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

fn headers(settings: &Settings) -> Result<HeaderMap, SettingsError> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let key = settings.key.expose_secret();
    if !key.is_empty() {
        let (name, value) = match settings.key_header {
            KeyHeader::Authorization => (AUTHORIZATION, format!("Bearer {key}")),
            KeyHeader::ApiKey => (API_KEY, key.to_owned()),
        };
        let mut value = HeaderValue::try_from(value).map_err(|_| SettingsError::Key)?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    if let Some(organization) = &settings.organization {
        let name = HeaderValue::try_from(organization);
        headers.insert(ORGANIZATION, name.map_err(|_| SettingsError::Organization)?);
    }
    Ok(headers)
}

/// The innermost reason, which is the one that says something ("connection refused").
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Deadlines, http_client},
        *,
    };

    fn client(change: impl FnOnce(&mut Settings)) -> Result<Client, SettingsError> {
        let mut settings = Settings::new("sk-secret".into());
        change(&mut settings);
        Client::new(http_client(&Deadlines::default()).unwrap(), settings)
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
            let client = client(|settings| base.clone_into(&mut settings.base_url)).unwrap();
            assert_eq!(client.address("embeddings").as_str(), expected);
        }
        let azure = client(|settings| {
            "https://host/openai/deployments/small?x=1".clone_into(&mut settings.base_url);
            settings.api_version = Some("2024-10-21".to_owned());
        });
        let expected =
            "https://host/openai/deployments/small/embeddings?x=1&api-version=2024-10-21";
        assert_eq!(azure.unwrap().address("embeddings").as_str(), expected);
    }

    #[test]
    fn unusable_settings_are_refused_before_anything_is_sent() {
        for base in ["", "api.openai.com", "ftp://host", "localhost:8080/v1"] {
            let refused = client(|settings| base.clone_into(&mut settings.base_url));
            assert_eq!(refused.unwrap_err(), SettingsError::BaseUrl, "{base}");
        }
        let key = client(|settings| settings.key = "sk\n".into());
        assert_eq!(key.unwrap_err(), SettingsError::Key);
        let organization = client(|settings| settings.organization = Some("a\0".to_owned()));
        assert_eq!(organization.unwrap_err(), SettingsError::Organization);
    }

    #[test]
    fn the_key_stands_in_its_header_and_nowhere_else() {
        let client = client(|_| {}).unwrap();
        assert_eq!(client.headers[AUTHORIZATION], "Bearer sk-secret");
        assert!(!client.headers.contains_key(API_KEY));
        let azure = self::client(|settings| settings.key_header = KeyHeader::ApiKey).unwrap();
        assert_eq!(azure.headers[API_KEY], "sk-secret");
        assert!(!azure.headers.contains_key(AUTHORIZATION));
        for client in [client, azure] {
            assert!(!format!("{client:?} {:?}", client.headers).contains("sk-secret"));
        }
    }
}
