//! The rubric: what is asked about a post, on which scale and by which model.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::provider::ReasoningEffort;

/// The model of a project that names none.
pub const DEFAULT_MODEL: &str = "gpt-6-luna";

/// The effort that goes with [`DEFAULT_MODEL`], unless another is configured.
const DEFAULT_EFFORT: ReasoningEffort = ReasoningEffort::None;

/// The default of earlier versions. A project that has scores by it and names no model keeps it.
pub const EARLIER_MODEL: &str = "gpt-4o-mini";

/// What a language model is asked about each post: the `[scoring]` section of `sluice.toml`.
///
/// Every key may be left out, and is then as in [`Rubric::default`]. A list replaces the default list as a whole. Values
/// are read without a check, so call [`check`](Rubric::check) before using them.
///
/// ```
/// use sluice_runner::scoring::Rubric;
///
/// let rubric: Rubric = toml::from_str(
///     r#"
///     runs = 1
///     [[dimensions]]
///     name = "kindness"
///     description = "How kind are people to each other here?"
///     anchors = { low = "somebody is cruel", mid = "neither", high = "a stranger is rescued" }
///     weight = 2
///     "#,
/// )?;
/// rubric.check()?;
/// assert_eq!(rubric.posts_per_call, 5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(
    description = "What a language model is asked about each post. Keys that are left out are as in \
    the default. A list replaces the default list as a whole."
)]
pub struct Rubric {
    /// What is scored, in the order of the prompt: 1 to 100 dimensions.
    #[schemars(length(min = 1, max = 100))]
    pub dimensions: Vec<Dimension>,
    /// The lowest and the highest score.
    pub scale: Scale,
    /// What a post may be about: 1 to 200 categories.
    #[schemars(length(min = 1, max = 200))]
    pub categories: Vec<Category>,
    /// How many categories a post may have, 1 to 20.
    #[schemars(range(min = 1, max = 20))]
    pub max_categories: usize,
    /// How many posts go into one request, 1 to 50.
    #[schemars(range(min = 1, max = 50))]
    pub posts_per_call: usize,
    /// How often each post is asked about, 1 to 9. The median of the answers is stored.
    #[schemars(range(min = 1, max = 9))]
    pub runs: usize,
    /// Which runs write a summary and reasons (default `one_run`, or `every_run` if a model is named).
    pub texts: Option<Texts>,
    /// The chat model's name, as the provider knows it (default `gpt-6-luna`).
    #[schemars(length(min = 1))]
    pub model: Option<String>,
    /// Sampling temperature, 0 to 2, for models that take one. If unset it is the provider's default, so that the
    /// runs differ enough for a median.
    #[schemars(range(min = 0, max = 2))]
    pub temperature: Option<f64>,
    /// How long a reasoning model thinks (default `none` with the default model; with another, as the provider
    /// does). Efforts other than `none` exclude `temperature`, which such models refuse.
    pub reasoning_effort: Option<ReasoningEffort>,
    /// How many characters of a post the model reads. A longer text is truncated and marked.
    #[schemars(range(min = 1, max = 100_000))]
    pub text_limit: usize,
    /// How many characters of a summary are kept.
    #[schemars(range(min = 1, max = 5_000))]
    pub summary_limit: usize,
}

/// Which runs of an ensemble write a summary and reasons in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Texts {
    /// Every run. Those of the run nearest to the medians are kept.
    EveryRun,
    /// One run, whose texts are kept. The others give scores, categories and a short reason.
    OneRun,
}

/// One quality of a post that gets a score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dimension {
    /// The key under which the score is stored: `[a-z][a-z0-9_]{0,39}`.
    #[schemars(regex(pattern = r"^[a-z][a-z0-9_]{0,39}$"))]
    pub name: String,
    /// What the model is to judge, in a sentence or two.
    #[schemars(length(min = 1))]
    pub description: String,
    /// Examples of a low, a middle and a high score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchors: Option<Anchors>,
    /// How much the dimension counts in the final score, at least 0.
    #[schemars(range(min = 0))]
    pub weight: f64,
}

/// Examples that pin a dimension to its scale.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Anchors {
    /// What earns the lowest score.
    #[schemars(length(min = 1))]
    pub low: String,
    /// What earns a middle score.
    #[schemars(length(min = 1))]
    pub mid: String,
    /// What earns the highest score.
    #[schemars(length(min = 1))]
    pub high: String,
}

