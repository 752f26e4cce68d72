//! The record of a run in the database: who runs what, how far it is, what it costs and how it ended.

use std::time::Duration;

use serde_json::{Value, json};

use super::run::Run;
use super::session::Session;
use crate::db::{DatabaseError, RecordRun};
use crate::error::Error;
use crate::exit::Exit;
use crate::report::{Outcome, RowCounts};

/// From the first record to the second, which is early so that a watcher soon sees a rate.
const FIRST_BEAT: Duration = Duration::from_secs(3);
/// Between two records of a run that goes on.
const BEAT: Duration = Duration::from_secs(15);
/// How long the last record may take.
const LAST_RECORD: Duration = Duration::from_secs(5);
/// The same after an interrupt, because the program must end soon.
const HURRIED_RECORD: Duration = Duration::from_millis(300);

impl Session {
    /// Runs a flow and records it. What the run has not spent of its reservation is free again afterwards.
    pub(super) fn recorded<'a>(
        &'a self,
        flow: &'a str,
        run: &'a Run,
        work: impl Future<Output = Result<Outcome, Error>> + 'a,
    ) -> impl Future<Output = Result<Outcome, Error>> + 'a {
        // Boxed here, because a flow is too large to be moved through the calls.
        let mut work = Box::pin(work);
        async move {
            if run.options.dry_run {
                return work.await;
            }
            tokio::select! {
                recorded = self.record(flow, run, None) => recorded?,
                () = run.stop.stopped() => {}
            }
            let result = tokio::select! {
                result = &mut work => result,
                never = self.beat(flow, run) => match never {},
            };
            self.record_end(flow, run, &result).await;
            result
        }
    }

    async fn record_end(&self, flow: &str, run: &Run, result: &Result<Outcome, Error>) {
        let exit = match result {
            Ok(outcome) => outcome.exit,
            Err(error) => error.exit(),
        };
        let within = match exit {
            Exit::Interrupted => HURRIED_RECORD,
            _ => LAST_RECORD,
        };
        let last = self.record(flow, run, Some(exit));
        let failed = match tokio::time::timeout(within, last).await {
            Ok(recorded) => recorded.err().map(|error| error.to_string()),
            Err(_) => Some("the database does not answer".to_owned()),
        };
        if let Some(error) = failed {
            tracing::warn!(
                "the end of the run is not recorded, so its reservation counts as spent: {error}"
            );
        }
    }

    async fn beat(&self, flow: &str, run: &Run) -> std::convert::Infallible {
        let mut pause = FIRST_BEAT;
        loop {
            tokio::time::sleep(pause).await;
            pause = BEAT;
            if let Err(error) = self.record(flow, run, None).await {
                tracing::debug!(%error, "failed to record the run");
            }
        }
    }

    async fn record(&self, flow: &str, run: &Run, exit: Option<Exit>) -> Result<(), DatabaseError> {
        let record = RecordRun {
            p_id: run.ledger.holder(),
            p_flow: flow.to_owned(),
            p_host: gethostname::gethostname().into_string().ok(),
            p_state: state(run, exit),
        };
        self.database.call(record).await
    }
}

fn state(run: &Run, exit: Option<Exit>) -> Value {
    let usage = run.requests.usage();
    json!({
        "counts": RowCounts::from(run.metrics.rows()),
        "input_tokens": usage.input_tokens,
        "cached_tokens": usage.cached_input_tokens,
        "written_tokens": usage.cache_write_tokens,
        "output_tokens": usage.output_tokens,
        "usd": run.requests.is_priced().then(|| run.usd()),
        "rate": exit.is_none().then(|| run.requests.rate()),
        "exit": exit.map(Exit::code),
        "spent": run.ledger.spent_by_day(),
    })
}
