//! Going on with a batch that any run has left, whatever state it is in.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use super::super::run::Run;
use super::super::session::Session;
use super::book::{HeldBatch, Trouble, patiently, provider};
use super::collect::{Collector, collect};
use super::files::clean_up;
use super::submit::{FIRST_LOOK, find_or_rule_out, submitted};
use crate::db::{BatchState, TakeBatch, int};
use crate::engine::StopReason;
use crate::provider::batch::{BatchStatus, ProviderBatch};

/// The shortest time between two looks at a batch.
const LOOK_MIN: Duration = Duration::from_secs(1);
/// The longest time between two looks at a batch.
const LOOK_MAX: Duration = Duration::from_secs(60);
/// A batch that this run has taken, if one was to be looked at, and how many are open.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) batch: Option<HeldBatch>,
    pub(super) open: u64,
    pub(super) wait: Duration,
}

/// What became of a batch that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The provider is still at it.
    Waits,
    /// It has ended. Rows without a result are due again.
    Ended,
    /// The provider refused its file, without billing anything. Its rows are due again.
    FileRefused,
    /// The provider had no room for it. Its rows are due again.
    QueueFull,
}

/// Takes the next batch of this kind that is to be looked at, or the one of this id.
pub(super) async fn take(
    session: &Session,
    run: &Run,
    kind: Option<&str>,
    id: Option<Uuid>,
) -> Result<Taken, Trouble> {
    let take = TakeBatch {
        p_holder: run.ledger.holder(),
        p_hold_seconds: int(session.settings.leases.lease.as_secs()),
        p_provider: session.settings.openai.base_url.clone(),
        p_kind: kind.map(str::to_owned),
        p_id: id,
    };
    let taken = session.database.call_shaped(take).await?;
    Ok(Taken {
        batch: taken
            .batch
            .map(|record| HeldBatch::new(session, run, record)),
        open: taken.open,
        wait: Duration::from_millis(taken.wait_ms.unwrap_or_default()),
    })
}

/// Does the next step of a batch.
pub(super) async fn go_on<C: Collector>(
    session: &Session,
    run: &Run,
    held: HeldBatch,
    collector: &C,
) -> Result<Step, Trouble> {
    let keeper = held.hold.clone();
    let step = keeper
        .keep(Box::pin(step(session, run, held, collector)))
        .await;
    if matches!(step, Err(Trouble::Stop(_) | Trouble::Stopped)) {
        // Another run may go on at once.
        keeper.leave(Duration::ZERO).await?;
    }
    step
}

async fn step<C: Collector>(
    session: &Session,
    run: &Run,
    held: HeldBatch,
    collector: &C,
) -> Result<Step, Trouble> {
    match held.record.state {
        BatchState::Packing | BatchState::Uploading => {
            let reason = "its runner ended before the batch was made; its rows are due again";
            abandon(session, run, held, reason).await?;
            Ok(Step::Ended)
        }
        BatchState::Creating => match resolve(session, run, held).await? {
            Some(found) => {
                found.leave(FIRST_LOOK).await?;
                Ok(Step::Waits)
            }
            None => Ok(Step::Ended),
        },
        BatchState::Submitted => look(session, run, held, collector).await,
        BatchState::Stored | BatchState::Ended => {
            clean_up(session, run, held).await?;
            Ok(Step::Ended)
        }
    }
}

/// Finds out whether the provider has the batch of a creation whose end is not known. If not, it ends here.
pub(super) async fn resolve(
    session: &Session,
    run: &Run,
    mut held: HeldBatch,
) -> Result<Option<HeldBatch>, Trouble> {
    let Some(found) = find_or_rule_out(session, run, &held).await? else {
        let reason = "the provider never had the batch; its rows are due again";
        abandon(session, run, held, reason).await?;
        return Ok(None);
    };
    submitted(&mut held, &found).await?;
    Ok(Some(held))
}

/// Ends a batch that the provider does not have. Its rows are due again, and nothing was billed.
pub(super) async fn abandon(
    session: &Session,
    run: &Run,
    mut held: HeldBatch,
    reason: &str,
) -> Result<(), Trouble> {
    tracing::debug!(batch = %held.id(), reason, "a batch is given up");
    run.ledger.collected(held.id(), 0.0);
    if held.record.state == BatchState::Packing {
        return held.forget().await;
    }
    held.stored(0.0, Some(reason.to_owned())).await?;
    clean_up(session, run, held).await
}

