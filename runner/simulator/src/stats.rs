//! What the simulator counts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{batch::BatchStep, fault::Fault};

/// What happened since the start, or since the last reset.
///
/// While no request is in flight, `requests` = `answered` + `rate_limited` + `refused` + `failed`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Requests to the endpoints of models.
    pub requests: u64,
    /// Requests for embeddings.
    pub embedding_requests: u64,
    /// Requests for chat completions.
    pub chat_requests: u64,
    /// Requests for responses.
    pub response_requests: u64,
    /// Answered with 200, and billed. This includes responses that a fault broke and responses whose
    /// client had hung up.
    pub answered: u64,
    /// Refused with 429 `rate_limit_exceeded`, by a limit or by a fault.
    pub rate_limited: u64,
    /// Refused for their key, their content or their quota.
    pub refused: u64,
    /// Answered with a 5xx.
    pub failed: u64,
    /// Sent to a model before the time of its last `Retry-After` had passed.
    pub too_early: u64,
    /// Tokens billed as input.
    pub input_tokens: u64,
    /// Tokens billed as output.
    pub output_tokens: u64,
    /// How often each fault occurred.
    pub faults: BTreeMap<Fault, u64>,
    /// What happened to files and batches. Their requests and lines are not in `requests`; what
    /// their lines used is in the tokens and texts here.
    pub batches: BatchStats,
    /// How often each text's embedding was billed, by the SHA-256 of the text in hexadecimal.
    pub embedded: BTreeMap<String, u64>,
    /// How often each post's score was billed, by the SHA-256 of its text as the prompt had it.
    pub scored: BTreeMap<String, u64>,
}

/// What happened to files and batches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchStats {
    /// How often each step was requested, whatever came of it.
    pub steps: BTreeMap<BatchStep, u64>,
    /// Steps that were refused, or failed with a 5xx.
    pub refused: u64,
    /// Steps that were done, and whose response a fault broke.
    pub lost: u64,
    /// Batches that were created.
    pub created: u64,
    /// Lines that were answered, and billed.
    pub lines_answered: u64,
    /// Lines that were refused or failed. They cost nothing.
    pub lines_refused: u64,
}

impl Stats {
    /// How often the text's embedding was billed.
    pub fn embedded_times(&self, text: &str) -> u64 {
        times(&self.embedded, text)
    }

    /// How often the post's score was billed: once for each run of an ensemble.
    pub fn scored_times(&self, text: &str) -> u64 {
        times(&self.scored, text)
    }
}

/// Counts a text.
pub(crate) fn count_text(counts: &mut BTreeMap<String, u64>, text: &str) {
    *counts.entry(digest(text)).or_default() += 1;
}

fn times(counts: &BTreeMap<String, u64>, text: &str) -> u64 {
    counts.get(&digest(text)).copied().unwrap_or_default()
}

fn digest(text: &str) -> String {
    let bytes = Sha256::digest(text);
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let digits = digits.filter_map(|digit| char::from_digit(digit.into(), 16));
    digits.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_counted_by_their_sha_256() {
        let mut stats = Stats::default();
        count_text(&mut stats.embedded, "abc");
        count_text(&mut stats.embedded, "abc");
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(stats.embedded, BTreeMap::from([(known.to_owned(), 2)]));
        assert_eq!(
            (stats.embedded_times("abc"), stats.embedded_times("abd")),
            (2, 0)
        );
        assert_eq!(stats.scored_times("abc"), 0);
    }
}
