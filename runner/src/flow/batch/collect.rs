//! Collecting: the responses of a batch become results, in the sinks of the flow that sends requests one by one.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::super::run::Run;
use super::super::session::Session;
use super::super::source::Leases;
use super::book::{HeldBatch, Trouble};
use super::files::clean_up;
use super::output::BatchOutput;
use super::reader::{Reader, settle};
use crate::db::{BatchRecord, BatchRow, BatchRows, int};
use crate::engine::{
    self, BatchResult, Claim, Deferred, Flow, Item, Packing, Recorded, RowFailure, Sink, Source,
    Stop, StopReason, StorageError, Work,
};
use crate::error::Error;
use crate::provider::Tier;
use crate::provider::batch::OutputLine;

/// Lines of one read.
const LINES: i32 = 100;
/// Lines in flight at once: read, and not yet written.
const CONCURRENCY: usize = 4;

/// Where the results of a kind of batch go. Any run can build it from the batch's record.
pub(in crate::flow) trait Collector: Sync {
    /// Stores the results, by [`store`].
    fn store(
        &self,
        session: &Session,
        run: &Run,
        record: &BatchRecord,
        output: Arc<BatchOutput>,
        stop: &Stop,
    ) -> impl Future<Output = Result<(), Error>>;
}

/// Stores the results of a batch that has ended, settles its money and deletes its files.
pub(super) async fn collect<C: Collector>(
    session: &Session,
    run: &Run,
    mut held: HeldBatch,
    collector: &C,
) -> Result<(), Trouble> {
    let output = Arc::new(BatchOutput::download(session, run, &held).await?);
    let usd = bill(session, run, &held, &output);
    let collecting = Stop::new();
    {
        let store = collector.store(session, run, &held.record, output, &collecting);
        let mut store = Box::pin(store);
        let stored = tokio::select! {
            stored = &mut store => stored,
            // Whoever takes the batch next stores the rest.
            () = run.stop.aborted() => {
                collecting.stop(StopReason::Interrupted);
                collecting.abort();
                store.await
            }
        };
        stored.map_err(|error| Trouble::Stop(StopReason::Settings(error.to_string())))?;
    }
    match collecting.reason() {
        None => {}
        Some(StopReason::Deferred(why)) => {
            tracing::info!(batch = %held.id(), "some rows of the batch are due again: {why}");
        }
        // Another batch of these settings would be refused like this one.
        Some(refused @ StopReason::Refused(_)) => run.stop.stop(refused.clone()),
        Some(StopReason::Interrupted) => return Err(Trouble::Stopped),
        Some(reason) => return Err(Trouble::Stop(reason.clone())),
    }
    run.ledger.collected(held.id(), usd);
    held.stored(usd, None).await?;
    clean_up(session, run, held).await
}

/// Counts what a batch was billed for. Returns its dollars.
fn bill(session: &Session, run: &Run, held: &HeldBatch, output: &BatchOutput) -> f64 {
    let model = held.record.settings.get("model");
    let model = model.and_then(|model| model.as_str());
    let tariff = session.tariff(model.unwrap_or_default());
    let usages = output.usages.iter();
    let usd = usages.map(|usage| {
        let usd = tariff.usd(usage, Tier::Batch);
        run.requests.billed_by_batch(usage, usd);
        usd
    });
    let usd: f64 = usd.sum();
    let is_known = output.usages.len() as u64 == output.succeeded;
    match held.record.usd_at_most {
        // Some servers do not say what they bill, and some runners do not know the price that the maker was told.
        Some(most) if !is_known || !tariff.is_known() => most.max(usd),
        _ => usd,
    }
}

