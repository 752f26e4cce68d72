//! The report: what ran, what it cost, what failed, and why it ended.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use crate::engine::{RowFailure, RowTotals, StopReason};
use crate::exit::Exit;
use crate::text::count;
use crate::traffic::Traffic;

pub use crate::engine::FAILURES_MAX;

/// Filters for insta, beside [those of the SDK](sluice_sdk::testing::FILTERS): what differs in the JSON of the same
/// run at another time.
pub const FILTERS: &[(&str, &str)] = &[
    (
        r#""elapsed_seconds": [0-9.]+"#,
        r#""elapsed_seconds": "[seconds]""#,
    ),
    (
        r#""peak_memory_bytes": ([0-9]+|null)"#,
        r#""peak_memory_bytes": "[bytes]""#,
    ),
];

/// What one flow did. `--output json` prints exactly one of these on stdout.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Report {
    /// The flow: `store`, `embed`, `score`, `rescore`, `backfill`, `recompute`, `run`, `worker` or
    /// `demo`.
    pub flow: String,
    /// How it ended.
    pub status: Status,
    /// Why it ended early, in a sentence. Absent if complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// True if nothing was spent or written (`--dry-run`).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// How many rows.
    pub counts: Counts,
    /// Requests sent.
    pub requests: Requests,
    /// Tokens that the provider billed, or in a dry run would bill at most.
    pub tokens: u64,
    /// Those of them that the model wrote. 0 for embeddings.
    pub output_tokens: u64,
    /// Those of them that came from the provider's prompt cache.
    pub cached_tokens: u64,
    /// Those of them that were written to the prompt cache, which costs more with some models.
    pub cache_write_tokens: u64,
    /// The price of these tokens in US dollars. Null if the model has no price.
    pub usd: Option<f64>,
    /// Wall time in seconds.
    pub elapsed_seconds: f64,
    /// Peak resident memory of the process in bytes. Null if the system does not report it.
    pub peak_memory_bytes: Option<u64>,
    /// Warnings.
    pub warnings: Vec<String>,
    /// The rows that failed, at most 1000 of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<Failure>,
    /// The flows that a `run`, a `demo` or a `worker` ran, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub flows: Vec<Report>,
    /// The requests to the provider over time, for the page of `--report-html`. `None` if none was sent.
    #[serde(skip)]
    pub traffic: Option<Box<Traffic>>,
}

/// How a flow ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Nothing due is left.
    Complete,
    /// It ended early or some rows failed. Another run continues.
    Partial,
    /// It could not continue.
    Failed,
}

/// Counts of rows or lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Counts {
    /// Lines of the store flow.
    Store(StoreCounts),
    /// Rows of every other flow.
    Rows(RowCounts),
}

/// The lines of a store run: `read = inserted + skipped + failed`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct StoreCounts {
    /// Lines that are not empty.
    pub read: u64,
    /// New posts.
    pub inserted: u64,
    /// Posts that exist already, or are twice in the input.
    pub skipped: u64,
    /// Lines that could not be stored.
    pub failed: u64,
    /// New neighborhoods.
    pub neighborhoods_created: u64,
}

/// The rows of a flow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RowCounts {
    /// Due rows that the run took up.
    pub selected: u64,
    /// Rows whose result is in the database.
    pub written: u64,
    /// Rows that needed no work, such as blank texts.
    pub skipped: u64,
    /// Rows that failed for good in this run.
    pub failed: u64,
    /// Rows that this run moved to the dead letters. `sluice failures replay` makes them due again.
    pub dead: u64,
}

/// Requests sent by the flow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Requests {
    /// To Supabase, every attempt counted.
    pub supabase: u64,
    /// To the provider, every attempt counted.
    pub openai: u64,
    /// Attempts that repeated an earlier one.
    pub retried: u64,
    /// Responses of the provider with status 429.
    pub rate_limited: u64,
}

