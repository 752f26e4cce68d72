//! Where `OpenAI` answers, and how much it takes in one request.
//!
//! Source: the `OpenAI` API reference, "Create embeddings", "Structured outputs" and "Batch".

/// The API's base URL.
pub const DEFAULT_BASE_URL: &str = "https://api.openai.com/v1";

/// The most inputs of one request for embeddings.
pub const MAX_INPUTS: usize = 2048;

/// The most tokens of one input.
pub const MAX_INPUT_TOKENS: usize = 8192;

/// The most tokens of one request for embeddings, both counted and [estimated](estimate).
pub const MAX_REQUEST_TOKENS: usize = 300_000;

/// The most bytes of an [`AnswerFormat`](super::AnswerFormat)'s name.
pub const MAX_SCHEMA_NAME_BYTES: usize = 64;

/// Requests for embeddings that may wait in batches at once.
pub const MAX_QUEUED_EMBEDDINGS: u64 = 1_000_000;

/// The hours within which the provider promises to end a batch.
pub const BATCH_HOURS: u32 = 24;

/// The tokens that the provider estimates before it counts: a quarter of the UTF-8 bytes. The
/// estimates of a request's inputs must add up to no more than [`MAX_REQUEST_TOKENS`], and so must
/// their true counts.
pub fn estimate(utf8_bytes: usize) -> usize {
    utf8_bytes.div_ceil(4)
}

#[cfg(test)]
mod tests {
    use super::estimate;

    #[test]
    fn the_estimate_is_a_quarter_of_the_bytes() {
        let bytes = [0, 1, 4, 5];
        assert_eq!(bytes.map(estimate), [0, 1, 1, 2]);
    }
}
