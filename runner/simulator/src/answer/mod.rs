//! Responses to good requests: vectors and scores that follow from the texts alone.

mod affinity;
mod chat;
mod corrupt;
mod embeddings;
mod fill;
mod responses;
mod vector;

use crate::{
    config::Style,
    fault::Fault,
    ledger::{Tier, TokenUsage},
    request::ParsedRequest,
};

/// What a response depends on beside its request.
#[derive(Clone, Debug)]
pub(crate) struct AnswerTerms {
    /// How many requests came before it.
    pub(crate) number: u64,
    /// What goes wrong with it.
    pub(crate) fault: Option<Fault>,
    pub(crate) style: Style,
    pub(crate) tier: Tier,
    /// Tokens from the prompt cache.
    pub(crate) cached: u64,
    /// Tokens written to the prompt cache, if the model tells of them.
    pub(crate) written: Option<u64>,
    /// In seconds of the Unix epoch.
    pub(crate) unix_time: u64,
}

#[cfg(test)]
impl Default for AnswerTerms {
    fn default() -> Self {
        Self {
            number: 0,
            fault: None,
            style: Style::OpenAi,
            tier: Tier::Default,
            cached: 0,
            written: None,
            unix_time: 0,
        }
    }
}

/// The response to a [`ParsedRequest`], and what it used.
#[derive(Debug)]
pub(crate) struct SimulatedResponse {
    /// JSON.
    pub(crate) body: Vec<u8>,
    pub(crate) usage: TokenUsage,
}

impl SimulatedResponse {
    /// Answers a request. Faults that change the content are applied here.
    pub(crate) fn to(request: &ParsedRequest, terms: &AnswerTerms) -> Self {
        let (body, usage) = match request {
            ParsedRequest::Embeddings(request) => {
                let usage = TokenUsage {
                    input: request.tokens,
                    ..TokenUsage::default()
                };
                (embeddings::answer(request, terms.fault, terms.style), usage)
            }
            ParsedRequest::Chat(request) => chat::answer(request, terms),
            ParsedRequest::Responses(request) => responses::answer(request, terms),
        };
        Self { body, usage }
    }
}
