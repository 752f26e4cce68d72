//! The parameters of a request that some models refuse.

/// A parameter that not every model takes.
///
/// The service tier is none of them: a request without it would cost more than was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parameter {
    MaxTokens,
    MaxCompletionTokens,
    Temperature,
    ReasoningEffort,
    Seed,
    N,
    PromptCache,
}

impl Parameter {
    pub(super) const ALL: [Self; 7] = [
        Self::MaxTokens,
        Self::MaxCompletionTokens,
        Self::Temperature,
        Self::ReasoningEffort,
        Self::Seed,
        Self::N,
        Self::PromptCache,
    ];

    /// Its names in both APIs.
    pub(super) fn names(self) -> &'static [&'static str] {
        match self {
            Self::MaxTokens => &["max_tokens"],
            Self::MaxCompletionTokens => &["max_completion_tokens"],
            Self::Temperature => &["temperature"],
            Self::ReasoningEffort => &["reasoning_effort", "reasoning.effort", "reasoning"],
            Self::Seed => &["seed"],
            Self::N => &["n"],
            Self::PromptCache => &[
                "prompt_cache_key",
                "prompt_cache_options",
                "prompt_cache_breakpoint",
            ],
        }
    }

    /// The same parameter under its other name.
    pub(super) fn other_name(self) -> Option<Self> {
        match self {
            Self::MaxTokens => Some(Self::MaxCompletionTokens),
            Self::MaxCompletionTokens => Some(Self::MaxTokens),
            _ => None,
        }
    }
}
