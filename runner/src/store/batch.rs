//! Collecting posts into batches that cost a constant number of requests each.

use std::collections::HashSet;

use super::line::NewPost;
use super::slug;

/// Posts in a batch, at most.
const POSTS_MAX: usize = 500;
/// Bytes of posts in a batch: one request body, well below what gateways take.
const BYTES_MAX: usize = 4 << 20;
/// Bytes of slugs that a batch may ask for: they share one URL, and gateways stop at about 8 KB.
const SLUG_BYTES_MAX: usize = 5_000;
/// What a slug costs in the URL beside its letters: two quotes and a comma, encoded.
const SLUG_OVERHEAD: usize = 9;

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
    names: HashSet<String>,
    slug_bytes: usize,
}

impl Batch {
    /// Adds a post where it fits beside the others; hands it back where the batch is full. A post alone
    /// always fits.
    pub(super) fn push(&mut self, numbered: Numbered) -> Result<(), Numbered> {
        let post = &numbered.post;
        let bytes = size(post);
        let slug_bytes = if self.names.contains(&post.neighborhood) {
            0
        } else {
            slug_cost(&post.neighborhood)
        };
        let full = self.posts.len() >= POSTS_MAX
            || self.bytes + bytes > BYTES_MAX
            || self.slug_bytes + slug_bytes > SLUG_BYTES_MAX;
        if full && !self.posts.is_empty() {
            return Err(numbered);
        }
        self.bytes += bytes;
        self.slug_bytes += slug_bytes;
        if slug_bytes > 0 {
            self.names.insert(post.neighborhood.clone());
        }
        self.posts.push(numbered);
        Ok(())
    }

    pub(super) fn posts(&self) -> &[Numbered] {
        &self.posts
    }

    /// The distinct names of neighborhoods in it.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.posts.is_empty()
    }
}

/// What a name asks for: its slug and, where that differs, the slug that the earlier rule gave it.
fn slug_cost(name: &str) -> usize {
    let earlier = slug::earlier_slug(name).map_or(0, |slug| slug.len() + SLUG_OVERHEAD);
    slug::slug(name).len() + SLUG_OVERHEAD + earlier
}

fn size(post: &NewPost) -> usize {
    let texts = post.text.len() + post.url.as_ref().map_or(0, String::len);
    texts + json_size(&post.comments) + json_size(&post.image_urls) + 300
}

fn json_size(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::Array(items) => {
            items.iter().map(json_size).sum::<usize>() + items.len() + 2
        }
        serde_json::Value::Object(fields) => {
            fields
                .iter()
                .map(|(key, value)| key.len() + 4 + json_size(value))
                .sum::<usize>()
                + 2
        }
        serde_json::Value::String(text) => text.len() + 2,
        _ => 8,
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
        assert_eq!(batch.names().collect::<Vec<_>>(), ["Elm"]);
    }

    #[test]
    fn new_names_close_a_batch_before_their_slugs_outgrow_a_url() {
        let mut batch = Batch::default();
        let mut taken = 0;
        while batch
            .push(post(&format!("Neighborhood number {taken}"), "x"))
            .is_ok()
        {
            taken += 1;
        }
        assert!((100..POSTS_MAX).contains(&taken), "{taken} names");
    }

    #[test]
    fn a_post_that_is_too_large_for_any_batch_goes_alone() {
        let huge = "x".repeat(BYTES_MAX + 1);
        let mut batch = Batch::default();
        batch.push(post("Elm", &huge)).unwrap();
        assert!(batch.push(post("Elm", "x")).is_err());
    }
}
