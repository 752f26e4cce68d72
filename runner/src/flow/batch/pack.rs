//! Packing: due rows become lines of a file, in bounded memory.

use std::time::Duration;

use serde::Serialize;
use serde_json::json;
use tokio::fs::File;
use tokio::io::{AsyncSeekExt, AsyncWriteExt, BufWriter};
use uuid::Uuid;

use super::super::run::Run;
use super::super::session::Session;
use super::super::source::DuePosts;
use super::super::work::WorkKind;
use super::book::{HeldBatch, Trouble};
use super::line::{Line, Lines};
use crate::config::LeaseSettings;
use crate::db::{AddBatchRows, LeasedPost};
use crate::engine::{Claim, Source, StopReason, StorageError};
use crate::provider::batch::{MAX_BATCH_BYTES, MAX_BATCH_INPUTS, MAX_BATCH_REQUESTS};

/// Rows of one claim.
const CHUNK: u32 = 500;
/// Rows of lines that are recorded by one call.
const RECORDED: usize = 2_000;
/// How long rows are leased for a batch: as long as the provider keeps its results. Whoever ends the batch ends the
/// leases.
const LEASE: Duration = Duration::from_secs(30 * 86_400);

/// How large a file may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileCaps {
    pub(super) requests: usize,
    pub(super) inputs: usize,
    pub(super) bytes: u64,
}

impl FileCaps {
    /// What the provider takes, and at most this many requests.
    pub(super) fn new(requests: usize) -> Self {
        Self {
            requests: requests.clamp(1, MAX_BATCH_REQUESTS),
            inputs: MAX_BATCH_INPUTS,
            bytes: MAX_BATCH_BYTES,
        }
    }
}

/// A line that was written.
#[derive(Debug, Clone, Copy)]
pub(super) struct WrittenLine {
    /// Where it ends in the file.
    pub(super) end: u64,
    /// What this line and all before it cost at most.
    pub(super) usd: f64,
    /// The rows of this line and of all before it.
    pub(super) rows: u64,
}

/// A file that is ready to be uploaded.
#[derive(Debug)]
pub(super) struct PackedFile {
    pub(super) file: File,
    pub(super) lines: Vec<WrittenLine>,
}

/// What packing found at the end of a pass over the table.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PassEnd {
    pub(super) waiting: u64,
    pub(super) next_attempt: Option<Duration>,
    pub(super) leased_elsewhere: u64,
}

/// Where packing stands in the table, and what it has found there.
#[derive(Debug, Default)]
pub(super) struct Place {
    cursor: Option<Uuid>,
    /// Set when a pass has reached the end.
    pub(super) end: Option<PassEnd>,
}

#[derive(Debug, Serialize)]
struct BatchRowArgument {
    line: u32,
    place: u32,
    post_id: Uuid,
    text_hash: String,
}

/// Claims due rows under the batch's id and writes them into a file, until the file is full, `room` rows are in it or
/// the pass has ended.
pub(super) async fn pack<L: Lines>(
    session: &Session,
    run: &Run,
    kind: &WorkKind,
    lines: &L,
    (held, caps, room): (&HeldBatch, FileCaps, Option<u64>),
    place: &mut Place,
) -> Result<PackedFile, Trouble> {
    let leases = LeaseSettings {
        lease: LEASE,
        ..session.settings.leases
    };
    let source = DuePosts::new(&session.database, kind.clone(), held.id(), leases);
    let mut writer = FileWriter::new(session, held, caps).await?;
    let (mut open, mut left) = (None, room.unwrap_or(u64::MAX));
    place.end = None;
    while left > 0 && !run.stop.is_stopped() {
        let limit = CHUNK.min(u32::try_from(left).unwrap_or(u32::MAX));
        let claim = claim(&source, limit, place.cursor).await?;
        left -= claim.rows.len() as u64;
        run.metrics.selected(count(claim.already_done));
        run.metrics.written(count(claim.already_done));
        // A row that has failed goes alone: then it is known what failed.
        let (fresh, failed): (Vec<_>, Vec<_>) =
            claim.rows.into_iter().partition(|post| post.attempts == 0);
        let mut packing = lines.pack(open.take(), fresh);
        open = packing.open.take();
        for post in failed {
            let alone = lines.pack(None, vec![post]);
            packing.batches.extend(alone.batches);
            packing.batches.extend(alone.open);
            packing.skipped.extend(alone.skipped);
        }
        run.metrics.skipped(packing.skipped.len());
        for warning in packing.warnings {
            run.metrics.warn_of_row(warning);
        }
        for unit in packing.batches {
            writer.add(lines, unit).await?;
        }
        if writer.is_full {
            // The rows that did not fit are released, so the next claim begins before them.
            return writer.finish().await;
        }
        place.cursor = claim.next_after;
        if place.cursor.is_none() {
            place.end = Some(PassEnd {
                waiting: claim.waiting,
                next_attempt: claim.next_attempt,
                leased_elsewhere: claim.leased_elsewhere,
            });
            break;
        }
    }
    if let Some(unit) = open {
        writer.add(lines, unit).await?;
    }
    writer.finish().await
}

