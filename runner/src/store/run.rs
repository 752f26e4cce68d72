//! The store flow: lines in, rows out, at most three requests a batch.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use sluice_sdk::Client;
use uuid::Uuid;

use super::batch::{Batch, Numbered};
use super::input::Lines;
use super::line::{self, Parsed, Remark};
use super::neighborhood::Neighborhoods;
use crate::db::{DatabaseError, Post};
use crate::engine::Stop;
use crate::report::{FAILURES_MAX, Failure, StoreCounts};

/// At most this many warnings are kept.
const WARNINGS_MAX: usize = 100;

/// How a store run goes.
#[derive(Debug, Clone, Copy)]
pub struct StoreOptions {
    /// The time from which "2h ago" counts.
    pub now: Timestamp,
    /// Posts at most.
    pub limit: Option<u64>,
    /// Read and check everything, write nothing.
    pub dry_run: bool,
}

/// What a store run did.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    /// Lines, by what became of them.
    pub(super) counts: StoreCounts,
    /// The lines that could not be stored, at most a thousand of them.
    pub(super) failures: Vec<Failure>,
    /// Parts of lines that could not be read and that their posts do without.
    pub(super) warnings: Vec<String>,
    /// True where the limit left lines unread.
    pub(super) more_remains: bool,
}

/// A row of `posts`, as it is inserted.
#[derive(Serialize)]
struct NewRow<'a> {
    neighborhood_id: Uuid,
    post_id_ext: &'a str,
    user_id_hash: Option<&'a str>,
    author_name: Option<&'a str>,
    text: &'a str,
    hash: &'a str,
    url: Option<&'a str>,
    image_urls: &'a Value,
    comments: &'a Value,
    reaction_count: i32,
    posted_at: Option<Timestamp>,
}

/// Stores lines until there are no more, or until stopped. A line that cannot be stored is noted in
/// `stored` and does not stop the rest; running the same input again stores what is missing.
///
/// # Errors
/// Where the database cannot be reached or refuses everything, or the input cannot be read; `stored` then tells how far it came.
pub(crate) async fn store(
    client: Option<&Client>,
    lines: &mut Lines,
    options: StoreOptions,
    stop: &Stop,
    stored: &mut Stored,
) -> Result<(), StoreError> {
    let mut neighborhoods = Neighborhoods::default();
    let mut batch = Batch::default();
    let mut posts = 0;
    loop {
        // A pipe may stay silent for ever; an interrupt does not wait for its next line.
        let line = tokio::select! {
            biased;
            () = stop.stopped() => None,
            line = lines.next() => line?,
        };
        let Some(line) = line else { break };
        if options.limit.is_some_and(|limit| posts >= limit) {
            stored.more_remains = true;
            break;
        }
        let (number, parsed) = (
            line.number,
            line::parse(line.bytes, line.number, options.now),
        );
        let Some(post) = stored.sort(parsed) else {
            continue;
        };
        posts += 1;
        if let Err(post) = batch.push(Numbered { line: number, post }) {
            flush(
                client,
                &std::mem::take(&mut batch),
                &mut neighborhoods,
                stored,
            )
            .await?;
            // An empty batch takes any post.
            let _fits = batch.push(post);
        }
    }
    if !batch.is_empty() {
        flush(client, &batch, &mut neighborhoods, stored).await?;
    }
    Ok(())
}

/// Why a store run cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The input.
    #[error("failed to read the input: {0}")]
    Input(#[from] std::io::Error),
}

impl Stored {
    /// Counts a line and takes the post out of it.
    fn sort(&mut self, parsed: Parsed) -> Option<Box<line::NewPost>> {
        match parsed {
            Parsed::Blank => None,
            Parsed::Bad(remark) => {
                self.counts.read += 1;
                self.fail(remark);
                None
            }
            Parsed::Post { post, warnings } => {
                self.counts.read += 1;
                let room = WARNINGS_MAX.saturating_sub(self.warnings.len());
                self.warnings
                    .extend(warnings.iter().take(room).map(ToString::to_string));
                Some(post)
            }
        }
    }

    fn fail(&mut self, remark: Remark) {
        tracing::debug!(line = remark.number, reason = remark.reason, "not stored");
        self.counts.failed += 1;
        if self.failures.len() < FAILURES_MAX {
            let Remark { number, reason } = remark;
            self.failures.push(Failure {
                line: Some(number),
                post_id: None,
                reason,
            });
        }
    }
}

/// Stores one batch: the names to ids, then all posts in one upsert that skips what is there.
async fn flush(
    client: Option<&Client>,
    batch: &Batch,
    neighborhoods: &mut Neighborhoods,
    stored: &mut Stored,
) -> Result<(), DatabaseError> {
    let Some(client) = client else {
        stored.counts.skipped += batch.posts().len() as u64;
        return Ok(());
    };
    stored.counts.neighborhoods_created += neighborhoods.resolve(client, batch.names()).await?;
    let (mut rows, mut lines) = (Vec::new(), Vec::new());
    for Numbered { line, post } in batch.posts() {
        match neighborhoods.id(&post.neighborhood) {
            Some(id) => {
                rows.push(row(post, id));
                lines.push(*line);
            }
            None => stored.fail(Remark {
                number: *line,
                reason: format!(
                    "the neighborhood `{}` could not be created",
                    post.neighborhood
                ),
            }),
        }
    }
    let written = client
        .from::<Post>()
        .upsert(&rows)
        .on_conflict((Post::NEIGHBORHOOD_ID, Post::HASH))
        .ignore_duplicates()
        .chunk_rows(rows.len().max(1))
        .chunk_bytes(usize::MAX)
        .await
        .inspect_err(|error| {
            // A batch that is split to find bad rows may be stored in part before the database is gone.
            let report = error.write_report();
            stored.counts.inserted += report.map_or(0, |report| report.affected);
        })?;
    for failure in &written.failed {
        let number = lines.get(failure.index).copied().unwrap_or_default();
        stored.fail(Remark {
            number,
            reason: failure.error.to_string(),
        });
    }
    stored.counts.inserted += written.affected;
    stored.counts.skipped += rows.len() as u64 - written.affected - written.failed.len() as u64;
    Ok(())
}

fn row(post: &line::NewPost, neighborhood_id: Uuid) -> NewRow<'_> {
    NewRow {
        neighborhood_id,
        post_id_ext: &post.post_id_ext,
        user_id_hash: post.user_id_hash.as_deref(),
        author_name: post.author_name.as_deref(),
        text: &post.text,
        hash: &post.hash,
        url: post.url.as_deref(),
        image_urls: &post.image_urls,
        comments: &post.comments,
        reaction_count: post.reaction_count,
        posted_at: post.posted_at,
    }
}
