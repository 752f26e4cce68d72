//! What follows from a model's name.

/// Whether the model reasons before it answers. Such a model takes `max_completion_tokens` and
/// `reasoning_effort`, and refuses a temperature.
///
/// These are the `o` series and, from generation 5 on, the `gpt` series except its chat variants.
/// Source: "Reasoning models".
pub(super) fn is_reasoning(model: &str) -> bool {
    let name = family(model);
    if let Some(generation) = name.strip_prefix('o') {
        return generation.starts_with(|c: char| c.is_ascii_digit());
    }
    gpt_generation(name).is_some_and(|generation| generation >= 5) && !name.contains("-chat")
}

/// Whether the model can make shorter vectors.
///
/// Source: "Create embeddings", `dimensions`.
pub(super) fn takes_dimensions(model: &str) -> bool {
    family(model).starts_with("text-embedding-3-")
}

/// The name without a reseller's prefix (`openai/gpt-4o`) or a fine-tune's (`ft:gpt-4o:team`).
pub(super) fn family(model: &str) -> &str {
    let name = model.strip_prefix("ft:").unwrap_or(model);
    let name = name.split(':').next().unwrap_or(name);
    name.rsplit('/').next().unwrap_or(name)
}

/// The name without a trailing `-YYYY-MM-DD`.
pub(super) fn undated(name: &str) -> &str {
    let Some(start) = name.len().checked_sub("-YYYY-MM-DD".len()) else {
        return name;
    };
    let Some((head, date)) = name.split_at_checked(start) else {
        return name;
    };
    let is_date = date.bytes().enumerate().all(|(i, byte)| match i {
        0 | 5 | 8 => byte == b'-',
        _ => byte.is_ascii_digit(),
    });
    if is_date { head } else { name }
}

fn gpt_generation(name: &str) -> Option<u32> {
    let digits = name.strip_prefix("gpt-")?;
    let end = digits
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(digits.len());
    digits.get(..end)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasoning_follows_the_family() {
        for model in [
            "o1",
            "o3-mini",
            "o4-mini-2025-04-16",
            "gpt-5",
            "gpt-5.4-nano",
            "gpt-10",
            "openai/gpt-5-mini",
            "ft:o4-mini:team::id",
        ] {
            assert!(is_reasoning(model), "{model}");
        }
        for model in [
            "gpt-4o",
            "gpt-4.1-nano",
            "gpt-5-chat-latest",
            "omni-moderation",
            "llama3.1",
            "ft:gpt-4o-mini:team::id",
            "text-embedding-3-small",
        ] {
            assert!(!is_reasoning(model), "{model}");
        }
    }

    #[test]
    fn only_the_third_generation_shortens_its_vectors() {
        assert!(takes_dimensions("text-embedding-3-large"));
        assert!(!takes_dimensions("text-embedding-ada-002"));
        assert!(!takes_dimensions("nomic-embed-text"));
    }

    #[test]
    fn only_a_date_is_removed() {
        assert_eq!(undated("gpt-4o-2024-08-06"), "gpt-4o");
        for name in [
            "gpt-4o",
            "gpt-4o-2024-XX-06",
            "2024-08-06",
            "ñandú-2024-8-06",
        ] {
            assert_eq!(undated(name), name);
        }
    }
}
