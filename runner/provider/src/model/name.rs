//! What follows from a model's name.

/// The names under which the table is searched: the model's own, the one without a reseller's or fine-tune's parts,
/// and that one without a date.
pub(super) fn names(model: &str) -> [&str; 3] {
    let family = family(model);
    [model, family, undated(family)]
}

/// Whether the model is a fine-tune, whose price is not its base's.
pub(super) fn is_fine_tuned(model: &str) -> bool {
    model.starts_with("ft:")
}

/// The name without a reseller's prefix (`openai/gpt-4o`) or a fine-tune's (`ft:gpt-4o:team`).
fn family(model: &str) -> &str {
    let name = model.strip_prefix("ft:").unwrap_or(model);
    let name = name.split(':').next().unwrap_or(name);
    name.rsplit('/').next().unwrap_or(name)
}

/// The name without a trailing `-YYYY-MM-DD`.
fn undated(name: &str) -> &str {
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

/// A name in which `*` stands for any letters.
pub(super) struct Pattern<'p>(&'p str);

impl<'p> Pattern<'p> {
    pub(super) fn new(pattern: &'p str) -> Self {
        Self(pattern)
    }

    /// How many letters it has: a pattern with more of them is more specific.
    pub(super) fn letters(&self) -> usize {
        self.0.bytes().filter(|byte| *byte != b'*').count()
    }

    pub(super) fn matches(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or_default()) else {
            return false;
        };
        let Some(last) = parts.next_back() else {
            return rest.is_empty();
        };
        for part in parts {
            let Some((_, after)) = rest.split_once(part) else {
                return false;
            };
            rest = after;
        }
        rest.ends_with(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_star_stands_for_any_letters() {
        let matches = |pattern, name| Pattern::new(pattern).matches(name);
        for (pattern, name) in [
            ("gpt-4", "gpt-4"),
            ("gpt-4*", "gpt-4"),
            ("gpt-5*-chat*", "gpt-5.1-chat-latest"),
            ("gpt-5*-chat*", "gpt-5-chat"),
            ("*", ""),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("gpt-4", "gpt-4o"),
            ("gpt-4-*", "gpt-4"),
            ("gpt-5*-chat*", "gpt-5-mini"),
            ("a*b", "ab-c"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
        assert_eq!(Pattern::new("a*b*").letters(), 2);
    }
}