/// Asks the provider how far the batch is, and collects it if it has ended.
async fn look<C: Collector>(
    session: &Session,
    run: &Run,
    mut held: HeldBatch,
    collector: &C,
) -> Result<Step, Trouble> {
    let client = provider(session)?;
    let id = held.record.batch_id.clone().unwrap_or_default();
    let asked = patiently(session, &run.stop, async || match client.batch(&id).await {
        Err(error) if error.is_missing() => Ok(None),
        answered => answered.map(Some),
    });
    let Some(batch) = asked.await? else {
        held.leave(LOOK_MAX).await?;
        return Err(Trouble::Stop(StopReason::Refused(format!(
            "the provider has no batch {id}: was it made with the key of another project? Use that key, or give its \
             rows back with `sluice batches cancel {}`",
            held.id()
        ))));
    };
    note(&mut held, &batch).await?;
    if !batch.status.has_ended() {
        held.leave(pause(&held)).await?;
        return Ok(Step::Waits);
    }
    if batch.status == BatchStatus::Failed {
        return refused(session, run, held, &batch).await;
    }
    collect(session, run, held, collector).await?;
    Ok(Step::Ended)
}

/// Records what the provider says about the batch.
async fn note(held: &mut HeldBatch, batch: &ProviderBatch) -> Result<(), Trouble> {
    let counts = batch.request_counts.unwrap_or_default();
    held.change(json!({
        "provider_state": batch.status.name(),
        "lines_done": counts.completed,
        "lines_failed": counts.failed,
        "output_file_id": batch.output_file_id,
        "error_file_id": batch.error_file_id,
    }))
    .await?;
    held.record.output_file_id.clone_from(&batch.output_file_id);
    held.record.error_file_id.clone_from(&batch.error_file_id);
    Ok(())
}

/// Until the next look: a tenth of the batch's age. Most batches end within minutes, some take a day.
fn pause(held: &HeldBatch) -> Duration {
    let age = Timestamp::now().duration_since(held.record.created_at);
    let age = Duration::try_from(age).unwrap_or_default();
    (age / 10).clamp(LOOK_MIN, LOOK_MAX)
}

/// Ends a batch whose file the provider refused. It billed nothing.
async fn refused(
    session: &Session,
    run: &Run,
    held: HeldBatch,
    batch: &ProviderBatch,
) -> Result<Step, Trouble> {
    let problem = batch.errors.iter().flat_map(|errors| &errors.data).next();
    let code = problem
        .and_then(|problem| problem.code.clone())
        .unwrap_or_default();
    let message = problem
        .and_then(|problem| problem.message.clone())
        .unwrap_or_default();
    let reason = format!("the provider refused the file: {message} ({code})");
    let id = held.id();
    abandon(session, run, held, &reason).await?;
    if code == "token_limit_exceeded" {
        return Ok(Step::QueueFull);
    }
    run.metrics
        .warn(format!("batch {id}: {reason}; its rows are due again"));
    Ok(Step::FileRefused)
}

/// Asks the provider to cancel a batch that this run holds.
pub(super) async fn cancel_held(
    session: &Session,
    run: &Run,
    mut held: HeldBatch,
) -> Result<(), Trouble> {
    if held.record.state == BatchState::Creating {
        match resolve(session, run, held).await? {
            Some(found) => held = found,
            None => return Ok(()),
        }
    }
    if held.record.state != BatchState::Submitted {
        return match held.record.state {
            BatchState::Stored | BatchState::Ended => clean_up(session, run, held).await,
            _ => abandon(session, run, held, "cancelled before the batch was made").await,
        };
    }
    let client = provider(session)?;
    let id = held.record.batch_id.clone().unwrap_or_default();
    let asked = patiently(session, &run.stop, async || {
        match client.cancel_batch(&id).await {
            Err(error) if error.is_missing() => Ok(None),
            // A batch that has ended cannot be cancelled. It is collected as it is.
            Err(error) if !error.is_retryable() => client.batch(&id).await.map(Some),
            answered => answered.map(Some),
        }
    });
    match asked.await? {
        Some(batch) => {
            note(&mut held, &batch).await?;
            held.leave(LOOK_MIN).await
        }
        None => {
            abandon(
                session,
                run,
                held,
                "cancelled; the provider does not have it",
            )
            .await
        }
    }
}
