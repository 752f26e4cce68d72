//! What a worker does, for Prometheus and for health checks.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::flow::Run;
use crate::report::{Counts, Outcome, Report, RowCounts, Status};

/// An idle worker whose last claim was answered longer ago than this has lost the database.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// A worker as others see it. Clones share it. The worker writes it, and each scrape reads it.
#[derive(Debug, Clone, Default)]
pub struct Monitor {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// When the database answered last.
    answered: Option<Instant>,
    running: Option<(String, Run)>,
    /// Ended jobs, by type and by how they ended.
    jobs: BTreeMap<(String, &'static str), u64>,
    /// The sum of the reports of ended jobs.
    sum: Sum,
}

/// What jobs have done.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    rows: RowCounts,
    provider: u64,
    retried: u64,
    rate_limited: u64,
    input_tokens: u64,
    output_tokens: u64,
    usd: f64,
}

impl Monitor {
    /// Notes that the database answered.
    pub(super) fn answered(&self) {
        self.locked().answered = Some(Instant::now());
    }

    /// Notes that a job begins.
    pub(super) fn begin(&self, kind: &str, run: &Run) {
        self.locked().running = Some((kind.to_owned(), run.clone()));
    }

    /// Notes how a job ended.
    pub(super) fn end(&self, outcome: &Outcome) {
        let mut state = self.locked();
        let running = state.running.take();
        let kind = running.map_or_else(|| outcome.report.flow.clone(), |(kind, _)| kind);
        let status = match outcome.report.status {
            Status::Complete => "complete",
            Status::Partial => "partial",
            Status::Failed => "failed",
        };
        *state.jobs.entry((kind, status)).or_default() += 1;
        state.sum.add(&Sum::of_report(&outcome.report));
        state.answered = Some(Instant::now());
    }

    /// Notes that no job runs, and that nobody knows how the last one ended.
    pub(super) fn lost(&self) {
        self.locked().running = None;
    }

    /// Why the worker is not healthy, if it is not.
    pub fn trouble(&self) -> Option<String> {
        let state = self.locked();
        if state.running.is_some() {
            return None;
        }
        let Some(answered) = state.answered else {
            return Some("the database has not answered yet".to_owned());
        };
        let silence = answered.elapsed();
        (silence > SILENCE_MAX)
            .then(|| format!("the database has not answered for {} s", silence.as_secs()))
    }

