//! Reading requests: what is refused, and what a good request asks for.

mod cache_control;
mod chat;
mod conversation;
mod embeddings;
mod fields;
mod prompt;
mod responses;
#[cfg(test)]
pub(crate) mod sample;
mod schema;

pub(crate) use conversation::ParsedChat;
pub(crate) use embeddings::ParsedEmbeddings;
pub(crate) use fields::BodyFields;
pub(crate) use prompt::{PromptPost, WordLimits};
#[cfg(test)]
pub(crate) use schema::check as check_schema;
pub(crate) use schema::resolve as resolve_reference;

use crate::{
    cache::CacheRequest,
    error_response::ErrorResponse,
    ledger::Tier,
    model::{SimulatedModel, find},
};

/// What a request asks for, by its URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Embeddings,
    Chat,
    Responses,
}

impl Route {
    const ALL: [Self; 3] = [Self::Embeddings, Self::Chat, Self::Responses];

    pub(crate) fn url(self) -> &'static str {
        match self {
            Self::Embeddings => "/v1/embeddings",
            Self::Chat => "/v1/chat/completions",
            Self::Responses => "/v1/responses",
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
    Responses(ParsedChat),
}

impl ParsedRequest {
    pub(crate) fn read(route: Route, body: &[u8]) -> Result<Self, ErrorResponse> {
        match route {
            Route::Embeddings => ParsedEmbeddings::read(body).map(Self::Embeddings),
            Route::Chat => chat::read(body).map(Self::Chat),
            Route::Responses => responses::read(body).map(Self::Responses),
        }
    }

    /// The name of the model as the request has it.
    pub(crate) fn model(&self) -> &str {
        match self {
            Self::Embeddings(request) => &request.model,
            Self::Chat(request) | Self::Responses(request) => &request.model,
        }
    }

    /// The row of the table of models.
    pub(crate) fn found_model(&self) -> Option<&'static SimulatedModel> {
        find(self.model())
    }

    /// The tier that the request asks for.
    pub(crate) fn tier(&self) -> Tier {
        match self {
            Self::Embeddings(_) => Tier::Default,
            Self::Chat(request) | Self::Responses(request) => request.tier,
        }
    }

    /// How the request asks for the prompt cache, if it can.
    pub(crate) fn cache_request(&self) -> Option<CacheRequest<'_>> {
        let (Self::Chat(request) | Self::Responses(request)) = self else {
            return None;
        };
        Some(CacheRequest {
            model: &request.model,
            key: request.cache_key.as_deref(),
            charges_writes: self.found_model()?.price.cache_write.is_some(),
            beginnings: &request.beginnings,
        })
    }

    pub(crate) fn input_tokens(&self) -> u64 {
        match self {
            Self::Embeddings(request) => request.tokens,
            Self::Chat(request) | Self::Responses(request) => request.input_tokens,
        }
    }

    /// How often each text is embedded or scored.
    pub(crate) fn times(&self) -> usize {
        match self {
            Self::Embeddings(_) => 1,
            Self::Chat(request) | Self::Responses(request) => request.choices,
        }
    }

    /// The texts to embed or score.
    pub(crate) fn texts(&self) -> Vec<&str> {
        match self {
            Self::Embeddings(request) => request.texts.iter().map(String::as_str).collect(),
            Self::Chat(request) | Self::Responses(request) => request
                .posts
                .iter()
                .map(|post| post.text.as_str())
                .collect(),
        }
    }

    /// The field of the request that contains the texts.
    pub(crate) fn texts_param(&self) -> &'static str {
        match self {
            Self::Embeddings(_) | Self::Responses(_) => "input",
            Self::Chat(_) => "messages",
        }
    }
}
