//! Filling in any strict schema from the words of the posts, so that a changed rubric needs no
//! change here.

use std::ops::RangeInclusive;

use serde_json::{Map, Value, json};

use super::affinity::TextWords;
use crate::request::{PromptPost, WordLimits, resolve_reference};

/// Fills in a strict schema.
///
/// A list of objects with an `index` gets one entry for each post, which depends on that post alone.
/// Everything else is filled in from all posts together. `run` makes the runs of an ensemble differ
/// a little.
pub(super) fn fill(schema: &Value, posts: &[PromptPost], run: i64, limits: &WordLimits) -> Value {
    let texts: Vec<&str> = posts.iter().map(|post| post.text.as_str()).collect();
    let whole = texts.join("\n");
    let filler = SchemaFiller {
        root: schema,
        posts,
        run,
        limits,
    };
    let subject = Subject {
        words: &TextWords::new(&whole),
        index: None,
    };
    filler.value(schema, "answer", &subject, 0)
}

/// How many references within references are followed: a schema may contain itself.
const MAX_HOPS: usize = 4;

/// No list has more items than this, unless there are more posts.
const MAX_ITEMS: u64 = 100;

/// How many values are chosen if the schema has no `maxItems`.
const USUAL_CHOICES: u64 = 3;

struct SchemaFiller<'s> {
    root: &'s Value,
    posts: &'s [PromptPost],
    run: i64,
    limits: &'s WordLimits,
}

/// What a value is about: one post, or all of them.
struct Subject<'w> {
    words: &'w TextWords<'w>,
    /// The index of the post.
    index: Option<i64>,
}

impl SchemaFiller<'_> {
    fn value(&self, schema: &Value, name: &str, subject: &Subject<'_>, hops: usize) -> Value {
        if schema.get("$ref").is_some() {
            return match hops {
                MAX_HOPS.. => Value::Null,
                _ => self.value(self.resolved(schema), name, subject, hops + 1),
            };
        }
        if let Some(constant) = schema.get("const") {
            return constant.clone();
        }
        if let Some(values) = schema.get("enum").and_then(Value::as_array) {
            return choices(values, subject.words, 1..=1)
                .pop()
                .unwrap_or_default();
        }
        if let Some(options) = schema.get("anyOf").and_then(Value::as_array) {
            return self.option(options, name, subject, hops);
        }
        match json_type(schema) {
            "object" => self.object(schema, subject, hops),
            "array" => self.array(schema, name, subject, hops),
            "integer" | "number" => self.number(schema, name, subject),
            "boolean" => json!(subject.words.affinity(name) > 0.5),
            "string" => json!(self.limits.kept(name, sentence(name, subject.words))),
            _ => Value::Null,
        }
    }

    fn object(&self, schema: &Value, subject: &Subject<'_>, hops: usize) -> Value {
        let properties = schema.get("properties").and_then(Value::as_object);
        let properties = properties.into_iter().flatten();
        let filled =
            properties.map(|(key, child)| (key.clone(), self.value(child, key, subject, hops)));
        filled.collect::<Map<_, _>>().into()
    }

    fn array(&self, schema: &Value, name: &str, subject: &Subject<'_>, hops: usize) -> Value {
        let bound = |key: &str| schema.get(key).and_then(Value::as_u64);
        let min = bound("minItems").unwrap_or(0).min(MAX_ITEMS);
        let max = bound("maxItems");
        let unresolved = schema.get("items").unwrap_or(&Value::Null);
        let items = self.resolved(unresolved);
        if subject.index.is_none() && items.pointer("/properties/index").is_some() {
            let entries = self.posts.iter().map(|post| self.entry(items, post, hops));
            return entries.collect();
        }
        if let Some(values) = items.get("enum").and_then(Value::as_array) {
            let counts = min..=max.unwrap_or(USUAL_CHOICES).max(min);
            return choices(values, subject.words, counts).into();
        }
        // As few as allowed, but not an empty list if one item is allowed.
        let count = min.max(u64::from(max != Some(0) && hops == 0));
        let values = (0..count).map(|_| self.value(unresolved, name, subject, hops));
        values.collect()
    }

    /// The entry of one post.
    fn entry(&self, schema: &Value, post: &PromptPost, hops: usize) -> Value {
        let subject = Subject {
            words: &TextWords::new(&post.text),
            index: Some(post.index),
        };
        self.value(schema, "entry", &subject, hops)
    }

    /// The first option that is not null. Within a reference, null is preferred, because it ends a
    /// recursive schema.
    fn option(&self, options: &[Value], name: &str, subject: &Subject<'_>, hops: usize) -> Value {
        let is_null = |option: &Value| json_type(self.resolved(option)) == "null";
        if hops > 0 && options.iter().any(is_null) {
            return Value::Null;
        }
        let chosen = options.iter().find(|option| !is_null(option));
        chosen.map_or(Value::Null, |option| {
            self.value(option, name, subject, hops)
        })
    }

    /// A score within its bounds. Mostly the words decide, in part the text's hash, and a little the
    /// run.
    fn number(&self, schema: &Value, name: &str, subject: &Subject<'_>) -> Value {
        if let (Some(index), "index") = (subject.index, name) {
            return json!(index);
        }
        let bound = |keys: [&str; 2]| keys.iter().find_map(|key| schema.get(*key)?.as_f64());
        let low = bound(["minimum", "exclusiveMinimum"]).unwrap_or(0.0);
        let high = bound(["maximum", "exclusiveMaximum"]).unwrap_or(low + 10.0);
        let words = subject.words;
        let share = 0.1
            + 0.65 * words.affinity(name)
            + 0.2 * words.chance(name, None)
            + 0.08 * (words.chance(name, Some(self.run)) - 0.5);
        let exact = low + (high - low) * share.clamp(0.01, 0.99);
        let whole = json_type(schema) == "integer";
        let step = schema.get("multipleOf").and_then(Value::as_f64);
        let step = step.unwrap_or(if whole { 1.0 } else { 0.1 });
        rounded(exact, step, low..=high, whole)
    }

    fn resolved<'v>(&'v self, schema: &'v Value) -> &'v Value {
        let reference = schema.get("$ref").and_then(Value::as_str);
        let target = reference.and_then(|reference| resolve_reference(self.root, reference));
        target.unwrap_or(schema)
    }
}

