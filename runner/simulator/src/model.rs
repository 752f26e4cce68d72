//! The models that the stand-in knows.

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

/// Whether the model reasons before it answers, and so refuses a temperature.
pub(super) fn reasons(model: &str) -> bool {
    let numbered = |name: &str| name.starts_with(|c: char| c.is_ascii_digit());
    model.strip_prefix('o').is_some_and(numbered)
        || model.starts_with("gpt-5") && !model.contains("chat")
}

/// Whether a request may name the dimensions of the vectors.
pub(super) fn shortens_vectors(model: &str) -> bool {
    matches!(model, "text-embedding-3-small" | "text-embedding-3-large")
}

/// The family of a dated snapshot: `gpt-4o-mini` of `gpt-4o-mini-2024-07-18`.
fn undated(model: &str) -> &str {
    let mut parts = model.rsplitn(4, '-');
    let date = [parts.next(), parts.next(), parts.next()];
    let lengths = [2, 2, 4];
    let is_date = date.iter().zip(lengths).all(|(part, length)| {
        part.is_some_and(|part| part.len() == length && part.bytes().all(|b| b.is_ascii_digit()))
    });
    parts.next().filter(|_| is_date).unwrap_or(model)
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
