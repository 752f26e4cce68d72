//! What the stand-in counts.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Fault;

/// What happened since the start, or the last reset.
///
/// Once nothing is in flight, `requests` = `answered` + `rate_limited` + `refused` + `failed`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Requests to either endpoint.
    pub requests: u64,
    /// Those of them that asked for embeddings.
    pub embedding_requests: u64,
    /// Those of them that asked for a chat completion.
    pub chat_requests: u64,
    /// Answered with 200, and billed: also where a fault then broke the answer, or its asker had
    /// gone.
    pub answered: u64,
    /// Refused with 429 `rate_limit_exceeded`, by a limit or by a fault.
    pub rate_limited: u64,
    /// Refused for their key, their content or their quota.
    pub refused: u64,
    /// Answered with a 5xx.
    pub failed: u64,
    /// Sent to a model before a Retry-After that it had given was over.
    pub too_early: u64,
    /// Tokens billed as input.
    pub input_tokens: u64,
    /// Tokens billed as output.
    pub output_tokens: u64,
    /// How often each fault was dealt.
    pub faults: BTreeMap<Fault, u64>,
    /// How often each text's embedding was billed, by the SHA-256 of the text in hexadecimal.
    pub embedded: BTreeMap<String, u64>,
    /// How often each post's score was billed, by the SHA-256 of its text as it stood in the prompt.
    pub scored: BTreeMap<String, u64>,
}

impl Stats {
    /// How often the text's embedding was billed.
    pub fn embedded_times(&self, text: &str) -> u64 {
        self.embedded
            .get(&hex(&digest(text)))
            .copied()
            .unwrap_or_default()
    }

    /// How often the post's score was billed; once for each run of an ensemble.
    pub fn scored_times(&self, text: &str) -> u64 {
        self.scored
            .get(&hex(&digest(text)))
            .copied()
            .unwrap_or_default()
    }
}

/// How often each text was seen, by its digest.
#[derive(Debug, Default)]
pub(super) struct Counts(HashMap<[u8; 32], u64>);

impl Counts {
    pub(super) fn add(&mut self, text: &str) {
        *self.0.entry(digest(text)).or_default() += 1;
    }

    pub(super) fn by_hex(&self) -> BTreeMap<String, u64> {
        self.0
            .iter()
            .map(|(digest, count)| (hex(digest), *count))
            .collect()
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

fn hex(digest: &[u8; 32]) -> String {
    let mut hex = String::with_capacity(2 * digest.len());
    for byte in digest {
        let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or_default();
        hex.extend([digit(byte >> 4), digit(byte & 15)]);
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_counted_by_their_sha_256() {
        let mut counts = Counts::default();
        counts.add("abc");
        counts.add("abc");
        let stats = Stats {
            embedded: counts.by_hex(),
            ..Stats::default()
        };
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(stats.embedded, BTreeMap::from([(known.to_owned(), 2)]));
        assert_eq!(
            (stats.embedded_times("abc"), stats.embedded_times("abd")),
            (2, 0)
        );
        assert_eq!(stats.scored_times("abc"), 0);
    }
}
