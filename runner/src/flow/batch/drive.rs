//! What a run does next: take up a batch, make another one, or wait.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use tokio::time::Instant;
use uuid::Uuid;

use super::super::run::{Batching, Run};
use super::super::session::Session;
use super::super::work::WorkKind;
use super::book::{HeldBatch, Trouble};
use super::collect::Collector;
use super::line::Lines;
use super::pack::{FileCaps, PassEnd, Place, pack};
use super::submit::{FIRST_LOOK, submit};
use super::take::{Step, abandon, cancel_held, go_on, resolve, take};
use crate::db::{BatchRecord, BatchState, BeginBatch, DatabaseError, ListBatches, int};
use crate::engine::{StopReason, backoff};

/// The longest pause: rows may become due meanwhile, or another runner may leave a batch.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// How long to wait for rows that others have leased.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// The shortest pause if the provider has no room for another batch.
const QUEUE_MIN: Duration = Duration::from_secs(4);
/// The longest of these pauses. A batch of ours that ends makes room at once.
const QUEUE_MAX: Duration = Duration::from_secs(300);
/// The most batches that are open at once.
const OPEN_MAX: i32 = 1_000;
/// If this many files in a row are refused, the run stops.
const REFUSED_MAX: u32 = 3;

/// A flow by batches: which rows, how they become lines, and where the results go.
pub(in crate::flow) struct BatchFlow<'a, L, C> {
    session: &'a Session,
    run: &'a Run,
    name: &'a str,
    kind: &'a WorkKind,
    lines: L,
    collector: C,
    place: Place,
    /// Lines packed in this pass over the table.
    packed_in_pass: u64,
    /// Rows that this run has put into batches.
    taken_up: u64,
    /// The most requests in a file. Halved if a single batch is too much for the queue.
    requests_max: usize,
    /// Files in a row that the provider has refused.
    refused: u32,
    /// How often in a row the provider had no room.
    queue_full: u32,
    /// Nothing is due, as far as this run knows.
    is_done: bool,
    /// No batch is made before this time.
    not_before: Option<Instant>,
    /// Why no batch is made before one of those that are open has ended.
    blocked: Option<StopReason>,
}

impl<'a, L: Lines, C: Collector> BatchFlow<'a, L, C> {
    pub(in crate::flow) fn new(
        session: &'a Session,
        run: &'a Run,
        (name, kind): (&'a str, &'a WorkKind),
        lines: L,
        collector: C,
    ) -> Self {
        Self {
            session,
            run,
            name,
            kind,
            lines,
            collector,
            place: Place::default(),
            packed_in_pass: 0,
            taken_up: 0,
            requests_max: session.settings.batch.requests as usize,
            refused: 0,
            queue_full: 0,
            is_done: false,
            not_before: None,
            blocked: None,
        }
    }

    /// Makes batches of all that is due and collects them, until nothing is left or the run is stopped. What is at the
    /// provider then stays there, and any run can go on with it.
    pub(in crate::flow) async fn drive(mut self) {
        let run = self.run;
        let ended = Box::pin(async {
            tokio::select! {
                ended = self.turns() => ended,
                () = run.stop.aborted() => Err(Trouble::Stopped),
            }
        });
        let ended = ended.await;
        if let Err(Trouble::Stop(reason)) = ended {
            run.stop.stop(reason);
        }
    }

    async fn turns(&mut self) -> Result<(), Trouble> {
        let run = self.run;
        loop {
            let kind = self.kind.name();
            let taken = take(self.session, run, Some(&kind), None).await?;
            if run.stop.is_stopped() {
                if let Some(held) = taken.batch {
                    held.leave(Duration::ZERO).await?;
                }
                self.say_what_goes_on(taken.open);
                return Ok(());
            }
            if let Some(held) = taken.batch {
                self.take_up(held).await?;
            } else if self.may_make(taken.open)? {
                self.make(taken.open).await?;
            } else if taken.open == 0 && self.is_done {
                return Ok(());
            } else if taken.open > 0 && run.options.batch == Some(Batching::HandOver) {
                run.stop.leave(StopReason::Deferred(format!(
                    "{} at the provider; the same command again stores the results",
                    batches_are(taken.open)
                )));
                return Ok(());
            } else {
                self.pause(taken.open, taken.wait).await;
            }
        }
    }

