//! The models that the simulator knows. Source: the API reference, "Models".

use serde_json::{Value, json};

use crate::tokens::Vocabulary;

/// The end of the model's name in every response, so that nobody takes a simulated vector or score
/// for a real one.
pub const MODEL_SUFFIX: &str = "-simulated";

/// A row of the table of models.
#[derive(Debug)]
pub(crate) struct SimulatedModel {
    pub(crate) name: &'static str,
    pub(crate) vocabulary: Vocabulary,
    pub(crate) price: ModelPrice,
    /// When the model ends, as YYYY-MM-DD. Source: "Deprecations".
    pub(crate) shutdown_date: Option<&'static str>,
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
    Chat(ChatAbility),
}

/// What a chat model takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChatAbility {
    /// The efforts of reasoning that it takes; none if it does not reason.
    pub(crate) efforts: &'static [Effort],
    /// The effort of a request that names none.
    pub(crate) usual_effort: Effort,
    /// Whether a request may ask for several choices.
    pub(crate) choices: bool,
    pub(crate) flex: bool,
    /// The most tokens of a conversation.
    pub(crate) context: u64,
}

impl ChatAbility {
    /// A model that reasons takes `max_completion_tokens` alone, and no sampling while it reasons.
    pub(crate) fn reasons(&self) -> bool {
        !self.efforts.is_empty()
    }
}

/// How long a model reasons. Source: "Create chat completion", `reasoning_effort`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    None,
    Minimal,
    Low,
    Medium,
    High,
    XHigh,
    Max,
}

impl Effort {
    const ALL: [Self; 7] = [
        Self::None,
        Self::Minimal,
        Self::Low,
        Self::Medium,
        Self::High,
        Self::XHigh,
        Self::Max,
    ];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Minimal => "minimal",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::XHigh => "xhigh",
            Self::Max => "max",
        }
    }

    pub(crate) fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|effort| effort.word() == word)
    }

    /// The tokens of reasoning of each choice. Only the simulator says so: real ones vary.
    pub(crate) fn tokens(self) -> usize {
        match self {
            Self::None => 0,
            Self::Minimal => 8,
            Self::Low => 32,
            Self::Medium => 128,
            Self::High => 512,
            Self::XHigh => 1_024,
            Self::Max => 2_048,
        }
    }
}

/// What a model's tokens cost, in millionths of a millionth of a dollar (picodollars) a token. That
/// is a millionth of the price of a million tokens, so every price below is a whole number, and so
/// is half of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ModelPrice {
    pub(crate) input: u64,
    pub(crate) cached: u64,
    /// What it costs to write input to the prompt cache, for models that charge for it. It takes the
    /// place of the price of the input.
    pub(crate) cache_write: Option<u64>,
    pub(crate) output: u64,
    /// Whether long requests cost more.
    pub(crate) long_costs_more: bool,
}

impl ModelPrice {
    /// The prices of a million tokens in thousandths of a dollar: input, cached input, output.
    const fn of(input: u64, cached: u64, output: u64) -> Self {
        Self {
            input: input * 1_000,
            cached: cached * 1_000,
            cache_write: None,
            output: output * 1_000,
            long_costs_more: false,
        }
    }

    /// The same from gpt-5.6 on, with what a write to the cache costs.
    const fn with_writes(input: u64, cached: u64, write: u64, output: u64) -> Self {
        Self {
            cache_write: Some(write * 1_000),
            long_costs_more: true,
            ..Self::of(input, cached, output)
        }
    }
}

use Effort::{High, Low, Max, Medium, Minimal, XHigh};

/// Models that do not reason.
const PLAIN: ChatAbility = ChatAbility {
    efforts: &[],
    usual_effort: Effort::None,
    choices: true,
    flex: false,
    context: 128_000,
};
/// o1 and o3-mini.
const O_SERIES: ChatAbility = ChatAbility {
    efforts: &[Low, Medium, High],
    usual_effort: Medium,
    choices: false,
    flex: false,
    context: 200_000,
};
const O_SERIES_WITH_FLEX: ChatAbility = ChatAbility {
    flex: true,
    ..O_SERIES
};
const GPT_5: ChatAbility = ChatAbility {
    efforts: &[Minimal, Low, Medium, High],
    usual_effort: Medium,
    choices: false,
    flex: true,
    context: 400_000,
};
const GPT_5_1: ChatAbility = ChatAbility {
    efforts: &[Effort::None, Low, Medium, High],
    usual_effort: Effort::None,
    choices: true,
    ..GPT_5
};
const GPT_5_2: ChatAbility = ChatAbility {
    efforts: &[Effort::None, Low, Medium, High, XHigh],
    ..GPT_5_1
};
const GPT_5_6: ChatAbility = ChatAbility {
    usual_effort: Medium,
    context: 1_050_000,
    ..GPT_5_2
};
const GPT_6: ChatAbility = ChatAbility {
    efforts: &[Effort::None, Low, Medium, High, XHigh, Max],
    ..GPT_5_6
};
const GPT_4_1: ChatAbility = ChatAbility {
    context: 1_047_576,
    ..PLAIN
};

