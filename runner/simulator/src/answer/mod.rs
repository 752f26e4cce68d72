//! Responses to good requests: vectors and scores that follow from the texts alone.

mod affinity;
mod chat;
mod corrupt;
mod embeddings;
mod fill;
mod vector;

use crate::{config::Style, fault::Fault, request::ParsedRequest};

/// The response to a [`ParsedRequest`], and what it used.
#[derive(Debug)]
pub(crate) struct SimulatedResponse {
    /// JSON.
    pub(crate) body: Vec<u8>,
    pub(crate) output_tokens: u64,
}

impl SimulatedResponse {
    /// Answers a request. Faults that change the content are applied here.
    pub(crate) fn to(request: &ParsedRequest, fault: Option<Fault>, style: Style) -> Self {
        let (body, output_tokens) = match request {
            ParsedRequest::Embeddings(request) => (embeddings::answer(request, fault, style), 0),
            ParsedRequest::Chat(request) => chat::answer(request, fault, style),
        };
        Self {
            body,
            output_tokens,
        }
    }
}