/// The range of a score, both ends included, within 0 to 10.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scale {
    /// The lowest score, below `max`.
    #[schemars(range(max = 9))]
    pub min: u8,
    /// The highest score, at most 10, which is the highest final score.
    #[schemars(range(min = 1, max = 10))]
    pub max: u8,
}

/// Something that a post may be about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Category {
    /// The name that is stored: `[a-z][a-z0-9_]{0,39}`.
    #[schemars(regex(pattern = r"^[a-z][a-z0-9_]{0,39}$"))]
    pub name: String,
    /// What belongs in it.
    #[schemars(length(min = 1))]
    pub description: String,
}

impl Rubric {
    /// The model that is asked.
    pub fn model(&self) -> &str {
        self.model.as_deref().unwrap_or(DEFAULT_MODEL)
    }

    /// The effort that a request names. `None` leaves it to the provider.
    pub fn effort(&self) -> Option<ReasoningEffort> {
        let default = self.model.is_none().then_some(DEFAULT_EFFORT);
        self.reasoning_effort.or(default)
    }

    /// Which runs write a summary and reasons. A configuration that names its model may be older than the choice.
    pub fn texts(&self) -> Texts {
        let default = match self.model {
            None => Texts::OneRun,
            Some(_) => Texts::EveryRun,
        };
        self.texts.unwrap_or(default)
    }

    /// The same rubric as an earlier version asked it, if it names no model.
    #[must_use]
    pub fn of_earlier_version(&self) -> Self {
        let earlier = || EARLIER_MODEL.to_owned();
        Self {
            model: Some(self.model.clone().unwrap_or_else(earlier)),
            ..self.clone()
        }
    }

    /// The dimension of that name.
    pub fn dimension(&self, name: &str) -> Option<&Dimension> {
        self.dimensions
            .iter()
            .find(|dimension| dimension.name == name)
    }
}

impl Scale {
    /// True if a score is on the scale. NaN is not.
    pub fn contains(self, score: f64) -> bool {
        (f64::from(self.min)..=f64::from(self.max)).contains(&score)
    }
}

impl Default for Rubric {
    fn default() -> Self {
        Self {
            dimensions: default_dimensions(),
            scale: Scale { min: 1, max: 10 },
            categories: default_categories(),
            max_categories: 3,
            posts_per_call: 5,
            runs: 3,
            texts: None,
            model: None,
            temperature: None,
            reasoning_effort: None,
            text_limit: 2_000,
            summary_limit: 500,
        }
    }
}

/// The dimensions and weights of the earlier implementation, so that its scores and ours fit into one ranking.
fn default_dimensions() -> Vec<Dimension> {
    vec![
        dimension(
            "absurdity",
            2.5,
            "How strange, surreal or comically out of proportion is what happens or is said?",
            [
                "an ordinary notice that could have been posted anywhere",
                "an odd detail or an oddly heated reaction raises an eyebrow",
                "nobody would believe it in a novel",
            ],
        ),
        dimension(
            "discussion_spark",
            1.0,
            "How many neighbours would feel they have to reply, agree or object?",
            [
                "there is nothing to add",
                "a few tips or opinions would follow",
                "the street splits into camps and the thread runs for days",
            ],
        ),
        dimension(
            "drama",
            1.5,
            "How much conflict, accusation or suspense is there between people?",
            [
                "nobody is at odds with anybody",
                "somebody is annoyed and says so",
                "an open feud, an accusation by name or a confrontation",
            ],
        ),
        dimension(
            "emotional_intensity",
            1.2,
            "How strong are the feelings of the writer, or those a reader is left with?",
            [
                "matter of fact",
                "clearly glad, worried or cross",
                "grief, fury, terror or overwhelming joy",
            ],
        ),
        dimension(
            "news_value",
            1.0,
            "How much would people who live nearby need or want to know this today?",
            [
                "of use to the writer alone",
                "handy for the next few streets",
                "safety, a closure or a decision that concerns the whole area now",
            ],
        ),
        dimension(
            "podcast_worthy",
            2.5,
            "How well would two hosts do with it, read out and talked over for five minutes?",
            [
                "read out in ten seconds and forgotten",
                "good for a passing remark",
                "a story with characters, a turn and something left to wonder about",
            ],
        ),
        dimension(
            "readability",
            1.2,
            "How clear and pleasant is it to read aloud, just as it was written?",
            [
                "garbled, a bare list or barely a sentence",
                "understandable with a little tidying",
                "flows, has a voice and needs no editing",
            ],
        ),
    ]
}

