//! Batches of posts, each for one upsert.

use serde_json::Value;

use super::line::NewPost;

/// The most posts in a batch.
const POSTS_MAX: usize = 500;
/// The most bytes of posts in a batch. They are one request body, so this is well below what gateways take.
const BYTES_MAX: usize = 4 << 20;

/// A post with the line that it came from.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Numbered {
    pub(super) line: u64,
    pub(super) post: Box<NewPost>,
}

/// Posts that are stored together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    posts: Vec<Numbered>,
    bytes: usize,
}

impl Batch {
    /// Adds a post, or returns it if the batch is full. An empty batch takes any post.
    pub(super) fn push(&mut self, numbered: Numbered) -> Result<(), Numbered> {
        let bytes = size(&numbered.post);
        let full = self.posts.len() >= POSTS_MAX || self.bytes + bytes > BYTES_MAX;
        if full && !self.posts.is_empty() {
            return Err(numbered);
        }
        self.bytes += bytes;
        self.posts.push(numbered);
        Ok(())
    }

    pub(super) fn posts(&self) -> &[Numbered] {
        &self.posts
    }
}

/// About how many bytes of JSON a post has.
fn size(post: &NewPost) -> usize {
    let texts = post.text.len() + post.url.as_ref().map_or(0, String::len);
    texts + json_size(&post.comments) + json_size(&post.image_urls) + 300
}

fn json_size(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(|item| json_size(item) + 1).sum::<usize>() + 2,
        Value::Object(fields) => {
            let fields = fields.iter();
            fields
                .map(|(key, value)| key.len() + 4 + json_size(value))
                .sum::<usize>()
                + 2
        }
        Value::String(text) => text.len() + 2,
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(neighborhood: &str, text: &str) -> Numbered {
        let post = NewPost {
            neighborhood: neighborhood.to_owned(),
            post_id_ext: "1".to_owned(),
            user_id_hash: None,
            author_name: None,
            text: text.to_owned(),
            hash: "h".to_owned(),
            url: None,
            image_urls: serde_json::json!([]),
            comments: serde_json::json!([]),
            reaction_count: 0,
            posted_at: None,
        };
        Numbered {
            line: 1,
            post: Box::new(post),
        }
    }

    #[test]
    fn a_batch_is_full_at_five_hundred_posts() {
        let mut batch = Batch::default();
        for _ in 0..POSTS_MAX {
            batch.push(post("Elm", "x")).unwrap();
        }
        assert!(batch.push(post("Elm", "x")).is_err());
    }

    #[test]
    fn a_post_that_is_too_large_for_any_batch_goes_alone() {
        let huge = "x".repeat(BYTES_MAX + 1);
        let mut batch = Batch::default();
        batch.push(post("Elm", &huge)).unwrap();
        assert!(batch.push(post("Elm", "x")).is_err());
    }
}