/// A row that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Failure {
    /// The line of the input, counted from 1 (store).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The post (every other flow).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub post_id: Option<Uuid>,
    /// What is wrong with it.
    pub reason: String,
}

impl From<RowTotals> for RowCounts {
    fn from(totals: RowTotals) -> Self {
        let RowTotals {
            selected,
            written,
            skipped,
            failed,
            dead,
        } = totals;
        Self {
            selected,
            written,
            skipped,
            failed,
            dead,
        }
    }
}

impl From<RowFailure> for Failure {
    fn from(failure: RowFailure) -> Self {
        Self {
            line: None,
            post_id: Some(failure.id),
            reason: failure.reason,
        }
    }
}

impl Report {
    /// An empty report of a flow, to be filled in.
    pub fn new(flow: &str, counts: Counts) -> Self {
        Self {
            flow: flow.to_owned(),
            status: Status::Complete,
            reason: None,
            dry_run: false,
            counts,
            requests: Requests::default(),
            tokens: 0,
            output_tokens: 0,
            cached_tokens: 0,
            cache_write_tokens: 0,
            usd: Some(0.0),
            elapsed_seconds: 0.0,
            peak_memory_bytes: None,
            warnings: Vec::new(),
            failures: Vec::new(),
            flows: Vec::new(),
            traffic: None,
        }
    }

    /// Adds what only the process knows.
    #[must_use]
    pub fn finished(mut self, elapsed: Duration, peak_memory_bytes: Option<u64>) -> Self {
        self.elapsed_seconds = (elapsed.as_secs_f64() * 1e3).round() / 1e3;
        self.peak_memory_bytes = peak_memory_bytes;
        self
    }

    /// Adds what a flow did. Lines of the store flow are no rows, so only its own counts have them.
    fn add(&mut self, flow: Self) {
        if let (Counts::Rows(sum), Counts::Rows(rows)) = (&mut self.counts, &flow.counts) {
            sum.selected += rows.selected;
            sum.written += rows.written;
            sum.skipped += rows.skipped;
            sum.failed += rows.failed;
            sum.dead += rows.dead;
        }
        self.requests.supabase += flow.requests.supabase;
        self.requests.openai += flow.requests.openai;
        self.requests.retried += flow.requests.retried;
        self.requests.rate_limited += flow.requests.rate_limited;
        self.tokens += flow.tokens;
        self.output_tokens += flow.output_tokens;
        self.cached_tokens += flow.cached_tokens;
        self.cache_write_tokens += flow.cache_write_tokens;
        self.usd = self.usd.zip(flow.usd).map(|(sum, usd)| sum + usd);
        self.dry_run |= flow.dry_run;
        self.flows.push(flow);
    }

    /// Rows or lines that failed.
    pub fn failed(&self) -> u64 {
        match &self.counts {
            Counts::Store(counts) => counts.failed,
            Counts::Rows(counts) => counts.failed,
        }
    }
}

/// A report and the exit code of its run.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The report.
    pub report: Report,
    /// What the process exits with.
    pub exit: Exit,
}

impl Outcome {
    /// The outcome of a flow that ran to its end. Rows may have failed.
    pub fn ended(mut report: Report) -> Self {
        let failed = report.failed();
        if failed == 0 {
            return Self {
                report,
                exit: Exit::Complete,
            };
        }
        report.status = Status::Partial;
        report
            .reason
            .get_or_insert_with(|| format!("{} failed", count(failed, "row")));
        Self {
            report,
            exit: Exit::SomeFailed,
        }
    }

    /// The outcome of a run: stopped for a reason, at a limit that left rows (`limit_reached`), or at its end.
    pub fn of_run(
        report: Report,
        stopped: Option<&StopReason>,
        limit_reached: Option<u64>,
    ) -> Self {
        let limit = limit_reached.filter(|_| report.failed() == 0);
        let limit = limit.map(StopReason::Limit);
        match stopped.or(limit.as_ref()) {
            Some(reason) => Self::stopped(report, reason.into(), reason.to_string()),
            None => Self::ended(report),
        }
    }