fn default_categories() -> Vec<Category> {
    [
        (
            "crime",
            "theft, burglary, vandalism, fraud or violence, reported or suspected as such",
        ),
        (
            "drama",
            "quarrels and grudges between neighbours, or with a landlord or association",
        ),
        (
            "humor",
            "jokes, comic mishaps and posts that are funny, on purpose or not",
        ),
        (
            "local_news",
            "roads, utilities, weather, openings, closures, meetings and elections",
        ),
        (
            "lost_pet",
            "animals that somebody keeps and that are missing, found or sighted",
        ),
        (
            "noise",
            "sounds that bother or puzzle people: music, engines, fireworks, barking, booms",
        ),
        (
            "suspicious",
            "people, vehicles, callers or messages that make somebody uneasy",
        ),
        (
            "wildlife",
            "animals that nobody keeps, from coyotes and bears to owls and ants",
        ),
    ]
    .map(|(name, description)| Category {
        name: name.to_owned(),
        description: description.to_owned(),
    })
    .into()
}

fn dimension(name: &str, weight: f64, description: &str, [low, mid, high]: [&str; 3]) -> Dimension {
    Dimension {
        name: name.to_owned(),
        description: description.to_owned(),
        anchors: Some(Anchors {
            low: low.to_owned(),
            mid: mid.to_owned(),
            high: high.to_owned(),
        }),
        weight,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_has_the_weights_of_the_earlier_implementation() {
        let weights: Vec<(String, f64)> = Rubric::default()
            .dimensions
            .into_iter()
            .map(|d| (d.name, d.weight))
            .collect();
        let expected = [
            ("absurdity", 2.5),
            ("discussion_spark", 1.0),
            ("drama", 1.5),
            ("emotional_intensity", 1.2),
            ("news_value", 1.0),
            ("podcast_worthy", 2.5),
            ("readability", 1.2),
        ];
        assert_eq!(
            weights,
            expected.map(|(name, weight)| (name.to_owned(), weight))
        );
    }

    #[test]
    fn an_empty_section_is_the_default() {
        assert_eq!(toml::from_str::<Rubric>("").unwrap(), Rubric::default());
    }

    #[test]
    fn the_default_survives_toml() {
        let text = toml::to_string(&Rubric::default()).unwrap();
        assert_eq!(toml::from_str::<Rubric>(&text).unwrap(), Rubric::default());
    }

    #[test]
    fn unknown_keys_are_refused_at_every_level() {
        for text in [
            "rums = 3",
            "scale = { min = 1, max = 10, step = 1 }",
            "categories = [{ name = 'a', description = 'b', colour = 'c' }]",
            "dimensions = [{ name = 'a', description = 'b', weight = 1, wait = 2 }]",
        ] {
            let error = toml::from_str::<Rubric>(text).unwrap_err().to_string();
            assert!(error.contains("unknown field"), "{text}: {error}");
        }
    }

    #[test]
    fn the_scale_includes_its_ends_and_no_nan() {
        let scale = Scale { min: 1, max: 10 };
        assert!(scale.contains(1.0) && scale.contains(10.0));
        assert!(!scale.contains(0.999) && !scale.contains(10.001) && !scale.contains(f64::NAN));
    }

    #[test]
    fn defaults_go_with_the_default_model() {
        let rubric = |text| toml::from_str::<Rubric>(text).unwrap();
        let new = rubric("");
        assert_eq!((new.model(), new.texts()), (DEFAULT_MODEL, Texts::OneRun));
        assert_eq!(new.effort(), Some(ReasoningEffort::None));
        assert_eq!(
            rubric("reasoning_effort = 'low'").effort(),
            Some(ReasoningEffort::Low)
        );
        let named = rubric("model = 'gpt-6-luna'");
        assert_eq!((named.effort(), named.texts()), (None, Texts::EveryRun));
        assert_eq!(
            rubric("model = 'm'\ntexts = 'one_run'").texts(),
            Texts::OneRun
        );
        let earlier = new.of_earlier_version();
        assert_eq!((earlier.model(), earlier.effort()), (EARLIER_MODEL, None));
        assert_eq!(named.of_earlier_version(), named);
    }

    #[test]
    fn efforts_are_written_as_the_api_takes_them() {
        for effort in ReasoningEffort::ALL {
            assert_eq!(serde_json::to_value(effort).unwrap(), effort.as_str());
        }
    }
}
