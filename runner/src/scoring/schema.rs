//! The strict JSON schema of an answer, made from the rubric.

use serde_json::{Map, Value, json};

use super::question::{Question, Scope};

/// The list of entries, the answer's only key.
pub(super) const POSTS: &str = "posts";
/// The line that an entry is about, from 1.
pub(super) const INDEX: &str = "index";
/// Why the scores are what they are.
pub(super) const REASON: &str = "reason";
/// What the post is about.
pub(super) const CATEGORIES: &str = "categories";
/// What the post says.
pub(super) const SUMMARY: &str = "summary";
/// What a podcast could make of it.
pub(super) const WHY_PODCAST_WORTHY: &str = "why_podcast_worthy";

/// Keys of an entry, which are no names for dimensions.
pub(super) const RESERVED_KEYS: [&str; 5] =
    [INDEX, REASON, CATEGORIES, SUMMARY, WHY_PODCAST_WORTHY];

/// The `json_schema` of a chat completion's `response_format`, to be sent with `strict: true`.
#[derive(Clone, Debug, PartialEq)]
pub struct AnswerSchema {
    /// The schema's name: letters, digits and underscores, at most 64.
    pub name: String,
    /// An object schema within the strict subset ("Supported schemas" of Structured Outputs).
    pub schema: Value,
}

impl Question<'_> {
    /// The schema of an answer: `{"posts":[{"index","reason",<dimension>…,"categories","summary",
    /// "why_podcast_worthy"}]}`, without the last two in a brief answer, or `{"posts":[{"index","reason",<dimension>}]}`
    /// for one dimension.
    ///
    /// A model fills the keys in this order, so it gives its reason before the scores. The schema is the same for every
    /// batch of a rubric, full or not. So the provider compiles it once and caches the prompt.
    pub fn schema(&self) -> AnswerSchema {
        let entry = strict_object(self.entry_properties());
        AnswerSchema {
            name: self.schema_name(),
            schema: strict_object(vec![(
                POSTS.to_owned(),
                json!({ "type": "array", "items": entry }),
            )]),
        }
    }

    /// Names of dimensions have at most 40 letters, so this has at most 46.
    fn schema_name(&self) -> String {
        match (self.scope, self.dimensions) {
            (Scope::Dimension, [dimension]) => format!("score_{}", dimension.name),
            _ => "scores".to_owned(),
        }
    }

    fn entry_properties(&self) -> Vec<(String, Value)> {
        let text = || json!({ "type": "string" });
        let scale = self.rubric.scale;
        let score = json!({ "type": "number", "minimum": scale.min, "maximum": scale.max });
        let index =
            json!({ "type": "integer", "minimum": 1, "maximum": self.rubric.posts_per_call });
        let mut properties = vec![(INDEX.to_owned(), index), (REASON.to_owned(), text())];
        properties.extend(
            self.dimensions
                .iter()
                .map(|d| (d.name.clone(), score.clone())),
        );
        if self.scope != Scope::Dimension {
            let names: Vec<&str> = self
                .rubric
                .categories
                .iter()
                .map(|c| c.name.as_str())
                .collect();
            let categories = json!({
                "type": "array",
                "items": { "type": "string", "enum": names },
                "maxItems": self.rubric.max_categories,
            });
            properties.push((CATEGORIES.to_owned(), categories));
        }
        if self.scope == Scope::Whole {
            properties.extend([
                (SUMMARY.to_owned(), text()),
                (WHY_PODCAST_WORTHY.to_owned(), text()),
            ]);
        }
        properties
    }
}