    /// Does the next step of a batch, of this run or another.
    async fn take_up(&mut self, held: HeldBatch) -> Result<(), Trouble> {
        match go_on(self.session, self.run, held, &self.collector).await {
            Ok(Step::Waits) | Err(Trouble::Lost) => return Ok(()),
            Ok(Step::Ended) => (self.refused, self.not_before) = (0, None),
            Ok(Step::FileRefused) => {
                self.refused += 1;
                if self.refused >= REFUSED_MAX {
                    let reason = format!("the provider has refused {REFUSED_MAX} files in a row");
                    return Err(Trouble::Stop(StopReason::Refused(reason)));
                }
            }
            Ok(Step::QueueFull) => self.queue_is_full(1),
            Err(trouble) => return Err(trouble),
        }
        // Its rows without a result are due again, and its money is settled.
        (self.is_done, self.blocked) = (false, None);
        Ok(())
    }

    /// Whether it is time to make a batch. `Err` if something stands in the way for good.
    fn may_make(&mut self, open: u64) -> Result<bool, Trouble> {
        if let Some(reason) = self.blocked.take_if(|_| open == 0) {
            return Err(Trouble::Stop(reason));
        }
        let limit = self.run.options.limit;
        let is_at_limit = limit.is_some_and(|limit| self.taken_up >= limit);
        self.is_done |= is_at_limit;
        let is_time = self.not_before.is_none_or(|time| Instant::now() >= time);
        Ok(!self.is_done && is_time && self.blocked.is_none())
    }

    /// Makes a batch of what is due.
    async fn make(&mut self, open: u64) -> Result<(), Trouble> {
        self.not_before = None;
        let mut held = self.begin().await?;
        let keeper = held.hold.clone();
        let limit = self.run.options.limit;
        let room = limit.map(|limit| limit.saturating_sub(self.taken_up));
        let bounds = (&held, FileCaps::new(self.requests_max), room);
        let (session, run) = (self.session, self.run);
        let packing = pack(
            session,
            run,
            self.kind,
            &self.lines,
            bounds,
            &mut self.place,
        );
        let packed = match keeper.keep(Box::pin(packing)).await {
            Ok(packed) => packed,
            Err(trouble) => return self.give_up(held, trouble, open).await,
        };
        let lines = packed.lines.len() as u64;
        self.packed_in_pass += lines;
        if let Some(end) = self.place.end.take() {
            self.end_pass(end);
        }
        if packed.lines.is_empty() {
            return abandon(session, run, held, "nothing was due").await;
        }
        let endpoint = self.lines.endpoint();
        match submit(session, run, &mut held, packed, endpoint).await {
            Ok(rows) => {
                self.taken_up += rows;
                self.queue_full = 0;
                Ok(())
            }
            Err(trouble) => self.give_up(held, trouble, open).await,
        }
    }

    async fn begin(&self) -> Result<HeldBatch, Trouble> {
        let (session, run) = (self.session, self.run);
        let settings = self.lines.settings();
        let id = Uuid::new_v4();
        let begin = BeginBatch {
            p_id: id,
            p_holder: run.ledger.holder(),
            p_hold_seconds: int(session.settings.leases.lease.as_secs()),
            p_batch: json!({
                "provider": session.settings.openai.base_url,
                "flow": self.name,
                "kind": self.kind.name(),
                "rule": self.kind.rule(),
                "settings": settings,
                "created_by": gethostname::gethostname().into_string().ok(),
            }),
        };
        session.database.call(begin).await?;
        let record = BatchRecord {
            id,
            kind: self.kind.name(),
            state: BatchState::Packing,
            settings,
            file_id: None,
            batch_id: None,
            output_file_id: None,
            error_file_id: None,
            usd_at_most: None,
            created_at: Timestamp::now(),
        };
        Ok(HeldBatch::new(session, run, record))
    }

