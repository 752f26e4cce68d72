//! The models that the simulator knows. Source: the API reference, "Models".

use crate::tokens::Vocabulary;

/// The end of the model's name in every response, so that nobody takes a simulated vector or score
/// for a real one.
pub const MODEL_SUFFIX: &str = "-simulated";

/// A row of the table of models.
#[derive(Debug)]
pub(crate) struct SimulatedModel {
    pub(crate) name: &'static str,
    pub(crate) vocabulary: Vocabulary,
    pub(crate) ability: Ability,
}

/// What a model does.
#[derive(Debug)]
pub(crate) enum Ability {
    Embed {
        max_dimensions: usize,
        /// Whether a request may ask for fewer dimensions.
        shortens: bool,
    },
    Chat {
        /// A reasoning model refuses a temperature.
        reasons: bool,
    },
}

/// All models, without the dated snapshots of chat models.
pub(crate) static MODELS: [SimulatedModel; 20] = [
    embeds("text-embedding-3-small", 1536, true),
    embeds("text-embedding-3-large", 3072, true),
    embeds("text-embedding-ada-002", 1536, false),
    chats("gpt-4o", false),
    chats("gpt-4o-mini", false),
    chats("gpt-4.1", false),
    chats("gpt-4.1-mini", false),
    chats("gpt-4.1-nano", false),
    chats("gpt-5", true),
    chats("gpt-5-mini", true),
    chats("gpt-5-nano", true),
    chats("gpt-5-chat-latest", false),
    chats("gpt-5.1", true),
    chats("gpt-5.2", true),
    chats("gpt-5.4", true),
    chats("gpt-5.4-mini", true),
    chats("o1", true),
    chats("o3", true),
    chats("o3-mini", true),
    chats("o4-mini", true),
];

/// Finds a model by its name. A dated chat model (`gpt-4o-mini-2024-07-18`) is found as its family.
pub(crate) fn find(name: &str) -> Option<&'static SimulatedModel> {
    let exact = |name: &str| MODELS.iter().find(|model| model.name == name);
    exact(name).or_else(|| {
        exact(undated(name)?).filter(|model| matches!(model.ability, Ability::Chat { .. }))
    })
}

const fn embeds(name: &'static str, max_dimensions: usize, shortens: bool) -> SimulatedModel {
    SimulatedModel {
        name,
        vocabulary: Vocabulary::Cl100k,
        ability: Ability::Embed {
            max_dimensions,
            shortens,
        },
    }
}

const fn chats(name: &'static str, reasons: bool) -> SimulatedModel {
    SimulatedModel {
        name,
        vocabulary: Vocabulary::O200k,
        ability: Ability::Chat { reasons },
    }
}

/// The family of a dated snapshot: `gpt-4o-mini` of `gpt-4o-mini-2024-07-18`.
fn undated(model: &str) -> Option<&str> {
    let (family, date) = model.split_at_checked(model.len().checked_sub("-2024-07-18".len())?)?;
    let is_date = date.bytes().enumerate().all(|(at, byte)| match at {
        0 | 5 | 8 => byte == b'-',
        _ => byte.is_ascii_digit(),
    });
    is_date.then_some(family)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers_chats(name: &str) -> bool {
        find(name).is_some_and(|model| matches!(model.ability, Ability::Chat { .. }))
    }

    fn max_dimensions(name: &str) -> Option<usize> {
        match find(name)?.ability {
            Ability::Embed { max_dimensions, .. } => Some(max_dimensions),
            Ability::Chat { .. } => None,
        }
    }

    #[test]
    fn dated_snapshots_answer_as_their_family() {
        assert!(answers_chats("gpt-4o-mini") && answers_chats("gpt-4o-mini-2024-07-18"));
        assert!(!answers_chats("gpt-9") && !answers_chats("text-embedding-3-small"));
        assert_eq!(max_dimensions("text-embedding-3-large"), Some(3072));
        assert_eq!(max_dimensions("gpt-4o"), None);
        assert!(find("text-embedding-3-small-2024-07-18").is_none());
    }
}