/// All models, without the dated snapshots of chat models. Sources: "Models", "Pricing" (standard
/// processing, in thousandths of a dollar for a million tokens) and "Deprecations".
pub(crate) static MODELS: [SimulatedModel; 26] = [
    embeds("text-embedding-3-small", 1536, true, 20),
    embeds("text-embedding-3-large", 3072, true, 130),
    embeds("text-embedding-ada-002", 1536, false, 100),
    chats(
        "gpt-6-luna",
        GPT_6,
        ModelPrice::with_writes(100, 10, 125, 500),
    ),
    chats(
        "gpt-6.1-terra",
        GPT_6,
        ModelPrice::with_writes(1_000, 50, 1_250, 5_000),
    ),
    chats(
        "gpt-6-sol",
        GPT_6,
        ModelPrice::with_writes(2_000, 200, 2_500, 10_000),
    ),
    chats(
        "gpt-5.6-luna",
        GPT_5_6,
        ModelPrice::with_writes(200, 20, 250, 1_200),
    ),
    chats(
        "gpt-5.6-terra",
        GPT_5_6,
        ModelPrice::with_writes(2_000, 200, 2_500, 12_000),
    ),
    chats("gpt-5.4", GPT_5_2, ModelPrice::of(2_500, 250, 15_000)),
    chats("gpt-5.4-mini", GPT_5_2, ModelPrice::of(750, 75, 4_500)),
    chats("gpt-5.4-nano", GPT_5_2, ModelPrice::of(200, 20, 1_250)).ends("2027-04-01"),
    chats("gpt-5.2", GPT_5_2, ModelPrice::of(1_750, 175, 14_000)),
    chats("gpt-5.1", GPT_5_1, ModelPrice::of(1_250, 125, 10_000)).ends("2027-04-01"),
    chats("gpt-5", GPT_5, ModelPrice::of(1_250, 125, 10_000)).ends("2026-12-11"),
    chats("gpt-5-mini", GPT_5, ModelPrice::of(250, 25, 2_000)).ends("2026-12-11"),
    chats("gpt-5-nano", GPT_5, ModelPrice::of(50, 5, 400)).ends("2026-12-11"),
    chats(
        "gpt-5-chat-latest",
        PLAIN,
        ModelPrice::of(1_250, 125, 10_000),
    ),
    chats("gpt-4o", PLAIN, ModelPrice::of(2_500, 1_250, 10_000)).ends("2027-01-14"),
    chats("gpt-4o-mini", PLAIN, ModelPrice::of(150, 75, 600)).ends("2027-01-14"),
    chats("gpt-4.1", GPT_4_1, ModelPrice::of(2_000, 500, 8_000)).ends("2027-01-14"),
    chats("gpt-4.1-mini", GPT_4_1, ModelPrice::of(400, 100, 1_600)).ends("2027-01-14"),
    chats("gpt-4.1-nano", GPT_4_1, ModelPrice::of(100, 25, 400)).ends("2026-10-23"),
    chats("o1", O_SERIES, ModelPrice::of(15_000, 7_500, 60_000)).ends("2026-10-23"),
    chats("o3", O_SERIES_WITH_FLEX, ModelPrice::of(2_000, 500, 8_000)).ends("2026-12-11"),
    chats("o3-mini", O_SERIES, ModelPrice::of(1_100, 550, 4_400)).ends("2026-10-23"),
    chats(
        "o4-mini",
        O_SERIES_WITH_FLEX,
        ModelPrice::of(1_100, 275, 4_400),
    )
    .ends("2026-10-23"),
];

impl SimulatedModel {
    const fn ends(self, date: &'static str) -> Self {
        Self {
            shutdown_date: Some(date),
            ..self
        }
    }

    /// As the list of models shows it. A dated model has its own name and all else of its family.
    pub(crate) fn to_json(&self, name: &str) -> Value {
        json!({
            "id": name,
            "object": "model",
            "created": 1_700_000_000,
            "owned_by": "simulated",
            "shutdown_date": self.shutdown_date,
        })
    }
}

/// Finds a model by its name. A dated chat model (`gpt-4o-mini-2024-07-18`) is found as its family.
pub(crate) fn find(name: &str) -> Option<&'static SimulatedModel> {
    let exact = |name: &str| MODELS.iter().find(|model| model.name == name);
    exact(name)
        .or_else(|| exact(undated(name)?).filter(|model| matches!(model.ability, Ability::Chat(_))))
}

/// `price` is that of a million tokens, in thousandths of a dollar.
const fn embeds(
    name: &'static str,
    max_dimensions: usize,
    shortens: bool,
    price: u64,
) -> SimulatedModel {
    SimulatedModel {
        name,
        vocabulary: Vocabulary::Cl100k,
        price: ModelPrice::of(price, price, 0),
        shutdown_date: None,
        ability: Ability::Embed {
            max_dimensions,
            shortens,
        },
    }
}

const fn chats(name: &'static str, ability: ChatAbility, price: ModelPrice) -> SimulatedModel {
    SimulatedModel {
        name,
        vocabulary: Vocabulary::O200k,
        price,
        shutdown_date: None,
        ability: Ability::Chat(ability),
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
        find(name).is_some_and(|model| matches!(model.ability, Ability::Chat(_)))
    }

    fn max_dimensions(name: &str) -> Option<usize> {
        match find(name)?.ability {
            Ability::Embed { max_dimensions, .. } => Some(max_dimensions),
            Ability::Chat(_) => None,
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
