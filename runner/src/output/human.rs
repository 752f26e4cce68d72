//! The report in a few lines.

use std::fmt::Write;

use crate::report::{Counts, Failure, Report, Status};

/// This many failures are shown; the rest is in `sluice failures list` and in the JSON report.
const FAILURES_SHOWN: usize = 50;

/// A report for people: how it ended, the counts, the cost, what failed and what to do.
pub(super) fn report(report: &Report) -> String {
    let mut text = String::new();
    for flow in &report.flows {
        line(&mut text, flow);
    }
    line(&mut text, report);
    for warning in &report.warnings {
        let _ = writeln!(text, "  warning: {warning}");
    }
    for failure in report.failures.iter().take(FAILURES_SHOWN) {
        let _ = writeln!(text, "  failed: {}", name(failure));
    }
    let hidden = report.failures.len().saturating_sub(FAILURES_SHOWN);
    if hidden > 0 {
        let _ = writeln!(text, "  … and {hidden} more");
    }
    if let Some(advice) = advice(report) {
        let _ = writeln!(text, "  {advice}");
    }
    text
}

fn line(text: &mut String, report: &Report) {
    let status = match report.status {
        Status::Complete => "complete",
        Status::Partial => "partial",
        Status::Failed => "failed",
    };
    let dry = if report.dry_run { " (dry run)" } else { "" };
    let _ = write!(text, "{}{dry}: {status}", report.flow);
    if let Some(reason) = &report.reason {
        let _ = write!(text, " ({reason})");
    }
    let _ = writeln!(text);
    let _ = writeln!(text, "  {}", counts(&report.counts));
    let requests = report.requests;
    let _ = write!(text, "  {} requests to Supabase", requests.supabase);
    if requests.openai > 0 {
        let _ = write!(text, ", {} to the provider", requests.openai);
    }
    if requests.retried + requests.rate_limited > 0 {
        let _ = write!(
            text,
            " ({} retried, {} rate limited)",
            requests.retried, requests.rate_limited
        );
    }
    if report.tokens > 0 {
        let cost = report
            .usd
            .map_or_else(|| "price unknown".to_owned(), dollars);
        let _ = write!(text, ", {} tokens, {cost}", report.tokens);
    }
    let _ = write!(text, ", {:.1} s", report.elapsed_seconds);
    if let Some(bytes) = report.peak_memory_bytes {
        let _ = write!(text, ", {} MiB at most", bytes / (1 << 20));
    }
    let _ = writeln!(text);
}

fn counts(counts: &Counts) -> String {
    match counts {
        Counts::Store(counts) => format!(
            "{} read: {} inserted, {} skipped (there already), {} failed; {} neighborhoods created",
            counts.read,
            counts.inserted,
            counts.skipped,
            counts.failed,
            counts.neighborhoods_created
        ),
        Counts::Rows(counts) => format!(
            "{} taken up: {} written, {} skipped, {} failed, {} of them set aside",
            counts.selected, counts.written, counts.skipped, counts.failed, counts.dead
        ),
    }
}

fn name(failure: &Failure) -> String {
    match (failure.line, failure.post_id) {
        (Some(line), _) => format!("line {line}: {}", failure.reason),
        (None, Some(post)) => format!("post {post}: {}", failure.reason),
        (None, None) => failure.reason.clone(),
    }
}

fn advice(report: &Report) -> Option<&'static str> {
    let failed_rows = matches!(&report.counts, Counts::Rows(counts) if counts.dead > 0);
    failed_rows.then_some("`sluice failures list` shows them; once cured, `sluice failures replay` makes them due again")
}

/// Dollars, with as many places as small sums need.
pub(super) fn dollars(usd: f64) -> String {
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
    fn the_operator_reads_what_ran_what_failed_and_what_to_do() {
        let counts = RowCounts {
            selected: 3,
            written: 2,
            failed: 1,
            dead: 1,
            ..RowCounts::default()
        };
        let mut shown = Report::new("embed", Counts::Rows(counts));
        shown.status = Status::Partial;
        shown.reason = Some("1 rows failed".to_owned());
        shown.tokens = 120;
        shown.usd = Some(0.000_002_4);
        shown.failures = vec![Failure {
            line: None,
            post_id: Some(uuid::Uuid::nil()),
            reason: "refused".to_owned(),
        }];
        let text = report(&shown);
        for part in [
            "embed: partial (1 rows failed)",
            "2 written",
            "$0.000002",
            "refused",
            "failures replay",
        ] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
    }
}
