//! Filling in any strict schema from the words of the posts, so that a changed rubric needs no
//! change here.

use std::ops::RangeInclusive;

use serde_json::{Map, Value, json};

use super::{affinity::Reading, prompt::Post, strict::resolve};

/// Fills in a schema that [keeps the rules](super::strict::check).
///
/// A list of objects with an `index` gets one entry for each post, which depends on that post alone.
/// Everything else is filled in from all of them. `run` tells apart the runs of an ensemble, which
/// differ by a little.
pub(super) fn fill(schema: &Value, posts: &[Post], run: i64) -> Value {
    let whole: String = posts
        .iter()
        .map(|post| post.text.as_str())
        .collect::<Vec<_>>()
        .join("\n");
    let filler = Filler {
        root: schema,
        posts,
        run,
    };
    let about = About {
        reading: &Reading::new(&whole),
        index: None,
    };
    filler.value(schema, "answer", &about, 0)
}

/// How many references within references are followed: a schema may contain itself.
const MAX_HOPS: usize = 4;

/// No list has more items than this, unless there are more posts.
const MAX_ITEMS: u64 = 100;

/// How many values are chosen where the schema does not say how many there may be.
const USUAL_CHOICES: u64 = 3;

struct Filler<'s> {
    root: &'s Value,
    posts: &'s [Post],
    run: i64,
}

/// What a value is about: a post, or all of them.
struct About<'r> {
    reading: &'r Reading<'r>,
    index: Option<i64>,
}

impl Filler<'_> {
    fn value(&self, schema: &Value, name: &str, about: &About<'_>, hops: usize) -> Value {
        if schema.get("$ref").is_some() {
            return match hops {
                MAX_HOPS.. => Value::Null,
                _ => self.value(self.resolved(schema), name, about, hops + 1),
            };
        }
        if let Some(constant) = schema.get("const") {
            return constant.clone();
        }
        if let Some(values) = schema.get("enum").and_then(Value::as_array) {
            return choices(values, about, 1..=1).pop().unwrap_or_default();
        }
        if let Some(options) = schema.get("anyOf").and_then(Value::as_array) {
            return self.option(options, name, about, hops);
        }
        match kind(schema) {
            "object" => self.object(schema, about, hops),
            "array" => self.array(schema, name, about, hops),
            "integer" | "number" => self.number(schema, name, about),
            "boolean" => json!(about.reading.affinity(name) > 0.5),
            "string" => json!(sentence(name, about.reading)),
            _ => Value::Null,
        }
    }

    fn object(&self, schema: &Value, about: &About<'_>, hops: usize) -> Value {
        let properties = schema.get("properties").and_then(Value::as_object);
        let filled: Map<String, Value> = properties
            .into_iter()
            .flatten()
            .map(|(key, child)| (key.clone(), self.value(child, key, about, hops)))
            .collect();
        Value::Object(filled)
    }

    fn array(&self, schema: &Value, name: &str, about: &About<'_>, hops: usize) -> Value {
        let bound = |key: &str| schema.get(key).and_then(Value::as_u64);
        let min = bound("minItems").unwrap_or(0).min(MAX_ITEMS);
        let max = bound("maxItems");
        let items = self.resolved(schema.get("items").unwrap_or(&Value::Null));
        if about.index.is_none() && items.pointer("/properties/index").is_some() {
            return self
                .posts
                .iter()
                .map(|post| self.entry(items, post, hops))
                .collect();
        }
        if let Some(values) = items.get("enum").and_then(Value::as_array) {
            return choices(values, about, min..=max.unwrap_or(USUAL_CHOICES).max(min)).into();
        }
        // As few as may be, but one where none would say nothing.
        let count = min.max(u64::from(max != Some(0) && hops == 0));
        let items = schema.get("items").unwrap_or(&Value::Null);
        (0..count)
            .map(|_| self.value(items, name, about, hops))
            .collect()
    }

    /// The entry of one post.
    fn entry(&self, schema: &Value, post: &Post, hops: usize) -> Value {
        let reading = Reading::new(&post.text);
        let about = About {
            reading: &reading,
            index: Some(post.index),
        };
        self.value(schema, "entry", &about, hops)
    }

    /// The first option that is not null. Within references null is preferred, where it is one of
    /// the options: it ends what could go on for ever.
    fn option(&self, options: &[Value], name: &str, about: &About<'_>, hops: usize) -> Value {
        let is_null = |option: &&Value| kind(self.resolved(option)) == "null";
        if hops > 0 && options.iter().any(|option| is_null(&option)) {
            return Value::Null;
        }
        let chosen = options.iter().find(|option| !is_null(option));
        chosen.map_or(Value::Null, |option| self.value(option, name, about, hops))
    }

    /// A score within its bounds: mostly by the text's words, partly the text's own, and a little
    /// different in each run.
    fn number(&self, schema: &Value, name: &str, about: &About<'_>) -> Value {
        if let (Some(index), "index") = (about.index, name) {
            return json!(index);
        }
        let bound = |keys: [&str; 2]| keys.iter().find_map(|key| schema.get(*key)?.as_f64());
        let low = bound(["minimum", "exclusiveMinimum"]).unwrap_or(0.0);
        let high = bound(["maximum", "exclusiveMaximum"]).unwrap_or(low + 10.0);
        let reading = about.reading;
        let share = 0.1
            + 0.65 * reading.affinity(name)
            + 0.2 * reading.chance(name, None)
            + 0.08 * (reading.chance(name, Some(self.run)) - 0.5);
        let exact = low + (high - low) * share.clamp(0.01, 0.99);
        let whole = kind(schema) == "integer";
        let step = schema.get("multipleOf").and_then(Value::as_f64);
        let step = step.unwrap_or(if whole { 1.0 } else { 0.1 });
        rounded(exact, step, low, high, whole)
    }

    fn resolved<'v>(&'v self, schema: &'v Value) -> &'v Value {
        let reference = schema.get("$ref").and_then(Value::as_str);
        reference
            .and_then(|reference| resolve(self.root, reference))
            .unwrap_or(schema)
    }
}