/// Drives the rows of a batch through the engine: from its output into a sink.
pub(in crate::flow) async fn store<R, K>(
    session: &Session,
    run: &Run,
    record: &BatchRecord,
    (reader, sink): (R, K),
    output: Arc<BatchOutput>,
    stop: &Stop,
) where
    R: Reader,
    K: Sink<Output = R::Output>,
{
    let source = BatchedRows {
        leases: Leases::new(
            &session.database,
            record.kind.clone(),
            record.id,
            session.settings.leases,
        ),
        id: record.id,
    };
    let another_succeeded = match output.any(|line| reader.is_usable(line)).await {
        Ok(usable) => usable,
        Err(error) => return stop.stop(unreadable(&error)),
    };
    let work = ReadWork {
        reader,
        output,
        another_succeeded,
    };
    let flow = Flow { source, work, sink };
    let pace = session.pace(u32::MAX, CONCURRENCY, None);
    Box::pin(engine::run(flow, pace, stop.clone(), run.metrics.clone())).await;
}

/// The rows of a batch that have no result yet, line after line. The cursor is the number of the last line.
#[derive(Debug)]
struct BatchedRows {
    leases: Leases,
    id: Uuid,
}

impl Source for BatchedRows {
    type Item = BatchRow;

    async fn claim(
        &self,
        _limit: u32,
        after: Option<Uuid>,
    ) -> Result<Claim<BatchRow>, StorageError> {
        let after = after.map_or(-1, |after| int(after.as_u128()));
        let mut read = BatchRows {
            p_id: self.id,
            p_after: after,
            p_lines: LINES,
        };
        loop {
            let page = self.leases.database.call_shaped(read.clone()).await?;
            // An empty claim would end the pass.
            match page.next_after {
                Some(next) if page.rows.is_empty() => read.p_after = next,
                next => {
                    return Ok(Claim {
                        next_after: next
                            .map(|next| Uuid::from_u128(u128::from(next.unsigned_abs()))),
                        ..Claim::page(page.rows)
                    });
                }
            }
        }
    }

    async fn fail(&self, failures: Vec<RowFailure>) -> Result<Recorded, StorageError> {
        self.leases.fail(failures).await
    }

    // The leases are the batch's: they outlive this run, and end when the batch is stored. So this source neither
    // extends nor releases them.

    fn lease(&self) -> Duration {
        Duration::from_secs(3_600)
    }
}

/// Reads the responses to the requests about the rows of a line.
struct ReadWork<R> {
    reader: R,
    output: Arc<BatchOutput>,
    /// Whether any request of the batch has.
    another_succeeded: bool,
}

impl<R: Reader> Work for ReadWork<R> {
    type Item = BatchRow;
    type Batch = Vec<BatchRow>;
    type Output = R::Output;

    fn pack(&self, _open: Option<Vec<BatchRow>>, rows: Vec<BatchRow>) -> Packing<Vec<BatchRow>> {
        let lines = rows.chunk_by(|one, next| one.line == next.line);
        Packing {
            batches: lines.map(<[BatchRow]>::to_vec).collect(),
            open: None,
            skipped: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn ids(&self, rows: &Vec<BatchRow>) -> Vec<Uuid> {
        rows.iter().map(Item::id).collect()
    }

    async fn run(&self, rows: Vec<BatchRow>) -> BatchResult<R::Output> {
        let Some(line) = rows.first().map(|row| row.line) else {
            return BatchResult::default();
        };
        let lines = match self.output.of_line(line).await {
            Ok(lines) => lines,
            Err(error) => {
                let reason = unreadable(&error);
                return BatchResult {
                    deferred: vec![Deferred {
                        ids: self.ids(&rows),
                        reason: reason.clone(),
                    }],
                    halt: Some(reason),
                    ..BatchResult::default()
                };
            }
        };
        let lines = lines.iter().map(|line| OutputLine::read(line));
        let responses: Vec<_> = lines.filter_map(Result::ok).collect();
        let verdict = self.reader.read(&rows, &responses);
        settle(&rows, verdict, self.another_succeeded)
    }
}

fn unreadable(error: &std::io::Error) -> StopReason {
    StopReason::Settings(format!("the output of a batch cannot be read: {error}"))
}