    /// Everything in Prometheus's text format.
    pub fn metrics(&self) -> String {
        let state = self.locked();
        let mut sum = state.sum;
        if let Some((_, run)) = &state.running {
            sum.add(&Sum::of_run(run));
        }
        let mut page = Page::default();
        page.head(
            "sluice_jobs_total",
            "counter",
            "Ended jobs by type and status",
        );
        for ((kind, status), count) in &state.jobs {
            page.sample(
                &format!("{{type=\"{kind}\",status=\"{status}\"}}"),
                *count as f64,
            );
        }
        page.head(
            "sluice_job_running",
            "gauge",
            "1 for the type of the job that runs",
        );
        if let Some((kind, _)) = &state.running {
            page.sample(&format!("{{type=\"{kind}\"}}"), 1.0);
        }
        sum.write(&mut page);
        page.head(
            "sluice_job_rows",
            "gauge",
            "Rows of the job that runs: done, and due when it began",
        );
        if let Some((_, run)) = &state.running {
            page.sample("{state=\"done\"}", run.progress() as f64);
            if let Some(total) = run.total() {
                page.sample("{state=\"due\"}", total as f64);
            }
        }
        if let Some(answered) = state.answered {
            let name = "sluice_database_silence_seconds";
            page.head(
                name,
                "gauge",
                "Since the database answered a claim or a job ended",
            );
            page.sample("", answered.elapsed().as_secs_f64());
        }
        page.text
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, State> {
        // The state is a few numbers, which a panic elsewhere does not spoil.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sum {
    fn of_report(report: &Report) -> Self {
        let rows = match report.counts {
            Counts::Rows(rows) => rows,
            Counts::Store(_) => RowCounts::default(),
        };
        Self {
            rows,
            provider: report.requests.openai,
            retried: report.requests.retried,
            rate_limited: report.requests.rate_limited,
            input_tokens: report.tokens - report.output_tokens,
            output_tokens: report.output_tokens,
            usd: report.usd.unwrap_or_default(),
        }
    }

    fn of_run(run: &Run) -> Self {
        let requests = run.requests.requests();
        let usage = run.requests.usage();
        Self {
            rows: run.metrics.rows().into(),
            provider: requests.openai,
            retried: requests.retried,
            rate_limited: requests.rate_limited,
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            usd: run.usd(),
        }
    }

    fn add(&mut self, other: &Self) {
        self.rows.selected += other.rows.selected;
        self.rows.written += other.rows.written;
        self.rows.skipped += other.rows.skipped;
        self.rows.failed += other.rows.failed;
        self.rows.dead += other.rows.dead;
        self.provider += other.provider;
        self.retried += other.retried;
        self.rate_limited += other.rate_limited;
        self.input_tokens += other.input_tokens;
        self.output_tokens += other.output_tokens;
        self.usd += other.usd;
    }

    fn write(&self, page: &mut Page) {
        page.head(
            "sluice_rows_total",
            "counter",
            "Rows by what became of them",
        );
        let rows = &self.rows;
        for (outcome, count) in [
            ("written", rows.written),
            ("skipped", rows.skipped),
            ("failed", rows.failed),
            ("dead", rows.dead),
        ] {
            page.sample(&format!("{{outcome=\"{outcome}\"}}"), count as f64);
        }
        for (name, help, value) in [
            (
                "sluice_provider_requests_total",
                "Requests to the provider, every attempt counted",
                self.provider,
            ),
            (
                "sluice_retried_requests_total",
                "Attempts that repeated an earlier one",
                self.retried,
            ),
            (
                "sluice_rate_limited_total",
                "Responses of the provider with status 429",
                self.rate_limited,
            ),
        ] {
            page.head(name, "counter", help);
            page.sample("", value as f64);
        }
        page.head("sluice_tokens_total", "counter", "Billed tokens");
        page.sample("{direction=\"input\"}", self.input_tokens as f64);
        page.sample("{direction=\"output\"}", self.output_tokens as f64);
        page.head("sluice_usd_total", "counter", "US dollars spent");
        page.sample("", self.usd);
    }
}

/// Text in Prometheus's format.
#[derive(Default)]
struct Page {
    text: String,
    name: &'static str,
}

impl Page {
    fn head(&mut self, name: &'static str, kind: &str, help: &str) {
        self.name = name;
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, labels: &str, value: f64) {
        let _ = writeln!(self.text, "{}{labels} {value}", self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ended_jobs_are_summed_and_a_silent_database_is_trouble() {
        let monitor = Monitor::default();
        assert!(monitor.trouble().unwrap().contains("not answered yet"));
        let counts = RowCounts {
            written: 7,
            ..RowCounts::default()
        };
        let mut report = Report::new("embed", Counts::Rows(counts));
        report.tokens = 120;
        report.usd = Some(0.25);
        for _ in 0..2 {
            monitor.end(&Outcome::ended(report.clone()));
        }
        assert_eq!(monitor.trouble(), None);
        let page = monitor.metrics();
        for line in [
            "sluice_jobs_total{type=\"embed\",status=\"complete\"} 2\n",
            "sluice_rows_total{outcome=\"written\"} 14\n",
            "sluice_tokens_total{direction=\"input\"} 240\n",
            "sluice_usd_total 0.5\n",
            "# TYPE sluice_usd_total counter\n",
        ] {
            assert!(page.contains(line), "{line} is missing in {page}");
        }
    }
}
