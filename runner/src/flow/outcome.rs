//! How a run ended, and its report.

use super::preview::{Preview, any_due};
use super::run::Run;
use super::session::Session;
use super::work::WorkKind;
use crate::report::{Counts, Outcome, Report};

impl Session {
    /// The outcome of a run that has ended. `more_due` says whether a run that reached its limit left rows.
    pub(crate) fn outcome(&self, flow: &str, run: &Run, more_due: bool) -> Outcome {
        let limit = run.options.limit.filter(|_| more_due);
        Outcome::of_run(self.report(flow, run), run.stop.reason(), limit)
    }

    /// The outcome of a run over posts. If the run reached its limit, this looks whether posts are left.
    pub(super) async fn finish(&self, flow: &str, run: &Run, kind: &WorkKind) -> Outcome {
        if !run.is_at_limit() || run.stop.reason().is_some() {
            return self.outcome(flow, run, false);
        }
        match any_due(self, kind).await {
            Ok(more_due) => self.outcome(flow, run, more_due),
            // The report is kept, because the work is done and paid for.
            Err(error) => Outcome::stopped(self.report(flow, run), error.exit(), error.to_string()),
        }
    }

    /// The outcome of a dry run.
    pub(super) fn previewed(&self, flow: &str, run: &Run, preview: &Preview) -> Outcome {
        let rows = usize::try_from(preview.rows).unwrap_or(usize::MAX);
        run.metrics.selected(rows);
        let mut report = self.report(flow, run);
        report.tokens = preview.input_tokens + preview.output_tokens;
        report.output_tokens = preview.output_tokens;
        report.usd = preview.price_known.then_some(preview.usd);
        Outcome::ended(report)
    }

    fn report(&self, flow: &str, run: &Run) -> Report {
        let mut report = Report::new(flow, Counts::Rows(run.metrics.rows().into()));
        let (sent, retried) = self.database.requests();
        report.requests = run.requests.requests();
        report.requests.supabase = sent - run.requests_before.0;
        report.requests.retried += retried - run.requests_before.1;
        let usage = run.requests.usage();
        report.tokens = usage.total();
        report.output_tokens = usage.output_tokens;
        report.cached_tokens = usage.cached_input_tokens;
        report.cache_write_tokens = usage.cache_write_tokens;
        report.usd = run.requests.is_priced().then(|| run.usd());
        let (failures, warnings) = run.metrics.take_notes();
        report.failures = failures.into_iter().map(Into::into).collect();
        report.warnings = warnings;
        report.traffic = run.requests.traffic().map(Box::new);
        report.dry_run = run.options.dry_run;
        report.finished(run.started.elapsed(), crate::memory::peak_bytes())
    }
}