/// An object of the strict subset: all properties are required, and no others are allowed.
fn strict_object(properties: Vec<(String, Value)>) -> Value {
    let required: Vec<String> = properties.iter().map(|(key, _)| key.clone()).collect();
    json!({
        "type": "object",
        "properties": properties.into_iter().collect::<Map<_, _>>(),
        "required": required,
        "additionalProperties": false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scoring::rubric::Rubric;

    /// Every schema in the tree with the keywords that it uses.
    fn walk<'v>(schema: &'v Value, visit: &mut impl FnMut(&'v Map<String, Value>)) {
        let object = schema.as_object().expect("a schema is an object");
        visit(object);
        if let Some(items) = object.get("items") {
            walk(items, visit);
        }
        for property in object
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            walk(property.1, visit);
        }
    }

    fn assert_strict(schema: &AnswerSchema) {
        const ALLOWED: [&str; 9] = [
            "type",
            "properties",
            "required",
            "additionalProperties",
            "items",
            "enum",
            "minimum",
            "maximum",
            "maxItems",
        ];
        assert_eq!(schema.schema["type"], "object");
        assert!((1..=64).contains(&schema.name.len()));
        assert!(
            schema
                .name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_')
        );
        walk(&schema.schema, &mut |object| {
            for keyword in object.keys() {
                assert!(ALLOWED.contains(&keyword.as_str()), "{keyword}");
            }
            if object["type"] == "object" {
                let keys: Vec<&String> = object["properties"].as_object().unwrap().keys().collect();
                let required: Vec<&str> = object["required"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .filter_map(Value::as_str)
                    .collect();
                assert_eq!(keys, required);
                assert_eq!(object["additionalProperties"], false);
            }
        });
    }

    #[test]
    fn the_whole_rubric_is_asked_for_in_order() {
        let rubric = Rubric::default();
        let schema = Question::whole(&rubric).schema();
        assert_strict(&schema);
        assert_eq!(schema.name, "scores");
        let entry = &schema.schema["properties"]["posts"]["items"];
        let keys: Vec<&String> = entry["properties"].as_object().unwrap().keys().collect();
        assert_eq!(
            keys,
            [
                "index",
                "reason",
                "absurdity",
                "discussion_spark",
                "drama",
                "emotional_intensity",
                "news_value",
                "podcast_worthy",
                "readability",
                "categories",
                "summary",
                "why_podcast_worthy"
            ]
        );
        assert_eq!(
            entry["properties"]["drama"],
            json!({ "type": "number", "minimum": 1, "maximum": 10 })
        );
        assert_eq!(entry["properties"]["categories"]["maxItems"], 3);
        assert_eq!(
            entry["properties"]["categories"]["items"]["enum"],
            json!([
                "crime",
                "drama",
                "humor",
                "local_news",
                "lost_pet",
                "noise",
                "suspicious",
                "wildlife"
            ])
        );
    }

    #[test]
    fn a_backfill_asks_for_one_score_and_its_reason() {
        let mut rubric = Rubric::default();
        rubric.dimensions[2].name = "a".repeat(40);
        let schema = Question::dimension(&rubric, &"a".repeat(40))
            .unwrap()
            .schema();
        assert_strict(&schema);
        let entry = schema.schema["properties"]["posts"]["items"]["properties"]
            .as_object()
            .unwrap();
        let keys: Vec<&str> = entry.keys().map(String::as_str).collect();
        assert_eq!(keys, ["index", "reason", &"a".repeat(40)]);
    }

    #[test]
    fn a_brief_answer_has_no_texts() {
        let rubric = Rubric::default();
        let keys = |question: Question<'_>| -> Vec<String> {
            let schema = question.schema();
            assert_strict(&schema);
            let entry = schema.schema["properties"]["posts"]["items"]["properties"].clone();
            entry.as_object().unwrap().keys().cloned().collect()
        };
        let mut whole = keys(Question::whole(&rubric));
        whole.retain(|key| ![SUMMARY, WHY_PODCAST_WORTHY].contains(&key.as_str()));
        assert_eq!(keys(Question::brief(&rubric)), whole);
    }

    #[test]
    fn every_key_of_an_answer_is_reserved() {
        let rubric = Rubric::default();
        let schema = Question::whole(&rubric).schema();
        let entry = schema.schema["properties"]["posts"]["items"]["properties"]
            .as_object()
            .unwrap();
        for key in entry.keys().filter(|key| rubric.dimension(key).is_none()) {
            assert!(RESERVED_KEYS.contains(&key.as_str()), "{key}");
        }
    }
}