    /// The outcome of several flows, one after the other. Its exit code is the worst of theirs, and its reason that of
    /// the first flow that ended with it.
    pub fn of_flows(
        label: &str,
        flows: Vec<Self>,
        elapsed: Duration,
        peak_memory_bytes: Option<u64>,
    ) -> Self {
        let mut report = Report::new(label, Counts::Rows(RowCounts::default()));
        let exits = flows.iter().map(|flow| flow.exit);
        let exit = exits.fold(Exit::Complete, Exit::worse);
        for flow in flows {
            if flow.exit == exit && report.reason.is_none() {
                report.reason.clone_from(&flow.report.reason);
            }
            report.add(flow.report);
        }
        let reason = report.reason.take().unwrap_or_default();
        let report = report.finished(elapsed, peak_memory_bytes);
        if exit == Exit::Complete {
            return Self { report, exit };
        }
        Self::stopped(report, exit, reason)
    }

    /// The outcome of a flow that ended early.
    pub fn stopped(mut report: Report, exit: Exit, reason: impl Into<String>) -> Self {
        report.status = match exit {
            Exit::MoreRemains | Exit::Interrupted | Exit::SomeFailed => Status::Partial,
            _ => Status::Failed,
        };
        report.reason = Some(reason.into());
        Self { report, exit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_with_failed_rows_exits_with_four() {
        let counts = Counts::Rows(RowCounts {
            selected: 3,
            written: 2,
            failed: 1,
            ..RowCounts::default()
        });
        let outcome = Outcome::ended(Report::new("embed", counts));
        assert_eq!(outcome.exit, Exit::SomeFailed);
        assert_eq!(outcome.report.status, Status::Partial);
        assert_eq!(outcome.report.reason.as_deref(), Some("1 row failed"));
    }

    #[test]
    fn a_refusing_provider_is_a_failure_and_a_reached_limit_is_not() {
        let report = Report::new("embed", Counts::Rows(RowCounts::default()));
        let refused = Outcome::stopped(report.clone(), Exit::ProviderRefuses, "bad key");
        assert_eq!(refused.report.status, Status::Failed);
        let limited = Outcome::stopped(report, Exit::MoreRemains, "limit reached");
        assert_eq!(limited.report.status, Status::Partial);
    }

    #[test]
    fn several_flows_end_as_the_worst_of_them() {
        let flow = |name: &str, exit: Exit| {
            let report = Report::new(name, Counts::Rows(RowCounts::default()));
            match exit {
                Exit::Complete => Outcome::ended(report),
                exit => Outcome::stopped(report, exit, format!("why {name}")),
            }
        };
        let of = |flows| Outcome::of_flows("run", flows, Duration::ZERO, None);
        let outcome = of(vec![
            flow("embed", Exit::MoreRemains),
            flow("score", Exit::ProviderRefuses),
            flow("recompute", Exit::Complete),
        ]);
        assert_eq!(outcome.exit, Exit::ProviderRefuses);
        assert_eq!(outcome.report.status, Status::Failed);
        assert_eq!(outcome.report.reason.as_deref(), Some("why score"));
        assert_eq!(outcome.report.flows.len(), 3);
        assert_eq!(of(Vec::new()).exit, Exit::Complete);
    }

    #[test]
    fn the_wire_form_has_the_keys_of_the_contract() {
        let report = Report::new("store", Counts::Store(StoreCounts::default()))
            .finished(Duration::from_millis(1_234), Some(5));
        let json = serde_json::to_value(report).unwrap();
        assert_eq!(json["counts"]["neighborhoods_created"], 0);
        assert_eq!(json["elapsed_seconds"], 1.234);
        assert_eq!(json["status"], "complete");
        assert!(json.get("reason").is_none());
        for key in [
            "flow",
            "requests",
            "tokens",
            "usd",
            "peak_memory_bytes",
            "warnings",
        ] {
            assert!(json.get(key).is_some(), "{key} is missing");
        }
    }
}
