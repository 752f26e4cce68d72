//! Responses to good requests: vectors and scores that follow from the texts alone.

mod affinity;
mod chat;
mod corrupt;
mod embeddings;
mod fill;
mod responses;
mod terms;
mod vector;

pub(crate) use self::terms::AnswerTerms;
use crate::ledger::TokenUsage;
use crate::request::ParsedRequest;

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
