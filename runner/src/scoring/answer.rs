//! Reads an answer: what it says about each post, or why that is unusable.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    question::{Question, Scope},
    schema::{CATEGORIES, INDEX, POSTS, REASON, SUMMARY, WHY_PODCAST_WORTHY},
};
use crate::provider::mend_surrogates;
use crate::text::truncate;

/// What an answer says about a post.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PostScore {
    /// A score for each dimension that was asked for.
    pub scores: BTreeMap<String, f64>,
    /// What the post is about. Empty in a backfill.
    pub categories: Vec<String>,
    /// What the post says, at most `summary_limit` characters. Empty in a backfill and in a brief answer.
    pub summary: String,
    /// What a podcast could make of it. Empty in a backfill and in a brief answer.
    pub why_podcast_worthy: String,
    /// Why the post has these scores. Not stored.
    pub reason: String,
}

/// Why an answer has no score for a post. No score is guessed: the post is asked about again, or becomes a dead letter.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AnswerError {
    /// There is no answer about the post: it was refused, cut off, filtered or unreadable.
    #[error("{why}")]
    Withheld {
        /// What came instead.
        why: String,
    },
    /// No run answered at all.
    #[error("no run answered")]
    NoRun,
    /// The whole answer cannot be read.
    #[error("the answer is not JSON: {message}")]
    NotJson {
        /// What the parser reports.
        message: String,
    },
    /// The answer has no list.
    #[error("the answer has no list `posts`")]
    NoPosts,
    /// An entry is about no post that was sent. The whole list may be numbered wrongly, for example from 0, so no
    /// entry can be trusted.
    #[error("an entry has the index {index}, but the posts are numbered from 1 to {posts}")]
    StrayItem {
        /// The value in place of the index.
        index: String,
        /// How many posts were sent.
        posts: usize,
    },
    /// No entry is about the post.
    #[error("the post has no entry")]
    MissingItem,
    /// Several entries are about the post.
    #[error("the post has more than one entry")]
    RepeatedItem,
    /// A key of the entry is missing or has another type.
    #[error("`{key}` is missing or not {expected}")]
    BadValue {
        /// The key.
        key: String,
        /// What should be there.
        expected: &'static str,
    },
    /// A score is not on the scale.
    #[error("`{dimension}` is {score}, but has to be from {min} to {max}")]
    OutOfRange {
        /// The dimension's name.
        dimension: String,
        /// What was answered.
        score: f64,
        /// The lowest score.
        min: u8,
        /// The highest score.
        max: u8,
    },
    /// A category that the rubric does not have.
    #[error("there is no category `{category}`")]
    UnknownCategory {
        /// The answer, truncated to 40 characters.
        category: String,
    },
}

impl Question<'_> {
    /// What an answer says about each post, in the order of the prompt.
    ///
    /// Surplus categories and characters are dropped. A post whose entry does not fit the schema in another way has
    /// no score. If the answer as a whole is unusable, no post has one.
    pub fn read(&self, content: &str, posts: usize) -> Vec<Result<PostScore, AnswerError>> {
        match entries(content, posts) {
            Err(error) => vec![Err(error); posts],
            Ok(found) => found
                .into_iter()
                .map(|entries| match entries.as_slice() {
                    [] => Err(AnswerError::MissingItem),
                    [entry] => self.read_entry(entry),
                    _ => Err(AnswerError::RepeatedItem),
                })
                .collect(),
        }
    }

    fn read_entry(&self, entry: &Map<String, Value>) -> Result<PostScore, AnswerError> {
        let scores = self
            .dimensions
            .iter()
            .map(|d| Ok((d.name.clone(), self.read_score(entry, &d.name)?)))
            .collect::<Result<_, _>>()?;
        let mut score = PostScore {
            scores,
            reason: self.read_text(entry, REASON)?,
            ..PostScore::default()
        };
        if self.scope != Scope::Dimension {
            score.categories = self.read_categories(entry)?;
        }
        if self.scope == Scope::Whole {
            score.summary = self.read_text(entry, SUMMARY)?;
            score.why_podcast_worthy = self.read_text(entry, WHY_PODCAST_WORTHY)?;
        }
        Ok(score)
    }

    fn read_score(&self, entry: &Map<String, Value>, name: &str) -> Result<f64, AnswerError> {
        let score = entry
            .get(name)
            .and_then(Value::as_f64)
            .ok_or_else(|| bad_value(name, "a number"))?;
        let scale = self.rubric.scale;
        if scale.contains(score) {
            Ok(score)
        } else {
            let dimension = name.to_owned();
            Err(AnswerError::OutOfRange {
                dimension,
                score,
                min: scale.min,
                max: scale.max,
            })
        }
    }

    fn read_categories(&self, entry: &Map<String, Value>) -> Result<Vec<String>, AnswerError> {
        let list = entry.get(CATEGORIES).and_then(Value::as_array);
        let list = list.ok_or_else(|| bad_value(CATEGORIES, "a list"))?;
        let mut categories: Vec<String> = Vec::new();
        for value in list {
            let name = value
                .as_str()
                .ok_or_else(|| bad_value(CATEGORIES, "a list of names"))?;
            if !self
                .rubric
                .categories
                .iter()
                .any(|category| category.name == name)
            {
                return Err(AnswerError::UnknownCategory {
                    category: truncate(name, 40),
                });
            }
            if !categories.iter().any(|known| known == name) {
                categories.push(name.to_owned());
            }
        }
        categories.truncate(self.rubric.max_categories);
        Ok(categories)
    }

    fn read_text(&self, entry: &Map<String, Value>, key: &str) -> Result<String, AnswerError> {
        let text = entry
            .get(key)
            .and_then(Value::as_str)
            .ok_or_else(|| bad_value(key, "a text"))?;
        // Postgres cannot store a NUL. One that came from a post would fail a batch of rows.
        Ok(truncate(
            text.replace('\0', "").trim(),
            self.rubric.summary_limit,
        ))
    }
}

