//! The messages of a conversation with a language model.

use serde::Serialize;

use super::Tokenizer;

/// A part of the conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// What is said.
    pub content: String,
}

/// Who says a [`Message`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The instructions.
    System,
    /// The material.
    User,
    /// An earlier answer of the model.
    Assistant,
}

/// The tokens of an input: the messages, their frames, and a schema of so many tokens, which the model reads as well.
/// The provider's own count differs by a few.
pub fn input_tokens(messages: &[Message], schema_tokens: usize, tokenizer: Tokenizer) -> usize {
    let messages = messages
        .iter()
        .map(|message| tokenizer.count(&message.content) + 4);
    messages.sum::<usize>() + schema_tokens + 3
}
