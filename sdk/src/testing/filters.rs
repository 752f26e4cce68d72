//! What no snapshot should hold, because it differs each time or is secret.

/// Filters for [insta](https://insta.rs): ids become `[id]`, times `[time]`, and keys `[key]`.
///
/// Needs insta's feature `filters`:
///
/// ```
/// use sluice_sdk::testing::FILTERS;
///
/// # let snapshot = "id=eq.3f0a0e1c-5a55-4a5f-9d3c-0f6b8f0c9a11";
/// insta::with_settings!({ filters => FILTERS.to_vec() }, {
///     insta::assert_snapshot!(snapshot, @"id=eq.[id]");
/// });
/// ```
pub const FILTERS: &[(&str, &str)] = &[
    (
        r"\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b",
        "[id]",
    ),
    (
        r"\b\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}(:?\d{2})?\b)?",
        "[time]",
    ),
    // Keys of Supabase and of OpenAI, and the tokens that both have had.
    (
        r"\b(sb_(secret|publishable)_|sbp_|sk-)[A-Za-z0-9_-]{8,}",
        "[key]",
    ),
    (
        r"\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*",
        "[key]",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_times_and_keys_are_hidden_and_nothing_else() {
        let text = "3f0a0e1c-5a55-4a5f-9d3c-0f6b8f0c9a11 2026-05-01T12:00:00.123456+00:00, \
                    2026-05-01 12:00:00Z; sb_secret_8ebac1c6336443268f637854ef9069dc \
                    eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoiYW5vbiJ9.Xy-_9 \
                    sk-proj-abcDEF_123456 2026-05-01 3f0a0e1c task-123456789";
        insta::with_settings!({ filters => FILTERS.to_vec() }, {
            insta::assert_snapshot!(
                text,
                @"[id] [time], [time]; [key] [key] [key] 2026-05-01 3f0a0e1c task-123456789"
            );
        });
    }
}