/// The entries of each post, by index.
fn entries(content: &str, posts: usize) -> Result<Vec<Vec<Map<String, Value>>>, AnswerError> {
    let mut answer: Value =
        serde_json::from_str(&mend_surrogates(content)).map_err(|error| AnswerError::NotJson {
            message: error.to_string(),
        })?;
    let Some(Value::Array(items)) = answer.get_mut(POSTS).map(Value::take) else {
        return Err(AnswerError::NoPosts);
    };
    let mut by_post = vec![Vec::new(); posts];
    for item in items {
        let index = item.get(INDEX).cloned().unwrap_or_default();
        let at = index
            .as_u64()
            .and_then(|index| usize::try_from(index).ok()?.checked_sub(1));
        match (at.and_then(|at| by_post.get_mut(at)), item) {
            (Some(entries), Value::Object(entry)) => entries.push(entry),
            _ => {
                return Err(AnswerError::StrayItem {
                    index: truncate(&index.to_string(), 40),
                    posts,
                });
            }
        }
    }
    Ok(by_post)
}

fn bad_value(key: &str, expected: &'static str) -> AnswerError {
    AnswerError::BadValue {
        key: key.to_owned(),
        expected,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scoring::rubric::Rubric;

    /// A rubric of two dimensions and two categories a post.
    fn rubric() -> Rubric {
        let mut rubric = Rubric::default();
        rubric
            .dimensions
            .retain(|d| d.name == "drama" || d.name == "readability");
        rubric.max_categories = 2;
        rubric.summary_limit = 12;
        rubric
    }

    fn entry(index: usize) -> Value {
        json!({
            "index": index, "reason": "because", "drama": 7.5, "readability": 3,
            "categories": ["noise"], "summary": "It is loud.", "why_podcast_worthy": "No."
        })
    }

    fn read(entries: &Value, posts: usize) -> Vec<Result<PostScore, AnswerError>> {
        Question::whole(&rubric()).read(&json!({ "posts": entries }).to_string(), posts)
    }

    /// Reads an answer for one post, in whose entry this key has this value.
    fn read_with(key: &str, value: Value) -> Result<PostScore, AnswerError> {
        let mut changed = entry(1);
        changed[key] = value;
        read(&json!([changed]), 1).remove(0)
    }

    #[test]
    fn a_good_entry_is_read_whole() {
        let expected = PostScore {
            scores: [("drama".to_owned(), 7.5), ("readability".to_owned(), 3.0)].into(),
            categories: vec!["noise".to_owned()],
            summary: "It is loud.".to_owned(),
            why_podcast_worthy: "No.".to_owned(),
            reason: "because".to_owned(),
        };
        assert_eq!(read(&json!([entry(1)]), 1), [Ok(expected)]);
    }

    #[test]
    fn a_brief_entry_is_read_without_texts() {
        let rubric = rubric();
        let mut brief = entry(1);
        for key in ["summary", "why_podcast_worthy"] {
            brief.as_object_mut().unwrap().shift_remove(key);
        }
        let content = json!({ "posts": [brief] }).to_string();
        let score = Question::brief(&rubric)
            .read(&content, 1)
            .remove(0)
            .unwrap();
        assert_eq!((score.scores["drama"], score.categories.len()), (7.5, 1));
        assert_eq!(
            (score.reason.as_str(), score.summary.as_str()),
            ("because", "")
        );
        assert!(Question::whole(&rubric).read(&content, 1)[0].is_err());
    }

    #[test]
    fn entries_are_matched_by_index_not_by_order() {
        let mut second = entry(2);
        second["drama"] = json!(1);
        let posts = read(&json!([second, entry(1)]), 2);
        let dramas: Vec<f64> = posts
            .iter()
            .map(|p| p.as_ref().unwrap().scores["drama"])
            .collect();
        assert_eq!(dramas, [7.5, 1.0]);
    }

    #[test]
    fn a_missing_or_repeated_entry_fails_only_its_post() {
        let posts = read(&json!([entry(1), entry(2), entry(2)]), 3);
        assert!(posts[0].is_ok());
        assert_eq!(posts[1], Err(AnswerError::RepeatedItem));
        assert_eq!(posts[2], Err(AnswerError::MissingItem));
    }

    #[test]
    fn a_stray_entry_fails_the_whole_list() {
        for (index, shown) in [
            (json!(0), "0"),
            (json!(3), "3"),
            (json!(-1), "-1"),
            (json!("1"), "\"1\""),
            (json!(1.5), "1.5"),
            (json!(null), "null"),
        ] {
            let mut stray = entry(1);
            stray["index"] = index;
            let stray_item = AnswerError::StrayItem {
                index: shown.to_owned(),
                posts: 2,
            };
            let found = read(&json!([entry(1), entry(2), stray]), 2);
            assert_eq!(found, [Err(stray_item.clone()), Err(stray_item)]);
        }
        let not_an_object = read(&json!([7]), 1);
        assert!(matches!(
            not_an_object[..],
            [Err(AnswerError::StrayItem { .. })]
        ));
    }

    #[test]
    fn an_unreadable_answer_fails_every_post() {
        let question_of = rubric();
        let question = Question::whole(&question_of);
        for content in [
            "",
            "I cannot help with that.",
            "{\"posts\":[{\"index\":1",
            "{\"a\":1e999}",
        ] {
            let found = question.read(content, 2);
            assert_eq!(found.len(), 2);
            for post in found {
                assert!(
                    matches!(post, Err(AnswerError::NotJson { .. })),
                    "{content}"
                );
            }
        }
        for content in ["[]", "{}", "{\"posts\":{}}", "null"] {
            assert_eq!(
                question.read(content, 1),
                [Err(AnswerError::NoPosts)],
                "{content}"
            );
        }
    }

    #[test]
    fn a_score_must_be_a_number_on_the_scale() {
        for value in [
            json!("NaN"),
            json!("7"),
            json!(null),
            json!([7]),
            json!(true),
        ] {
            let error = read_with("drama", value).unwrap_err();
            assert_eq!(error.to_string(), "`drama` is missing or not a number");
        }
        for (value, shown) in [
            (json!(0.99), "0.99"),
            (json!(10.01), "10.01"),
            (json!(-5), "-5"),
        ] {
            let error = read_with("drama", value).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("`drama` is {shown}, but has to be from 1 to 10")
            );
        }
        assert!(read_with("drama", json!(1)).is_ok() && read_with("drama", json!(10)).is_ok());
    }

    #[test]
    fn a_missing_key_fails_the_post() {
        for key in [
            "reason",
            "drama",
            "categories",
            "summary",
            "why_podcast_worthy",
        ] {
            let mut lacking = entry(1);
            lacking.as_object_mut().unwrap().shift_remove(key);
            let error = read(&json!([lacking]), 1).remove(0).unwrap_err();
            assert!(matches!(error, AnswerError::BadValue { key: found, .. } if found == key));
        }
    }

    #[test]
    fn categories_must_be_known_and_are_distinct_and_few() {
        let many = read_with("categories", json!(["noise", "noise", "crime", "humor"])).unwrap();
        assert_eq!(many.categories, ["noise", "crime"]);
        assert!(
            read_with("categories", json!([]))
                .unwrap()
                .categories
                .is_empty()
        );
        let unknown = read_with("categories", json!(["noise", "Noise"])).unwrap_err();
        assert_eq!(unknown.to_string(), "there is no category `Noise`");
        assert!(read_with("categories", json!("noise")).is_err());
        assert!(read_with("categories", json!([1])).is_err());
    }

    #[test]
    fn texts_are_truncated_to_the_limit_and_have_no_nul() {
        let long = read_with("summary", json!("ñandú ñandú ñandú"))
            .unwrap()
            .summary;
        assert_eq!(long, "ñandú ñandú…");
        assert_eq!(long.chars().count(), 12);
        let exact = read_with("summary", json!("  exactly\u{0} 12!  "))
            .unwrap()
            .summary;
        assert_eq!(exact, "exactly 12!");
    }

    #[test]
    fn a_backfill_reads_only_its_score() {
        let rubric = rubric();
        let question = Question::dimension(&rubric, "drama").unwrap();
        let content = json!({ "posts": [entry(1)] }).to_string();
        let read = question.read(&content, 1).remove(0).unwrap();
        assert_eq!(read.scores, [("drama".to_owned(), 7.5)].into());
        assert!(read.categories.is_empty() && read.summary.is_empty());
    }
}
