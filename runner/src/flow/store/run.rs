//! Storing: lines in, rows out, a few requests a batch.

use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use sluice_sdk::Client;
use uuid::Uuid;

use super::batch::{Batch, Numbered};
use super::input::{InputError, Lines};
use super::line::{self, LineWarning, Parsed};
use super::neighborhood::{NeighborhoodIds, NeighborhoodWriter};
use crate::db::{Database, DatabaseError, Posts};
use crate::engine::{Stop, StopReason, Storage, StorageError, Writer};
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

/// Where a run stores posts.
#[derive(Debug)]
pub(super) struct Shelf {
    client: Client,
    posts: Writer,
    neighborhoods: NeighborhoodWriter,
}

impl Shelf {
    pub(super) fn new(database: &Database) -> Self {
        Self {
            client: database.client().clone(),
            posts: Writer::new(database.patience().clone()),
            neighborhoods: NeighborhoodWriter::new(database),
        }
    }
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
pub(super) async fn store(
    shelf: Option<&Shelf>,
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
            flush(shelf, &full, &mut neighborhoods, stored).await?;
            // An empty batch takes any post.
            let _fits = batch.push(post);
        }
    }
    if batch.posts().is_empty() {
        return Ok(());
    }
    flush(shelf, &batch, &mut neighborhoods, stored).await
}

/// Why a store run cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("{0}")]
    Halt(StopReason),
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
    shelf: Option<&Shelf>,
    batch: &Batch,
    neighborhoods: &mut NeighborhoodIds,
    stored: &mut Stored,
) -> Result<(), StoreError> {
    let Some(shelf) = shelf else {
        stored.counts.skipped += batch.posts().len() as u64;
        return Ok(());
    };
    let names = batch.posts().iter();
    let names = names.map(|numbered| numbered.post.neighborhood.as_str());
    let created = neighborhoods.resolve(&shelf.neighborhoods, names).await;
    stored.counts.neighborhoods_created += created.map_err(StoreError::Halt)?;
    let mut posts = Vec::new();
    for numbered in batch.posts() {
        match neighborhoods.id(&numbered.post.neighborhood) {
            Ok(id) => posts.push((numbered, id)),
            Err(why) => stored.fail(LineWarning {
                number: numbered.line,
                reason: format!(
                    "the neighborhood `{}` could not be created: {why}",
                    numbered.post.neighborhood
                ),
            }),
        }
    }
    let (all, table) = (posts.len(), PostTable::new(&shelf.client));
    let mut writing = shelf.posts.write(&table, posts, all).await;
    writing
        .refused
        .sort_by_key(|((numbered, _), _)| numbered.line);
    let inserted = table.inserted.into_inner();
    let left = writing.halt.as_ref().map_or(0, |(_, left)| *left);
    stored.counts.inserted += inserted;
    stored.counts.skipped += (all - left - writing.refused.len()) as u64 - inserted;
    for ((numbered, _), reason) in writing.refused {
        stored.fail(LineWarning {
            number: numbered.line,
            reason,
        });
    }
    match writing.halt {
        Some((reason, _)) => Err(StoreError::Halt(reason)),
        None => Ok(()),
    }
}

/// The table of posts, as one batch is written to it.
struct PostTable<'c> {
    client: &'c Client,
    inserted: AtomicU64,
}

impl<'c> PostTable<'c> {
    fn new(client: &'c Client) -> Self {
        Self {
            client,
            inserted: AtomicU64::default(),
        }
    }
}

impl Storage<(&Numbered, Uuid)> for PostTable<'_> {
    async fn write(&self, posts: &[(&Numbered, Uuid)]) -> Result<(), StorageError> {
        let rows: Vec<_> = posts
            .iter()
            .map(|(numbered, id)| row(&numbered.post, *id))
            .collect();
        let written = self
            .client
            .from::<Posts>()
            .upsert(&rows)
            .on_conflict((Posts::NEIGHBORHOOD_ID, Posts::HASH))
            .ignore_duplicates()
            .all_or_nothing()
            .await
            .map_err(DatabaseError::from)?;
        self.inserted.fetch_add(written.affected, Ordering::Relaxed);
        Ok(())
    }
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
