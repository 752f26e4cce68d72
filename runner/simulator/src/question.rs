//! A request that was found in order, and its answer.

use super::{Fault, Style, chat::Chat, embeddings::Inputs, refusal::Refusal};

/// Where a request arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Embeddings,
    Chat,
}

/// A request that was found in order.
#[derive(Debug)]
pub(super) enum Question {
    Embeddings(Inputs),
    Chat(Chat),
}

/// The answer to a [`Question`], and what it used.
#[derive(Debug)]
pub(super) struct Reply {
    /// JSON.
    pub(super) body: Vec<u8>,
    pub(super) output_tokens: u64,
}

impl Question {
    pub(super) fn read(endpoint: Endpoint, body: &[u8]) -> Result<Self, Refusal> {
        match endpoint {
            Endpoint::Embeddings => Inputs::read(body).map(Self::Embeddings),
            Endpoint::Chat => Chat::read(body).map(Self::Chat),
        }
    }

    pub(super) fn model(&self) -> &str {
        match self {
            Self::Embeddings(inputs) => &inputs.model,
            Self::Chat(chat) => &chat.model,
        }
    }

    pub(super) fn input_tokens(&self) -> u64 {
        match self {
            Self::Embeddings(inputs) => inputs.tokens,
            Self::Chat(chat) => chat.input_tokens,
        }
    }

    /// The texts that are embedded or scored.
    pub(super) fn texts(&self) -> Vec<&str> {
        match self {
            Self::Embeddings(inputs) => inputs.texts.iter().map(String::as_str).collect(),
            Self::Chat(chat) => chat.posts.iter().map(|post| post.text.as_str()).collect(),
        }
    }

    /// The field that the texts stand in.
    pub(super) fn texts_param(&self) -> &'static str {
        match self {
            Self::Embeddings(_) => "input",
            Self::Chat(_) => "messages",
        }
    }

    /// The answer, spoilt where a fault says so.
    pub(super) fn answer(&self, fault: Option<Fault>, style: Style) -> Reply {
        match self {
            Self::Embeddings(inputs) => inputs.answer(fault, style),
            Self::Chat(chat) => chat.answer(fault, style),
        }
    }
}
