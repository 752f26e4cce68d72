//! Storing: lines in, rows out, a few requests a batch.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use sluice_sdk::Client;
use uuid::Uuid;

use super::batch::{Batch, Numbered};
use super::input::{InputError, Lines};
use super::line::{self, LineWarning, Parsed};
use super::neighborhood::NeighborhoodIds;
use crate::db::{DatabaseError, Posts};
use crate::engine::Stop;
use crate::report::{FAILURES_MAX, Failure, StoreCounts};

/// The most warnings that are kept.
const WARNINGS_MAX: usize = 100;

/// How a store run is bounded.
#[derive(Debug, Clone, Copy)]
pub struct StoreOptions {
    /// The time that "2h ago" is counted from.
    pub now: Timestamp,
    /// The most posts.
    pub limit: Option<u64>,
    /// Check everything, write nothing.
    pub dry_run: bool,
}

/// What a store run did.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    /// Counts of lines.
    pub(super) counts: StoreCounts,
    /// The lines that could not be stored, at most [`FAILURES_MAX`].
    pub(super) failures: Vec<Failure>,
    /// Parts of lines that could not be read. Their posts are stored without them.
    pub(super) warnings: Vec<String>,
    /// How many more warnings there were than are kept.
    pub(super) more_warnings: u64,
    /// True if the limit left lines unread.
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

/// Stores lines until there are no more, or until stopped. A line that cannot be stored is noted in `stored`, and
/// the others are stored. To run the same input again stores what is missing.
///
/// # Errors
/// If the database cannot be reached or refuses everything, or the input cannot be read. `stored` then has what
/// was done before.
pub(crate) async fn store(
    client: Option<&Client>,
    lines: &mut Lines,
    options: StoreOptions,
    stop: &Stop,
    stored: &mut Stored,
) -> Result<(), StoreError> {
    let mut neighborhoods = NeighborhoodIds::default();
    let mut batch = Batch::default();
    let mut posts = 0;
    loop {
        // A pipe may have no next line, so an interrupt does not wait for it.
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
        let number = line.number;
        let parsed = match line.content {
            Ok(bytes) => line::parse(&bytes, number, options.now),
            Err(reason) => Parsed::Bad(LineWarning { number, reason }),
        };
        let Some(post) = stored.count(parsed) else {
            continue;
        };
        posts += 1;
        if let Err(post) = batch.push(Numbered { line: number, post }) {
            let full = std::mem::take(&mut batch);
            flush(client, &full, &mut neighborhoods, stored).await?;
            // An empty batch takes any post.
            let _fits = batch.push(post);
        }
    }
    if batch.posts().is_empty() {
        return Ok(());
    }
    Ok(flush(client, &batch, &mut neighborhoods, stored).await?)
}

/// Why a store run cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Input(#[from] InputError),
}

impl Stored {
    /// Counts a line. Returns its post, if it has one.
    fn count(&mut self, parsed: Parsed) -> Option<Box<line::NewPost>> {
        match parsed {
            Parsed::Blank => None,
            Parsed::Bad(warning) => {
                self.counts.read += 1;
                self.fail(warning);
                None
            }
            Parsed::Post { post, warnings } => {
                self.counts.read += 1;
                let room = WARNINGS_MAX.saturating_sub(self.warnings.len());
                self.warnings
                    .extend(warnings.iter().take(room).map(ToString::to_string));
                self.more_warnings += warnings.len().saturating_sub(room) as u64;
                Some(post)
            }
        }
    }

    fn fail(&mut self, warning: LineWarning) {
        tracing::debug!(line = warning.number, reason = warning.reason, "not stored");
        self.counts.failed += 1;
        if self.failures.len() < FAILURES_MAX {
            let LineWarning { number, reason } = warning;
            self.failures.push(Failure {
                line: Some(number),
                post_id: None,
                reason,
            });
        }
    }
}

/// Stores one batch: finds the neighborhoods, then upserts all posts in one request that skips existing ones.
async fn flush(
    client: Option<&Client>,
    batch: &Batch,
    neighborhoods: &mut NeighborhoodIds,
    stored: &mut Stored,
) -> Result<(), DatabaseError> {
    let Some(client) = client else {
        stored.counts.skipped += batch.posts().len() as u64;
        return Ok(());
    };
    let names = batch.posts().iter();
    let names = names.map(|numbered| numbered.post.neighborhood.as_str());
    stored.counts.neighborhoods_created += neighborhoods.resolve(client, names).await?;
    let (mut rows, mut lines) = (Vec::new(), Vec::new());
    for Numbered { line, post } in batch.posts() {
        match neighborhoods.id(&post.neighborhood) {
            Some(id) => {
                rows.push(row(post, id));
                lines.push(*line);
            }
            None => stored.fail(LineWarning {
                number: *line,
                reason: format!(
                    "the neighborhood `{}` could not be created",
                    post.neighborhood
                ),
            }),
        }
    }
    let written = client
        .from::<Posts>()
        .upsert(&rows)
        .on_conflict((Posts::NEIGHBORHOOD_ID, Posts::HASH))
        .ignore_duplicates()
        .chunk_rows(rows.len().max(1))
        .chunk_bytes(usize::MAX)
        .await
        .inspect_err(|error| {
            // The batch may be stored in part before the database is gone.
            let report = error.write_report();
            stored.counts.inserted += report.map_or(0, |report| report.affected);
        })?;
    DatabaseError::check_key(&written)?;
    for failure in &written.failed {
        let number = lines.get(failure.index).copied().unwrap_or_default();
        stored.fail(LineWarning {
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
