//! A file becomes a batch: once, or never.
//!
//! The provider has no key that makes a creation idempotent. So the file is the key: a batch is made of it once, by the
//! run that uploaded it. Whoever does not know whether that happened looks for the batch by its metadata. If it is not
//! there, the file is deleted first: after that, no late request can make a batch of it. Then one more look decides.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use tokio::fs::File;
use tokio::io::AsyncSeekExt;

use super::super::ledger::{exhausted, reserve_for};
use super::super::run::Run;
use super::super::session::Session;
use super::book::{HeldBatch, Trouble, patiently, provider};
use super::files::{delete_files, files};
use super::pack::{PackedFile, WrittenLine};
use crate::db::BatchState;
use crate::engine::StopReason;
use crate::provider::ErrorKind;
use crate::provider::batch::{BatchEndpoint, Page, ProviderBatch, ProviderFile};

/// The key of the metadata that carries the id of the intent.
const INTENT: &str = "sluice_batch";
/// How often an upload is tried.
const UPLOADS_MAX: usize = 4;
/// When a new batch is looked at first.
pub(super) const FIRST_LOOK: Duration = Duration::from_secs(2);

/// How many of the lines, from the first on, cost at most this much.
fn affordable(lines: &[WrittenLine], usd: f64) -> usize {
    // The same sum was rounded on its way to the database and back.
    lines.partition_point(|line| line.usd <= usd + 1e-9)
}

/// Reserves money, uploads the file and makes the batch. What cannot be paid for is cut off. Returns how many rows are
/// in the batch.
pub(super) async fn submit(
    session: &Session,
    run: &Run,
    held: &mut HeldBatch,
    packed: PackedFile,
    endpoint: BatchEndpoint,
) -> Result<u64, Trouble> {
    let keeper = held.hold.clone();
    let made = keeper
        .keep(Box::pin(make(session, run, held, packed, endpoint)))
        .await;
    if made.is_ok() {
        held.leave(FIRST_LOOK).await?;
    }
    made
}

async fn make(
    session: &Session,
    run: &Run,
    held: &mut HeldBatch,
    packed: PackedFile,
    endpoint: BatchEndpoint,
) -> Result<u64, Trouble> {
    let lines = afford(session, run, held, &packed.lines).await?;
    let last = lines.checked_sub(1).and_then(|last| packed.lines.get(last));
    let Some(last) = last.copied() else {
        return Ok(0);
    };
    held.cut(u32::try_from(lines).unwrap_or(u32::MAX)).await?;
    let packed_as = json!({ "lines": lines, "rows": last.rows, "usd_at_most": last.usd });
    held.advance(BatchState::Uploading, packed_as).await?;
    let file = upload(session, run, held, packed.file, last.end).await?;
    let known = json!({ "file_id": file.id });
    if let Err(trouble) = held.advance(BatchState::Creating, known).await {
        // Another run has taken the batch, and may have cleaned up before this file was there.
        provider(session)?.delete_file(&file.id).await?;
        return Err(trouble);
    }
    held.record.file_id = Some(file.id.clone());
    let created = create(session, held, endpoint, &file.id).await?;
    submitted(held, &created).await?;
    Ok(last.rows)
}

/// Records that the provider has the batch.
pub(super) async fn submitted(held: &mut HeldBatch, batch: &ProviderBatch) -> Result<(), Trouble> {
    let known = json!({ "batch_id": batch.id, "provider_state": batch.status.name() });
    held.advance(BatchState::Submitted, known).await?;
    tracing::info!(batch = %held.id(), provider_id = batch.id, "the provider has the batch");
    Ok(())
}

/// How many of the lines there is money for: in the run's own budget, and in those of all runs.
async fn afford(
    session: &Session,
    run: &Run,
    held: &HeldBatch,
    lines: &[WrittenLine],
) -> Result<usize, Trouble> {
    let Some(first) = lines.first() else {
        return Ok(0);
    };
    let own = run.ledger.left();
    let within = affordable(lines, own);
    let Some(most) = within.checked_sub(1).and_then(|most| lines.get(most)) else {
        return Err(Trouble::Stop(StopReason::Budget(format!(
            "the budget of this run (--max-usd) is used up: ${:.4} is left, the next request may cost ${:.4}",
            own.max(0.0),
            first.usd
        ))));
    };
    let limits = session.settings.budget;
    let (holder, database) = (held.id(), &session.database);
    let reserved = reserve_for(database, holder, limits, first.usd, most.usd).await?;
    let granted = match reserved {
        None => most.usd,
        Some(reserved) => match reserved.full {
            Some(period) => return Err(Trouble::Stop(exhausted(period, limits, &reserved))),
            None => reserved.reserved.min(most.usd),
        },
    };
    if !run.ledger.submitted(held.id(), granted) {
        return Err(Trouble::Stop(StopReason::Budget(
            "the budget of this run is used up".to_owned(),
        )));
    }
    Ok(affordable(lines, granted))
}

