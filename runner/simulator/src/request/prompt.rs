//! Finding the posts in a conversation. No other file knows how a prompt lists them.

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

/// What a message wants to be short: which fields are empty, and how many words the others may have. It is said as
/// `at most N words` and `give "a" and "b" as empty strings`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Brevity {
    pub(crate) empty: Vec<String>,
    pub(crate) words_max: Option<usize>,
}

impl Brevity {
    pub(super) fn of(message: &str) -> Self {
        let Some((said, _)) = message.split_once(" as empty strings") else {
            return Self::default();
        };
        let (before, named) = said.rsplit_once("give ").unwrap_or((said, ""));
        let words = before.split_once("at most ").and_then(|(_, rest)| {
            let (number, _) = rest.split_once(" words")?;
            number.parse().ok()
        });
        Self {
            empty: named
                .split('"')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect(),
            words_max: words,
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
    fn a_message_can_want_less() {
        let asked = "Keep every \"reason\" to at most 8 words, and give \"summary\" and \"why\" as empty strings.";
        let brevity = Brevity::of(asked);
        assert_eq!(brevity.empty, ["summary", "why"]);
        assert_eq!(brevity.words_max, Some(8));
        assert_eq!(
            Brevity::of("{\"index\":1,\"text\":\"a\"}"),
            Brevity::default()
        );
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
