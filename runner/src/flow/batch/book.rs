//! The record of a batch in the database, and the hold that this run has on it.

use std::time::Duration;

use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::requester::setback;
use super::super::run::Run;
use super::super::session::Session;
use crate::db::{
    BatchRecord, BatchState, ChangeBatch, CutBatch, Database, DatabaseError, EndBatch, ForgetBatch,
    LeaveBatch, StoreBatch, int,
};
use crate::engine::{GaveUp, Stop, StopReason};
use crate::provider;

/// How far the provider's clock may differ from the database's.
const CLOCKS: i64 = 1;

/// Why work on a batch has ended early.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The run is to stop, for this reason.
    Stop(StopReason),
    /// The run is stopping already.
    Stopped,
    /// Another run has taken the batch.
    Lost,
    /// The provider has no room for another batch now.
    QueueFull,
    /// It is not known whether the provider has made the batch.
    Unknown,
}

impl From<DatabaseError> for Trouble {
    fn from(error: DatabaseError) -> Self {
        if error.is_job_lost() {
            Self::Lost
        } else {
            Self::Stop(StopReason::Database(error.to_string()))
        }
    }
}

impl From<provider::Error> for Trouble {
    fn from(error: provider::Error) -> Self {
        let why = error.to_string();
        Self::Stop(if error.is_retryable() {
            StopReason::Outage(format!("the provider has not answered: {why}"))
        } else {
            StopReason::Refused(why)
        })
    }
}

impl From<GaveUp> for Trouble {
    fn from(gave_up: GaveUp) -> Self {
        match gave_up {
            GaveUp::Stopped(_) => Self::Stopped,
            _ => Self::Stop(StopReason::Outage(gave_up.to_string())),
        }
    }
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        let why = format!("the file of a batch cannot be kept in the temporary folder: {error}");
        Self::Stop(StopReason::Settings(why))
    }
}

impl Trouble {
    /// Whether the provider has clearly refused the last step, so that it did nothing.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Stop(StopReason::Refused(_)))
    }
}

/// The client of the provider, or why there is none.
pub(super) fn provider(session: &Session) -> Result<&provider::Client, Trouble> {
    let client = session.provider();
    client.map_err(|error| Trouble::Stop(StopReason::Settings(error.to_string())))
}

/// Repeats a call that may be sent twice, for as long as the patience with the provider.
pub(super) async fn patiently<T>(
    session: &Session,
    stop: &Stop,
    mut call: impl AsyncFnMut() -> Result<T, provider::Error>,
) -> Result<T, Trouble> {
    let patience = session.patience().until_stopped(stop);
    let mut wait = patience.begin();
    loop {
        match call().await {
            Ok(answer) => {
                patience.answered();
                return Ok(answer);
            }
            Err(error) if error.is_retryable() => wait.pause(setback(&error)).await?,
            Err(error) => return Err(error.into()),
        }
    }
}

/// The right of this run to change a batch.
#[derive(Debug, Clone)]
pub(super) struct BatchHold {
    database: Database,
    id: Uuid,
    holder: Uuid,
    lease: Duration,
}

impl BatchHold {
    pub(super) fn new(session: &Session, run: &Run, id: Uuid) -> Self {
        Self {
            // A run that is stopping still records what became of its batches.
            database: session.database.outlasting(),
            id,
            holder: run.ledger.holder(),
            lease: session.settings.leases.lease,
        }
    }

    async fn change(&self, changes: Value) -> Result<(), DatabaseError> {
        let change = ChangeBatch {
            p_id: self.id,
            p_holder: self.holder,
            p_hold_seconds: int(self.lease.as_secs()),
            p_changes: changes,
        };
        self.database.call(change).await
    }

    /// Leaves the batch to any run, to be looked at again after this long.
    pub(super) async fn leave(&self, look_after: Duration) -> Result<(), Trouble> {
        let leave = LeaveBatch {
            p_id: self.id,
            p_holder: self.holder,
            p_look_seconds: look_after.as_secs_f64(),
        };
        Ok(self.database.call(leave).await?)
    }