/// Uploads the first `bytes` bytes of a file. An upload whose response was lost is looked for before it is repeated.
async fn upload(
    session: &Session,
    run: &Run,
    held: &HeldBatch,
    mut file: File,
    bytes: u64,
) -> Result<ProviderFile, Trouble> {
    file.set_len(bytes).await?;
    let client = provider(session)?;
    let mut attempt = 0;
    loop {
        file.rewind().await?;
        let again = file.try_clone().await?;
        let name = held.file_name();
        let error = match client.upload_batch_file(&name, again, bytes).await {
            Ok(uploaded) => return Ok(uploaded),
            Err(error) => error,
        };
        if !error.is_retryable() {
            return Err(error.into());
        }
        let mut found = files(session, run, held).await?;
        if let Some(place) = found.iter().position(|file| file.bytes == bytes) {
            return Ok(found.swap_remove(place));
        }
        attempt += 1;
        if attempt >= UPLOADS_MAX {
            return Err(error.into());
        }
        let pause = error.retry_after().unwrap_or(Duration::from_secs(1));
        if !run.stop.sleep(pause).await {
            return Err(Trouble::Stopped);
        }
    }
}

/// Makes the batch. An error that is no clear refusal leaves open whether there is one.
async fn create(
    session: &Session,
    held: &HeldBatch,
    endpoint: BatchEndpoint,
    file_id: &str,
) -> Result<ProviderBatch, Trouble> {
    let metadata = BTreeMap::from([(INTENT.to_owned(), held.id().to_string())]);
    let created = provider(session)?.create_batch(endpoint, file_id, &metadata);
    let error = match created.await {
        Ok(batch) => return Ok(batch),
        Err(error) => error,
    };
    if error.is_queue_full() {
        return Err(Trouble::QueueFull);
    }
    if !matches!(
        error.kind(),
        ErrorKind::Overloaded { .. } | ErrorKind::Broken(_)
    ) {
        return Err(error.into());
    }
    tracing::debug!(%error, batch = %held.id(), "the response to the creation of a batch is lost");
    Err(Trouble::Unknown)
}

/// Finds the batch of an intent, or makes sure that there never will be one.
pub(super) async fn find_or_rule_out(
    session: &Session,
    run: &Run,
    held: &HeldBatch,
) -> Result<Option<ProviderBatch>, Trouble> {
    if let Some(found) = find(session, run, held).await? {
        return Ok(Some(found));
    }
    delete_files(session, run, held).await?;
    find(session, run, held).await
}

/// Looks for the batch in the provider's list.
async fn find(
    session: &Session,
    run: &Run,
    held: &HeldBatch,
) -> Result<Option<ProviderBatch>, Trouble> {
    let client = provider(session)?;
    let intent = held.id().to_string();
    let mut after: Option<String> = None;
    loop {
        let page = patiently(session, &run.stop, async || {
            client.batches(after.as_deref()).await
        });
        let Page { data, has_more } = page.await?;
        let oldest = data
            .last()
            .map(|batch| (batch.id.clone(), batch.created_at));
        let is_ours = |batch: &ProviderBatch| {
            let metadata = batch.metadata.as_ref();
            metadata.and_then(|pairs| pairs.get(INTENT)) == Some(&intent)
        };
        if let Some(found) = data.into_iter().find(is_ours) {
            return Ok(Some(found));
        }
        match oldest {
            Some((id, created_at)) if has_more && !held.is_after(created_at) => after = Some(id),
            _ => return Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_where_the_money_ends() {
        let line = |usd| WrittenLine {
            end: 1,
            usd,
            rows: 1,
        };
        let lines = [line(0.1), line(0.1 + 0.2), line(0.5)];
        assert_eq!(affordable(&lines, 0.05), 0);
        assert_eq!(affordable(&lines, 0.3), 2);
        assert_eq!(affordable(&lines, 9.0), 3);
    }
}
