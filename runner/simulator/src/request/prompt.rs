//! Finding the posts in a conversation. No other file knows how a prompt lists them.

use std::collections::HashMap;

use serde::Deserialize;

/// A post to score.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct PromptPost {
    /// The number by which the response refers to the post.
    pub(crate) index: i64,
    pub(crate) text: String,
}

/// The posts in a user's messages: each line that is an object with an `index` and a `text`. If there
/// is no such line, the messages together are one post.
pub(super) fn posts<'m>(messages: impl Iterator<Item = &'m str> + Clone) -> Vec<PromptPost> {
    let lines = messages.clone().flat_map(str::lines);
    let posts: Vec<PromptPost> = lines.filter_map(|line| post(line.trim())).collect();
    if posts.is_empty() {
        let text = messages.collect::<Vec<_>>().join("\n");
        return vec![PromptPost { index: 1, text }];
    }
    posts
}

/// How many words the texts of an answer may have, by their keys. The instructions say it on a line for each key:
/// `- "reason": …, at most 8 words`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct WordLimits(HashMap<String, usize>);

impl WordLimits {
    pub(super) fn of<'m>(instructions: impl Iterator<Item = &'m str>) -> Self {
        let limit = |line: &str| {
            let (key, said) = line.trim().strip_prefix("- \"")?.split_once("\":")?;
            let (_, rest) = said.rsplit_once("at most ")?;
            let (number, _) = rest.split_once(" words")?;
            Some((key.to_owned(), number.parse().ok()?))
        };
        Self(
            instructions
                .flat_map(str::lines)
                .filter_map(limit)
                .collect(),
        )
    }

    /// The text of a key, with no more words than it may have.
    pub(crate) fn kept(&self, key: &str, text: String) -> String {
        match self.0.get(key) {
            Some(&max) => text.split(' ').take(max).collect::<Vec<_>>().join(" "),
            None => text,
        }
    }
}

/// A post on a line of its own, which may be an element of a list.
fn post(line: &str) -> Option<PromptPost> {
    let line = line.trim_start_matches('[').trim_end_matches([',', ']']);
    serde_json::from_str(line).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(messages: &[&str]) -> Vec<(i64, String)> {
        let posts = posts(messages.iter().copied());
        posts
            .into_iter()
            .map(|post| (post.index, post.text))
            .collect()
    }

    #[test]
    fn each_line_is_one_post() {
        let lines = "{\"index\":1,\"text\":\"a\\n\\\"b\\\"\"}\n{\"index\":2,\"text\":\"c\"}";
        let expected = vec![(1, "a\n\"b\"".to_owned()), (2, "c".to_owned())];
        assert_eq!(found(&[lines, "Entry 2 was missing."]), expected);
        let list = "[{\"index\":1,\"text\":\"a]\"},\n {\"index\":2,\"text\":\"c\"}]";
        assert_eq!(found(&[list])[0], (1, "a]".to_owned()));
    }

    #[test]
    fn instructions_limit_the_words_of_a_text() {
        let instructions = "Each entry:\n- \"reason\": why, in at most 2 words\n- \"summary\": at most 9 characters";
        let limits = WordLimits::of([instructions].into_iter());
        assert_eq!(limits.kept("reason", "a b c".to_owned()), "a b");
        assert_eq!(limits.kept("summary", "a b c".to_owned()), "a b c");
    }

    #[test]
    fn json_inside_a_text_is_not_a_post() {
        let line = r#"{"index":1,"text":"x\n{\"index\":2,\"text\":\"y\"}"}"#;
        assert_eq!(found(&[line]).len(), 1);
    }

    #[test]
    fn without_listed_posts_the_messages_are_one_post() {
        assert_eq!(
            found(&["What is", "this?"]),
            [(1, "What is\nthis?".to_owned())]
        );
    }
}