/// The values that are nearest to the text, the nearest first: those that it has words for, or one
/// at random where it has words for none, but as many as there must and may be.
fn choices(values: &[Value], about: &About<'_>, counts: RangeInclusive<u64>) -> Vec<Value> {
    let mut ranked: Vec<(f64, &Value)> = values
        .iter()
        .map(|value| {
            let name = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            let tie_breaker = about.reading.chance(&name, None) / 1000.0;
            (about.reading.affinity(&name) + tie_breaker, value)
        })
        .collect();
    ranked.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let near = ranked
        .iter()
        .filter(|(nearness, _)| *nearness > 0.1)
        .count() as u64;
    let count = near.max(1).clamp(*counts.start(), *counts.end());
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    ranked
        .into_iter()
        .take(count)
        .map(|(_, value)| value.clone())
        .collect()
}

/// The first type that is not null.
fn kind(schema: &Value) -> &str {
    match schema.get("type") {
        Some(Value::Array(types)) => types
            .iter()
            .filter_map(Value::as_str)
            .find(|name| *name != "null")
            .unwrap_or("null"),
        Some(Value::String(name)) => name,
        _ => "",
    }
}

/// The nearest multiple of the step that lies within the bounds.
fn rounded(exact: f64, step: f64, low: f64, high: f64, whole: bool) -> Value {
    let steps = (exact / step)
        .round()
        .clamp((low / step).ceil(), (high / step).floor());
    let number = steps * step;
    if whole {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "it is whole, and within the bounds"
        )]
        return json!(number as i64);
    }
    // Six decimals take away what multiplying by a step such as 0.1 leaves behind.
    json!((number * 1e6).round() / 1e6)
}

fn sentence(name: &str, reading: &Reading<'_>) -> String {
    let head = reading.first_sentence(140);
    if name.contains("summary") {
        head
    } else {
        format!("Simulated, by the words of: {head}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strict;

    fn post(index: i64, text: &str) -> Post {
        Post {
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
        assert_eq!(strict::check("scores", &schema), Ok(()));
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
    fn a_post_is_scored_the_same_in_any_company_and_under_any_rubric() {
        let (a, b) = (post(1, "Loud music again."), post(2, "Free couch."));
        let entry = |posts: &[Post], dimensions: &[&str], at: usize| {
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
    fn a_list_within_an_entry_is_not_one_of_posts() {
        let list = |entry: &Value| json!({"type": "array", "items": closed(entry)});
        let quotes = list(&json!({"index": {"type": "integer"}}));
        let schema = closed(
            &json!({"posts": list(&json!({"quotes": quotes, "index": {"type": "integer"}}))}),
        );
        let answer = fill(&schema, &[post(1, "a"), post(2, "b")], 0);
        assert_eq!(answer["posts"][1]["quotes"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn runs_differ_by_a_little() {
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
    fn a_schema_that_contains_itself_comes_to_an_end() {
        let schema = closed(&json!({
            "next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]},
            "all": {"type": "array", "items": {"$ref": "#"}},
            "self": {"$ref": "#"},
        }));
        assert_eq!(strict::check("tree", &schema), Ok(()));
        let answer = fill(&schema, &[post(1, "a")], 0);
        assert_eq!(answer["next"]["next"], Value::Null);
        assert_eq!(answer["self"]["self"]["self"]["self"]["self"], Value::Null);
    }
}
