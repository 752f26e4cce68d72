//! The files of a batch at the provider.

use std::time::Duration;

use super::super::run::Run;
use super::super::session::Session;
use super::book::{HeldBatch, Trouble, patiently, provider};
use crate::provider::batch::{Page, ProviderFile};

/// When to look again at what is left to be cleaned up, if that failed.
const LATER: Duration = Duration::from_secs(30);

/// The files at the provider that were uploaded for this batch.
pub(super) async fn files(
    session: &Session,
    run: &Run,
    held: &HeldBatch,
) -> Result<Vec<ProviderFile>, Trouble> {
    let client = provider(session)?;
    let name = held.file_name();
    let (mut found, mut after): (Vec<_>, Option<String>) = (Vec::new(), None);
    loop {
        let page = patiently(session, &run.stop, async || {
            client.batch_files(after.as_deref()).await
        });
        let Page { data, has_more } = page.await?;
        let oldest = data.last().map(|file| (file.id.clone(), file.created_at));
        found.extend(data.into_iter().filter(|file| file.filename == name));
        match oldest {
            Some((id, created_at)) if has_more && !held.is_after(created_at) => after = Some(id),
            _ => return Ok(found),
        }
    }
}

/// Deletes every file of this batch at the provider: those that are recorded, and any that an upload left whose
/// response was lost.
pub(super) async fn delete_files(
    session: &Session,
    run: &Run,
    held: &HeldBatch,
) -> Result<(), Trouble> {
    let client = provider(session)?;
    let record = &held.record;
    let known = [
        &record.file_id,
        &record.output_file_id,
        &record.error_file_id,
    ];
    let mut ids: Vec<String> = known.into_iter().flatten().cloned().collect();
    ids.extend(
        files(session, run, held)
            .await?
            .into_iter()
            .map(|file| file.id),
    );
    ids.sort();
    ids.dedup();
    for id in ids {
        patiently(session, &run.stop, async || client.delete_file(&id).await).await?;
    }
    Ok(())
}

/// Deletes what is left at the provider. If that fails, any run does it later.
pub(super) async fn clean_up(session: &Session, run: &Run, held: HeldBatch) -> Result<(), Trouble> {
    match delete_files(session, run, &held).await {
        Ok(()) => held.end().await,
        Err(trouble) => {
            held.leave(LATER).await?;
            Err(trouble)
        }
    }
}