    /// Lets go of a batch that was not made.
    async fn give_up(
        &mut self,
        held: HeldBatch,
        trouble: Trouble,
        open: u64,
    ) -> Result<(), Trouble> {
        let (session, run) = (self.session, self.run);
        // Its rows are due again, in a part of the table that this pass has gone by.
        self.packed_in_pass += 1;
        self.is_done = false;
        match trouble {
            Trouble::Lost => Ok(()),
            Trouble::Unknown => match resolve(session, run, held).await? {
                Some(found) => found.leave(FIRST_LOOK).await,
                None => Ok(()),
            },
            Trouble::QueueFull => {
                abandon(session, run, held, "the provider's queue is full").await?;
                self.queue_is_full(open);
                Ok(())
            }
            Trouble::Stop(reason @ StopReason::Budget(_)) => {
                abandon(session, run, held, &reason.to_string()).await?;
                // A batch that is collected frees what it did not cost.
                self.blocked = Some(reason);
                Ok(())
            }
            trouble if held.record.state == BatchState::Creating && !trouble.is_refusal() => {
                held.leave(Duration::ZERO).await?;
                Err(trouble)
            }
            trouble => {
                let reason = "its run ended before the batch was made";
                if let Err(error) = abandon(session, run, held, reason).await {
                    tracing::debug!(?error, "failed to clean up; the next run does it");
                }
                Err(trouble)
            }
        }
    }

    /// Waits until a batch has ended. If none of ours is open, a smaller one is tried later.
    fn queue_is_full(&mut self, open: u64) {
        tracing::info!("the provider's queue of batches is full; waiting");
        if open == 0 {
            self.requests_max = (self.requests_max / 2).max(1);
        }
        let pause = backoff(self.queue_full, QUEUE_MIN, QUEUE_MAX);
        self.queue_full += 1;
        self.not_before = Some(Instant::now() + pause);
    }

    fn end_pass(&mut self, end: PassEnd) {
        if std::mem::take(&mut self.packed_in_pass) > 0 {
            return;
        }
        let pause = if end.waiting > 0 {
            end.next_attempt
                .unwrap_or(LOOK_AGAIN)
                .clamp(LOOK_AGAIN, PAUSE_MAX)
        } else if end.leased_elsewhere > 0 {
            LOOK_AGAIN
        } else {
            self.is_done = true;
            return;
        };
        self.not_before = Some(Instant::now() + pause);
    }

    async fn pause(&self, open: u64, wait: Duration) {
        let mut pause = PAUSE_MAX;
        if open > 0 {
            pause = pause.min(wait);
        }
        if let Some(time) = self.not_before {
            pause = pause.min(time.saturating_duration_since(Instant::now()));
        }
        // Never a busy loop, whatever the clocks say.
        self.run
            .stop
            .sleep(pause.max(Duration::from_millis(50)))
            .await;
    }

    fn say_what_goes_on(&self, open: u64) {
        if open > 0 {
            let batches = batches_are(open);
            self.run.metrics.warn(format!(
                "{batches} at the provider; the same command again, or `sluice batches collect`, stores the results"
            ));
        }
    }
}

/// `1 batch is` or `2 batches are`.
pub(in crate::flow) fn batches_are(open: u64) -> String {
    match open {
        1 => "1 batch is".to_owned(),
        _ => format!("{open} batches are"),
    }
}

/// Does the next step of every batch that is open, once each. Returns how many are left.
pub(in crate::flow) async fn collect_open<C: Collector>(
    session: &Session,
    run: &Run,
    collector: &C,
) -> Result<u64, DatabaseError> {
    let open = || ListBatches {
        p_all: false,
        p_limit: OPEN_MAX,
    };
    for batch in session.database.call_shaped(open()).await? {
        if run.stop.is_stopped() {
            break;
        }
        let step = Box::pin(async {
            match take(session, run, None, Some(batch.id)).await?.batch {
                Some(held) => go_on(session, run, held, collector).await.map(drop),
                None => Ok(()),
            }
        });
        let ended = tokio::select! {
            ended = step => ended,
            () = run.stop.aborted() => Err(Trouble::Stopped),
        };
        if let Err(Trouble::Stop(reason)) = ended {
            run.stop.stop(reason);
        }
    }
    Ok(session.database.call_shaped(open()).await?.len() as u64)
}

/// Asks the provider to cancel a batch. What is done by then is collected later. A batch that the provider does not
/// have gives its rows back at once.
pub(in crate::flow) async fn cancel(
    session: &Session,
    run: &Run,
    id: Uuid,
) -> Result<bool, StopReason> {
    let cancelled = async {
        let Some(held) = take(session, run, None, Some(id)).await?.batch else {
            return Ok(false);
        };
        let keeper = held.hold.clone();
        keeper
            .keep(Box::pin(cancel_held(session, run, held)))
            .await
            .map(|()| true)
    };
    cancelled.await.map_err(|trouble| match trouble {
        Trouble::Stop(reason) => reason,
        _ => StopReason::Deferred(format!("another run works on batch {id} now")),
    })
}
