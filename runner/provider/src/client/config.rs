//! Where a client sends its requests, and how.

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::embedding::VectorEncoding;
use crate::model::Models;
use crate::openai::DEFAULT_BASE_URL;

const ORGANIZATION: &str = "openai-organization";
const API_KEY: HeaderName = HeaderName::from_static("api-key");

/// Where a client sends its requests, and how.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// The address in front of `/embeddings`, such as [`DEFAULT_BASE_URL`]. A query in it is kept.
    pub base_url: String,
    /// The key; empty for servers that need none.
    pub key: SecretString,
    /// The header that carries the key.
    pub key_header: KeyHeader,
    /// The organization to bill, if the key belongs to several.
    pub organization: Option<String>,
    /// Added to every address as `api-version`, for servers that require it.
    pub api_version: Option<String>,
    /// The form in which vectors are requested. A response may have either form.
    pub vectors: VectorEncoding,
    /// Whether to send the number of dimensions. If it is not given, only the `text-embedding-3`
    /// models get it.
    pub send_dimensions: Option<bool>,
    /// What models take and cost.
    pub models: Models,
    /// The API that questions to language models go to.
    pub chat_api: ChatApi,
}

/// The API that questions to language models go to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChatApi {
    /// Chat completions, which every server has.
    #[default]
    Chat,
    /// Responses, which `OpenAI` recommends for new programs.
    Responses,
}

impl ClientConfig {
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
            models: Models::default(),
            chat_api: ChatApi::default(),
        }
    }

    pub(super) fn headers(&self) -> Result<HeaderMap, ClientConfigError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let key = self.key.expose_secret();
        if !key.is_empty() {
            let (name, value) = match self.key_header {
                KeyHeader::Authorization => (AUTHORIZATION, format!("Bearer {key}")),
                KeyHeader::ApiKey => (API_KEY, key.to_owned()),
            };
            let mut value = HeaderValue::try_from(value).map_err(|_| ClientConfigError::Key)?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        if let Some(organization) = &self.organization {
            let value = HeaderValue::try_from(organization);
            let value = value.map_err(|_| ClientConfigError::Organization)?;
            headers.insert(ORGANIZATION, value);
        }
        Ok(headers)
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

/// A configuration that no client can use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientConfigError {
    /// The base URL is not an `http` or `https` address.
    #[error(
        "the provider's base URL must start with http:// or https://, as {DEFAULT_BASE_URL} does"
    )]
    BaseUrl,
    /// The key has a character that a header cannot have.
    #[error("the key holds a line break or another control character: copy it again")]
    Key,
    /// The organization has a character that a header cannot have.
    #[error("the organization holds a line break or another control character: copy it again")]
    Organization,
}
