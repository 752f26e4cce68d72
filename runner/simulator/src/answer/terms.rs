//! What a response depends on beside its request.

use crate::config::Style;
use crate::fault::Fault;
use crate::ledger::Tier;

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
