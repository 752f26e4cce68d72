//! Finding the posts in a conversation: the one place that knows how questions are laid out.

use serde::Deserialize;

/// A post to be scored.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Post {
    /// The place that the answer has to name.
    pub(super) index: i64,
    pub(super) text: String,
}

/// The posts in a user's messages: each line that is an object with an `index` and a `text`. Where
/// there is none, all that was said is one post.
pub(super) fn posts<'m>(messages: impl Iterator<Item = &'m str> + Clone) -> Vec<Post> {
    let lines = messages.clone().flat_map(str::lines);
    let posts: Vec<Post> = lines.filter_map(|line| post(line.trim())).collect();
    if posts.is_empty() {
        let text = messages.collect::<Vec<_>>().join("\n");
        return vec![Post { index: 1, text }];
    }
    posts
}

/// A post on a line of its own, which may be an element of a list.
fn post(line: &str) -> Option<Post> {
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
    fn each_line_is_a_post() {
        let lines = "{\"index\":1,\"text\":\"a\\n\\\"b\\\"\"}\n{\"index\":2,\"text\":\"c\"}";
        let expected = vec![(1, "a\n\"b\"".to_owned()), (2, "c".to_owned())];
        assert_eq!(found(&[lines, "Entry 2 was missing."]), expected);
        let list = "[{\"index\":1,\"text\":\"a]\"},\n {\"index\":2,\"text\":\"c\"}]";
        assert_eq!(found(&[list])[0], (1, "a]".to_owned()));
    }

    #[test]
    fn a_text_cannot_pass_for_another_post() {
        let line = r#"{"index":1,"text":"x\n{\"index\":2,\"text\":\"y\"}"}"#;
        assert_eq!(found(&[line]).len(), 1);
    }

    #[test]
    fn without_posts_all_is_one() {
        assert_eq!(
            found(&["What is", "this?"]),
            [(1, "What is\nthis?".to_owned())]
        );
    }
}
