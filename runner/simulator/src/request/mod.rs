//! Reading requests: what is refused, and what a good request asks for.

mod chat;
mod embeddings;
mod fields;
mod prompt;
#[cfg(test)]
pub(crate) mod sample;
mod schema;

pub(crate) use chat::ParsedChat;
pub(crate) use embeddings::ParsedEmbeddings;
pub(crate) use fields::BodyFields;
pub(crate) use prompt::PromptPost;
#[cfg(test)]
pub(crate) use schema::check as check_schema;
pub(crate) use schema::resolve as resolve_reference;

use crate::error_response::ErrorResponse;

/// What a request asks for, by its URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Embeddings,
    Chat,
}

impl Route {
    const ALL: [Self; 2] = [Self::Embeddings, Self::Chat];

    pub(crate) fn url(self) -> &'static str {
        match self {
            Self::Embeddings => "/v1/embeddings",
            Self::Chat => "/v1/chat/completions",
        }
    }

    pub(crate) fn of_url(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|route| route.url() == url)
    }
}

/// A request without errors.
#[derive(Debug)]
pub(crate) enum ParsedRequest {
    Embeddings(ParsedEmbeddings),
    Chat(ParsedChat),
}

impl ParsedRequest {
    pub(crate) fn read(route: Route, body: &[u8]) -> Result<Self, ErrorResponse> {
        match route {
            Route::Embeddings => ParsedEmbeddings::read(body).map(Self::Embeddings),
            Route::Chat => ParsedChat::read(body).map(Self::Chat),
        }
    }

    /// The name of the model as the request has it.
    pub(crate) fn model(&self) -> &str {
        match self {
            Self::Embeddings(request) => &request.model,
            Self::Chat(request) => &request.model,
        }
    }

    pub(crate) fn input_tokens(&self) -> u64 {
        match self {
            Self::Embeddings(request) => request.tokens,
            Self::Chat(request) => request.input_tokens,
        }
    }

    /// The texts to embed or score.
    pub(crate) fn texts(&self) -> Vec<&str> {
        match self {
            Self::Embeddings(request) => request.texts.iter().map(String::as_str).collect(),
            Self::Chat(request) => request
                .posts
                .iter()
                .map(|post| post.text.as_str())
                .collect(),
        }
    }

    /// The field of the request that contains the texts.
    pub(crate) fn texts_param(&self) -> &'static str {
        match self {
            Self::Embeddings(_) => "input",
            Self::Chat(_) => "messages",
        }
    }
}