fn count(rows: u64) -> usize {
    usize::try_from(rows).unwrap_or(usize::MAX)
}

/// One claim, halved if it is too much for one statement.
async fn claim(
    source: &DuePosts,
    mut limit: u32,
    after: Option<Uuid>,
) -> Result<Claim<LeasedPost>, Trouble> {
    loop {
        match source.claim(limit, after).await {
            Err(StorageError::TooLarge(_) | StorageError::TooSlow(_)) if limit > 1 => limit /= 2,
            Err(error) => return Err(Trouble::Stop(StopReason::Database(error.to_string()))),
            Ok(claim) => return Ok(claim),
        }
    }
}

/// Writes lines, and records which rows they are about.
struct FileWriter<'a> {
    session: &'a Session,
    held: &'a HeldBatch,
    caps: FileCaps,
    file: BufWriter<File>,
    lines: Vec<WrittenLine>,
    requests: usize,
    inputs: usize,
    unrecorded: Vec<BatchRowArgument>,
    is_full: bool,
}

impl<'a> FileWriter<'a> {
    async fn new(
        session: &'a Session,
        held: &'a HeldBatch,
        caps: FileCaps,
    ) -> Result<Self, Trouble> {
        // It has no name, so nothing is left of it if this process is killed.
        let file = tokio::task::spawn_blocking(tempfile::tempfile).await;
        let file = file.map_err(std::io::Error::other)??;
        Ok(Self {
            session,
            held,
            caps,
            file: BufWriter::new(File::from_std(file)),
            lines: Vec::new(),
            requests: 0,
            inputs: 0,
            unrecorded: Vec::new(),
            is_full: false,
        })
    }

    /// Writes the line of a unit, unless the file is full.
    async fn add<L: Lines>(&mut self, lines: &L, unit: L::Unit) -> Result<(), Trouble> {
        if self.is_full {
            return Ok(());
        }
        let number = u32::try_from(self.lines.len()).unwrap_or(u32::MAX);
        let line = lines.line(number, unit);
        if !self.has_room_for(&line) {
            self.is_full = true;
            return Ok(());
        }
        self.write(number, line).await
    }

    /// Whether a line still fits. A file has at least one.
    fn has_room_for(&self, line: &Line) -> bool {
        let bytes: u64 = line
            .requests
            .iter()
            .map(|line| line.bytes().len() as u64)
            .sum();
        let end = self.lines.last().map_or(0, |last| last.end);
        let fits = self.requests + line.requests.len() <= self.caps.requests
            && self.inputs + line.inputs <= self.caps.inputs
            && end + bytes <= self.caps.bytes;
        fits || self.lines.is_empty()
    }

    async fn write(&mut self, number: u32, line: Line) -> Result<(), Trouble> {
        let last = self.lines.last().copied();
        let mut end = last.map_or(0, |last| last.end);
        for request in &line.requests {
            self.file.write_all(request.bytes()).await?;
            end += request.bytes().len() as u64;
        }
        self.lines.push(WrittenLine {
            end,
            usd: last.map_or(0.0, |last| last.usd) + line.usd,
            rows: last.map_or(0, |last| last.rows) + line.rows.len() as u64,
        });
        self.requests += line.requests.len();
        self.inputs += line.inputs;
        for (place, post_id, text_hash) in line.rows {
            self.unrecorded.push(BatchRowArgument {
                line: number,
                place,
                post_id,
                text_hash,
            });
        }
        if self.unrecorded.len() >= RECORDED {
            self.record().await?;
        }
        Ok(())
    }

    async fn record(&mut self) -> Result<(), Trouble> {
        let rows = std::mem::take(&mut self.unrecorded);
        let add = AddBatchRows {
            p_id: self.held.id(),
            p_holder: self.held.holder(),
            p_rows: json!(rows),
        };
        Ok(self.session.database.call(add).await?)
    }

    async fn finish(mut self) -> Result<PackedFile, Trouble> {
        if !self.unrecorded.is_empty() {
            self.record().await?;
        }
        self.file.flush().await?;
        let mut file = self.file.into_inner();
        file.rewind().await?;
        Ok(PackedFile {
            file,
            lines: self.lines,
        })
    }
}
