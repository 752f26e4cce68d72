//! The models that the stand-in knows.

use crate::openai::undated;

/// What the name of the model in every answer ends in, so that nobody takes a simulated vector or
/// score for a real one.
pub const MODEL_SUFFIX: &str = "-simulated";

/// The most tokens that a conversation may have.
pub(super) const MAX_CONTEXT_TOKENS: u64 = 128_000;

/// The names of all models, without those of dated snapshots.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    EMBEDDING
        .iter()
        .map(|(name, _)| *name)
        .chain(CHAT.iter().copied())
}

/// The most dimensions of an embedding model; `None` where it is not one.
pub(super) fn max_dimensions(model: &str) -> Option<usize> {
    EMBEDDING
        .iter()
        .find(|(name, _)| *name == model)
        .map(|(_, dimensions)| *dimensions)
}

/// Whether the model answers chats. A snapshot (`gpt-4o-mini-2024-07-18`) does as its family.
pub(super) fn answers_chats(model: &str) -> bool {
    CHAT.contains(&model) || CHAT.contains(&undated(model))
}

const EMBEDDING: [(&str, usize); 3] = [
    ("text-embedding-3-small", 1536),
    ("text-embedding-3-large", 3072),
    ("text-embedding-ada-002", 1536),
];

const CHAT: [&str; 17] = [
    "gpt-4o",
    "gpt-4o-mini",
    "gpt-4.1",
    "gpt-4.1-mini",
    "gpt-4.1-nano",
    "gpt-5",
    "gpt-5-mini",
    "gpt-5-nano",
    "gpt-5-chat-latest",
    "gpt-5.1",
    "gpt-5.2",
    "gpt-5.4",
    "gpt-5.4-mini",
    "o1",
    "o3",
    "o3-mini",
    "o4-mini",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_answer_as_their_family() {
        assert!(answers_chats("gpt-4o-mini") && answers_chats("gpt-4o-mini-2024-07-18"));
        assert!(!answers_chats("gpt-9") && !answers_chats("text-embedding-3-small"));
        assert_eq!(max_dimensions("text-embedding-3-large"), Some(3072));
        assert_eq!(max_dimensions("gpt-4o"), None);
    }
}