/// The values that the text has words for, the nearest first; one by the text's hash if it has words
/// for none. Their number stays within `counts`.
fn choices(values: &[Value], words: &TextWords<'_>, counts: RangeInclusive<u64>) -> Vec<Value> {
    let nearness = |value: &Value| {
        let name = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        words.affinity(&name) + words.chance(&name, None) / 1000.0
    };
    let mut ranked: Vec<(f64, &Value)> = values.iter().map(|v| (nearness(v), v)).collect();
    ranked.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let near = ranked.iter().filter(|(nearness, _)| *nearness > 0.1);
    let count = (near.count() as u64)
        .max(1)
        .clamp(*counts.start(), *counts.end());
    let chosen = ranked.iter().zip(0..count);
    chosen.map(|((_, value), _)| (*value).clone()).collect()
}

/// The first type that is not null.
fn json_type(schema: &Value) -> &str {
    match schema.get("type") {
        Some(Value::Array(types)) => {
            let mut names = types.iter().filter_map(Value::as_str);
            names.find(|name| *name != "null").unwrap_or("null")
        }
        Some(Value::String(name)) => name,
        _ => "",
    }
}

/// The nearest multiple of the step within the bounds.
fn rounded(exact: f64, step: f64, bounds: RangeInclusive<f64>, whole: bool) -> Value {
    let lowest = (bounds.start() / step).ceil();
    let highest = (bounds.end() / step).floor();
    let number = (exact / step).round().clamp(lowest, highest) * step;
    if whole {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "it is whole, and within the bounds"
        )]
        return json!(number as i64);
    }
    // Multiplying by a step such as 0.1 leaves a small error, which six decimals take away.
    json!((number * 1e6).round() / 1e6)
}