    /// Does some work while the hold is renewed. If the hold is lost, the work ends.
    pub(super) async fn keep<T>(
        &self,
        work: impl Future<Output = Result<T, Trouble>>,
    ) -> Result<T, Trouble> {
        tokio::select! {
            result = work => result,
            () = self.renew() => Err(Trouble::Lost),
        }
    }

    /// Renews the hold until it is lost.
    async fn renew(&self) {
        loop {
            tokio::time::sleep(self.lease / 3).await;
            match self.change(json!({})).await {
                Err(error) if error.is_job_lost() => return,
                Err(error) => tracing::warn!(%error, "failed to renew the hold of a batch"),
                Ok(()) => {}
            }
        }
    }
}

/// A batch that this run holds.
#[derive(Debug)]
pub(super) struct HeldBatch {
    pub(super) record: BatchRecord,
    pub(super) hold: BatchHold,
}

impl HeldBatch {
    pub(super) fn new(session: &Session, run: &Run, record: BatchRecord) -> Self {
        let hold = BatchHold::new(session, run, record.id);
        Self { record, hold }
    }

    pub(super) fn id(&self) -> Uuid {
        self.record.id
    }

    pub(super) fn holder(&self) -> Uuid {
        self.hold.holder
    }

    /// The name of its file at the provider.
    pub(super) fn file_name(&self) -> String {
        format!("sluice-{}.jsonl", self.record.id)
    }

    /// Whether its intent is younger than something at the provider, so that the list need not be read further.
    pub(super) fn is_after(&self, created_at: i64) -> bool {
        let intent = self.record.created_at - CLOCKS.hours();
        Timestamp::from_second(created_at).is_ok_and(|created_at| created_at < intent)
    }

    /// Records changes, and holds the batch for longer.
    pub(super) async fn change(&mut self, changes: Value) -> Result<(), Trouble> {
        self.hold.change(changes).await?;
        Ok(())
    }

    /// Records the next state, together with what is known then.
    pub(super) async fn advance(
        &mut self,
        state: BatchState,
        mut changes: Value,
    ) -> Result<(), Trouble> {
        if let Some(fields) = changes.as_object_mut() {
            fields.insert("state".to_owned(), json!(state));
        }
        self.change(changes).await?;
        self.record.state = state;
        Ok(())
    }

    /// Takes the lines from this one on out of the batch, and releases every row that is in no line.
    pub(super) async fn cut(&self, lines: u32) -> Result<(), Trouble> {
        let cut = CutBatch {
            p_id: self.id(),
            p_holder: self.hold.holder,
            p_lines: int(lines),
        };
        Ok(self.hold.database.call(cut).await?)
    }

    /// Leaves the batch to any run, to be looked at again after this long.
    pub(super) async fn leave(&self, look_after: Duration) -> Result<(), Trouble> {
        self.hold.leave(look_after).await
    }

    /// Deletes the record of a batch of which nothing is at the provider.
    pub(super) async fn forget(self) -> Result<(), Trouble> {
        let forget = ForgetBatch {
            p_id: self.id(),
            p_holder: self.hold.holder,
        };
        Ok(self.hold.database.call(forget).await?)
    }

    /// Notes that its results are stored and what they cost. Its other rows are due again.
    pub(super) async fn stored(&mut self, usd: f64, reason: Option<String>) -> Result<(), Trouble> {
        let store = StoreBatch {
            p_id: self.id(),
            p_holder: self.hold.holder,
            p_usd: usd,
            p_reason: reason,
        };
        self.hold.database.call(store).await?;
        self.record.state = BatchState::Stored;
        Ok(())
    }

    /// Notes that nothing is left at the provider.
    pub(super) async fn end(self) -> Result<(), Trouble> {
        let end = EndBatch {
            p_id: self.id(),
            p_holder: self.hold.holder,
        };
        Ok(self.hold.database.call(end).await?)
    }
}
