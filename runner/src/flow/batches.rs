//! Every batch on this database, whatever it is about.

use std::sync::Arc;

use uuid::Uuid;

use super::batch::{self, BatchOutput, Collector};
use super::embed::EmbeddingCollector;
use super::run::Run;
use super::score::{ScoreCollector, count_topics};
use super::session::Session;
use crate::db::BatchRecord;
use crate::engine::{Stop, StopReason};
use crate::error::Error;
use crate::report::Outcome;

/// Stores the results of any batch.
struct AnyCollector;

impl Collector for AnyCollector {
    async fn store(
        &self,
        session: &Session,
        run: &Run,
        record: &BatchRecord,
        output: Arc<BatchOutput>,
        stop: &Stop,
    ) -> Result<(), Error> {
        let kind = record.kind.as_str();
        if kind == "embed" {
            return EmbeddingCollector
                .store(session, run, record, output, stop)
                .await;
        }
        let dimension = kind.strip_prefix("backfill:");
        if kind != "score" && dimension.is_none() {
            return Err(Error::Usage(format!(
                "batch {} is about `{kind}`, which this version of sluice does not know",
                record.id
            )));
        }
        ScoreCollector
            .store(session, run, record, output, stop)
            .await?;
        match dimension {
            None => count_topics(session, run).await,
            Some(dimension) => run.metrics.warn(format!(
                "scores of `{dimension}` are stored and not in the ranking yet: `sluice backfill {dimension}` fills in \
                 the others and recomputes the final scores"
            )),
        }
        Ok(())
    }
}

/// Looks at every batch that is open, once. Stores the results of those that have ended, and cleans up what killed
/// runs have left.
///
/// # Errors
/// If the provider is not configured, or the database does not answer.
pub async fn collect_batches(session: &Session, run: &Run) -> Result<Outcome, Error> {
    session.provider()?;
    let work = async {
        let open = batch::collect_open(session, run, &AnyCollector).await?;
        if open > 0 {
            let batches = batch::batches_are(open);
            run.stop.leave(StopReason::Deferred(format!(
                "{batches} not done yet; `sluice batches list` shows how far"
            )));
        }
        Ok(session.outcome("collect", run, false))
    };
    session.recorded("collect", run, work).await
}

/// Asks the provider to cancel a batch. What it has done by then is billed, and is collected as of any other batch.
///
/// # Errors
/// If no such batch is open, another run works on it, or the provider does not answer.
pub async fn cancel_batch(session: &Session, run: &Run, id: Uuid) -> Result<(), Error> {
    session.provider()?;
    match batch::cancel(session, run, id).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::Usage(format!(
            "no batch {id} can be cancelled now: `sluice batches list` shows those that are open"
        ))),
        Err(reason) => Err(Error::Usage(reason.to_string())),
    }
}
