//! The report in a few lines.

use std::fmt::Write;

use super::color::{BAD, GOOD, WARNING, paint};
use super::table::harmless;
use crate::report::{Counts, Failure, Report, Status};
use crate::text::count;

/// This many failures are shown. The JSON report and `sluice failures list` have all.
const FAILURES_SHOWN: usize = 50;

/// How the run ended, its counts and cost, what failed, and what to do about it; of several flows each, and then all.
pub(super) fn report(report: &Report) -> String {
    let parts = report.flows.iter().chain([report]);
    parts.map(|part| summary(part) + &details(part)).collect()
}

/// Warnings, failures, and what to do about dead letters.
fn details(report: &Report) -> String {
    let mut text = String::new();
    for warning in &report.warnings {
        let _ = writeln!(
            text,
            "  {} {}",
            paint(WARNING, "warning:"),
            harmless(warning)
        );
    }
    for failure in report.failures.iter().take(FAILURES_SHOWN) {
        let _ = writeln!(
            text,
            "  {} {}",
            paint(BAD, "failed:"),
            harmless(&describe(failure))
        );
    }
    let shown = report.failures.len().min(FAILURES_SHOWN) as u64;
    let hidden = report.failed().saturating_sub(shown);
    if shown > 0 && hidden > 0 {
        let _ = writeln!(text, "  … and {hidden} more");
    }
    if report.flows.is_empty() && matches!(&report.counts, Counts::Rows(counts) if counts.dead > 0)
    {
        text.push_str(
            "  `sluice failures list` shows the dead letters. When the cause is fixed, \
             `sluice failures replay` makes them due again.\n",
        );
    }
    text
}

/// Checks, one a line: whether it passed, what was checked, what was found. Below a failed one is its cure.
pub fn checklist<'a>(
    checks: impl Iterator<Item = (bool, &'a str, &'a str, Option<&'a str>)>,
) -> String {
    let mut text = String::new();
    for (passed, what, found, cure) in checks {
        let mark = if passed {
            paint(GOOD, "✓")
        } else {
            paint(BAD, "✗")
        };
        let _ = writeln!(text, "{mark} {what}: {}", harmless(found));
        if let Some(cure) = cure {
            let _ = writeln!(text, "  {} {cure}", paint(WARNING, "→"));
        }
    }
    text
}

/// Three lines: how a flow ended, its counts, and its cost.
fn summary(report: &Report) -> String {
    let status = match report.status {
        Status::Complete => paint(GOOD, "complete"),
        Status::Partial => paint(WARNING, "partial"),
        Status::Failed => paint(BAD, "failed"),
    };
    let dry_run = if report.dry_run { " (dry run)" } else { "" };
    let reason = report
        .reason
        .as_ref()
        .map(|reason| format!(" ({})", harmless(reason)));
    let reason = reason.unwrap_or_default();
    let (flow, counts, cost) = (&report.flow, counts(&report.counts), cost(report));
    format!("{flow}{dry_run}: {status}{reason}\n  {counts}\n  {cost}\n")
}

fn cost(report: &Report) -> String {
    let requests = report.requests;
    let mut text = count(requests.supabase, "request") + " to Supabase";
    if requests.openai > 0 {
        let _ = write!(text, ", {} to the provider", requests.openai);
    }
    let (retried, limited) = (requests.retried, requests.rate_limited);
    if retried + limited > 0 {
        let _ = write!(text, " ({retried} retried, {limited} rate limited)");
    }
    if report.tokens > 0 {
        let usd = report.usd;
        let cost = usd.map_or_else(|| "price unknown".to_owned(), dollars);
        let _ = write!(text, ", {}", count(report.tokens, "token"));
        let (cached, written) = (report.cached_tokens, report.cache_write_tokens);
        if cached + written > 0 {
            let _ = write!(text, " ({cached} from the cache, {written} written to it)");
        }
        let _ = write!(text, ", {cost}");
    }
    let _ = write!(text, ", {:.1} s", report.elapsed_seconds);
    if let Some(bytes) = report.peak_memory_bytes {
        let _ = write!(text, ", at most {} MiB of memory", bytes / (1 << 20));
    }
    text
}

fn counts(counts: &Counts) -> String {
    match counts {
        Counts::Store(counts) => format!(
            "{} read: {} inserted, {} skipped (already stored), {} failed; {} created",
            count(counts.read, "line"),
            counts.inserted,
            counts.skipped,
            counts.failed,
            count(counts.neighborhoods_created, "neighborhood")
        ),
        Counts::Rows(counts) => format!(
            "{} claimed: {} written, {} skipped, {} failed ({})",
            count(counts.selected, "row"),
            counts.written,
            counts.skipped,
            counts.failed,
            count(counts.dead, "dead letter")
        ),
    }
}

fn describe(failure: &Failure) -> String {
    match (failure.line, failure.post_id) {
        (Some(line), _) => format!("line {line}: {}", failure.reason),
        (None, Some(post)) => format!("post {post}: {}", failure.reason),
        (None, None) => failure.reason.clone(),
    }
}

/// An amount of dollars. Small amounts get more decimal places.
pub(crate) fn dollars(usd: f64) -> String {
    if usd == 0.0 || usd >= 0.01 {
        format!("${usd:.2}")
    } else {
        format!("${usd:.6}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::RowCounts;

    #[test]
    fn report_says_what_ran_what_failed_and_what_to_do() {
        let counts = RowCounts {
            selected: 3,
            written: 2,
            failed: 1,
            dead: 1,
            ..RowCounts::default()
        };
        let mut shown = Report::new("embed", Counts::Rows(counts));
        shown.status = Status::Partial;
        shown.reason = Some("1 row failed".to_owned());
        shown.tokens = 120;
        shown.usd = Some(0.000_002_4);
        shown.failures = vec![Failure {
            line: None,
            post_id: Some(uuid::Uuid::nil()),
            reason: "refused".to_owned(),
        }];
        let text = anstream::adapter::strip_str(&report(&shown)).to_string();
        shown.counts = Counts::Rows(RowCounts {
            failed: 1_200,
            ..counts
        });
        let text_of_many = report(&shown);
        assert!(text_of_many.contains("… and 1199 more"), "{text_of_many}");
        for part in [
            "embed: partial (1 row failed)",
            "2 written",
            "$0.000002",
            "refused",
            "failures replay",
        ] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
    }
}