fn sentence(name: &str, words: &TextWords<'_>) -> String {
    let head = words.first_sentence(140);
    if name.contains("summary") {
        head
    } else {
        format!("Simulated, by the words of: {head}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(schema: &Value, posts: &[PromptPost], run: i64) -> Value {
        super::fill(schema, posts, run, &WordLimits::default())
    }
    use crate::request::check_schema;

    fn post(index: i64, text: &str) -> PromptPost {
        PromptPost {
            index,
            text: text.to_owned(),
        }
    }

    fn closed(properties: &Value) -> Value {
        let keys: Vec<&String> = properties.as_object().unwrap().keys().collect();
        json!({"type": "object", "properties": properties, "required": keys,
            "additionalProperties": false})
    }

    fn rubric(dimensions: &[&str]) -> Value {
        let score = json!({"type": "number", "minimum": 1, "maximum": 10});
        let mut entry = json!({"index": {"type": "integer"}, "reason": {"type": "string"}});
        for name in dimensions {
            entry[*name] = score.clone();
        }
        entry["categories"] = json!({"type": "array", "maxItems": 2,
            "items": {"type": "string", "enum": ["crime", "noise", "wildlife"]}});
        let schema = closed(&json!({"posts": {"type": "array", "items": closed(&entry)}}));
        assert_eq!(check_schema("scores", &schema), Ok(()));
        schema
    }

    #[test]
    fn every_post_gets_its_own_entry() {
        let posts = [
            post(
                1,
                "Police! Someone stole my package, the thief yelled at us!",
            ),
            post(2, "The herons are back at the pond."),
        ];
        let answer = fill(&rubric(&["drama", "cuteness"]), &posts, 0);
        let entries = answer["posts"].as_array().unwrap();
        let keys: Vec<&String> = entries[0].as_object().unwrap().keys().collect();
        assert_eq!(keys, ["index", "reason", "drama", "cuteness", "categories"]);
        assert_eq!(
            (&entries[0]["index"], &entries[1]["index"]),
            (&json!(1), &json!(2))
        );
        let drama = |entry: &Value| entry["drama"].as_f64().unwrap();
        assert!(drama(&entries[0]) > drama(&entries[1]) + 2.0);
        assert_eq!(entries[0]["categories"], json!(["crime"]));
        assert_eq!(entries[1]["categories"], json!(["wildlife"]));
    }

    #[test]
    fn the_score_of_a_post_is_independent_of_other_posts_and_dimensions() {
        let (a, b) = (post(1, "Loud music again."), post(2, "Free couch."));
        let entry = |posts: &[PromptPost], dimensions: &[&str], at: usize| {
            fill(&rubric(dimensions), posts, 7)["posts"][at].take()
        };
        let alone = entry(std::slice::from_ref(&b), &["drama"], 0);
        assert_eq!(entry(&[a.clone(), b.clone()], &["drama"], 1), alone);
        assert_eq!(
            entry(&[b], &["drama", "absurdity"], 0)["drama"],
            alone["drama"]
        );
    }

    #[test]
    fn a_list_within_an_entry_is_not_a_list_of_posts() {
        let list = |entry: &Value| json!({"type": "array", "items": closed(entry)});
        let quotes = list(&json!({"index": {"type": "integer"}}));
        let schema = closed(
            &json!({"posts": list(&json!({"quotes": quotes, "index": {"type": "integer"}}))}),
        );
        let answer = fill(&schema, &[post(1, "a"), post(2, "b")], 0);
        assert_eq!(answer["posts"][1]["quotes"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn runs_differ_a_little() {
        let schema = rubric(&["drama"]);
        let scores: Vec<f64> = (0..20)
            .map(|run| {
                let answer = fill(&schema, &[post(1, "A fight about parking.")], run);
                answer["posts"][0]["drama"].as_f64().unwrap()
            })
            .collect();
        let (low, high) = scores
            .iter()
            .fold((10.0_f64, 0.0_f64), |(low, high), &score| {
                (low.min(score), high.max(score))
            });
        assert!(high > low && high - low < 1.0, "{low} to {high}");
    }

    #[test]
    fn bounds_steps_and_types_are_kept() {
        let schema = closed(&json!({
            "grade": {"type": "integer", "minimum": 3, "maximum": 4},
            "half": {"type": "number", "minimum": 0.2, "maximum": 0.9, "multipleOf": 0.5},
            "kind": {"const": "post"},
            "maybe": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/flag"}]},
            "either": {"type": ["null", "boolean"]},
            "both": {"type": "array", "items": {"enum": ["x", "y"]}, "minItems": 2},
            "no": {"type": "array", "items": {"enum": ["x", "y"]}, "maxItems": 0},
            "tags": {"type": "array", "items": {"type": "string"}, "minItems": 2},
            "none": {"type": "null"},
        }));
        let mut schema = schema;
        schema["$defs"] = json!({"flag": {"type": "boolean"}});
        for text in ["a", "b", "c", "grade half"] {
            let answer = fill(&schema, &[post(1, text)], 0);
            assert!([3, 4].contains(&answer["grade"].as_i64().unwrap()));
            assert_eq!(answer["half"], 0.5);
            assert_eq!(
                (&answer["kind"], &answer["none"]),
                (&json!("post"), &Value::Null)
            );
            assert!(answer["maybe"].is_boolean() && answer["either"].is_boolean());
            assert_eq!(answer["both"].as_array().unwrap().len(), 2);
            assert_eq!(answer["no"], json!([]));
            assert_eq!(answer["tags"].as_array().unwrap().len(), 2);
        }
    }

    #[test]
    fn a_recursive_schema_ends() {
        let schema = closed(&json!({
            "next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]},
            "all": {"type": "array", "items": {"$ref": "#"}},
            "self": {"$ref": "#"},
        }));
        assert_eq!(check_schema("tree", &schema), Ok(()));
        let answer = fill(&schema, &[post(1, "a")], 0);
        assert_eq!(answer["next"]["next"], Value::Null);
        assert_eq!(answer["self"]["self"]["self"]["self"]["self"], Value::Null);
    }
}
